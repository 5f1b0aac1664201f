"""Importing heavy packages in less time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lean(*without: str) -> Iterator[None]:
    """Within, packages are imported with no pause for garbage, of which imports make none.

    without: optional packages that what is imported would take along where they are installed, and that are of no use
    to it here: within, they are not found.
    """
    hidden = [name for name in without if name not in sys.modules]
    enabled = gc.isenabled()
    gc.disable()
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        if enabled:
            gc.enable()
