"""Frames between Touchstone and a harness that runs in a process of its own: JSON behind its length."""

from __future__ import annotations

import json
import struct
from typing import Any

HEAD = struct.Struct("!I")
"""The length of what follows, in bytes."""


def packed(message: Any) -> bytes:
    """A message of JSON values as a frame. Raises ValueError for what JSON has no word for, such as NaN."""
    # ASCII: half a character can be said, and no encoding stands between the two.
    body = json.dumps(message, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")
    return HEAD.pack(len(body)) + body


def unpacked(body: bytes) -> Any:
    """The message of a frame's body."""
    return json.loads(body)
