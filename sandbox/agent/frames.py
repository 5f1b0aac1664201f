"""Frames and exceptions, as every role of the agent sends them."""

from __future__ import annotations

import json
import linecache
import os
import struct
import traceback
from collections.abc import Callable
from typing import Any

KEPT_TEXT = 8 << 10
"""Characters of a message or a traceback that are sent to the host."""

dumps = json.JSONEncoder(check_circular=False).encode


class Hangup(Exception):
    """Nobody is at the other end any more."""


def send(fd: int, *parts: bytes, write: Callable[[int, Any], int] = os.write) -> None:
    """A frame of the first part, and the rest as it is."""
    view = memoryview(b"".join((struct.pack(">I", len(parts[0])), *parts)))
    while view:
        view = view[write(fd, view) :]


def receive(fd: int, read: Callable[[int, int], bytes] = os.read) -> Any:
    """The next frame's JSON. Raises Hangup at the end of the stream."""
    (size,) = struct.unpack(">I", exactly(fd, 4, read))
    return json.loads(exactly(fd, size, read))


def exactly(fd: int, size: int, read: Callable[[int, int], bytes] = os.read) -> bytes:
    """So many bytes. Raises Hangup at the end of the stream."""
    parts = []
    while size:
        part = read(fd, min(size, 1 << 20))
        if not part:
            raise Hangup
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def source(name: str, text: str) -> None:
    """Have tracebacks show the lines of a file that there is not."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)


def raised(error: BaseException) -> dict[str, Any]:
    """An exception as text; its own `__str__` may do anything."""
    kinds = [kind.__name__ for kind in type(error).__mro__[:-1]]
    try:
        message = str(error)[:KEPT_TEXT]
    except BaseException as second:
        message = f"<its message raised {type(second).__name__}>"
    try:
        frames = error.__traceback__.tb_next if error.__traceback__ else None  # the first one is the agent's own
        lines = traceback.format_exception(type(error), error, frames, limit=-20)
        text = "".join(lines)[-KEPT_TEXT:]
    except BaseException as second:
        text = f"<its traceback raised {type(second).__name__}>"
    return {"kinds": kinds, "message": message, "traceback": text}
