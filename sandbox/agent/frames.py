"""Frames and exceptions, as every role of the agent sends them."""

from __future__ import annotations

import json
import linecache
import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

KEPT_TEXT = 8 << 10
"""Characters of a message or a traceback that are sent to the host."""

KEPT_STEPS = 20
"""Calls of a traceback that are sent to the host."""

dumps = json.JSONEncoder(check_circular=False).encode
_loads = json.JSONDecoder().raw_decode


class Hangup(Exception):
    """Nobody is at the other end any more."""


def send(fd: int, *parts: bytes, write: Callable[[int, Any], int] = os.write) -> None:
    """A frame of the first part, and the rest as it is."""
    view = memoryview(b"".join((len(parts[0]).to_bytes(4, "big"), *parts)))
    while view:
        view = view[write(fd, view) :]


def receive(fd: int, read: Callable[[int, int], bytes] = os.read) -> Any:
    """The next frame's JSON. Raises Hangup at the end of the stream."""
    size = int.from_bytes(exactly(fd, 4, read), "big")
    return _loads(exactly(fd, size, read).decode())[0]


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
        text = _told(error, message, frames)[-KEPT_TEXT:]
    except BaseException as second:
        text = f"<its traceback raised {type(second).__name__}>"
    return {"kinds": kinds, "message": message, "traceback": text}


def _told(error: BaseException, message: str, frames: TracebackType | None) -> str:
    """An exception and how it came about, in the interpreter's form.

    Most are simple, and the module that knows them all takes longer than most tests.
    """
    steps: list[str] = []
    step = frames
    while step is not None and len(steps) <= KEPT_STEPS:
        code, line = step.tb_frame.f_code, step.tb_lineno
        steps.append(f'  File "{code.co_filename}", line {line}, in {code.co_name}\n')
        if shown := _line(code.co_filename, line):
            steps.append(f"    {shown}\n")
        step = step.tb_next
    chained = error.__cause__ is not None or (error.__context__ is not None and not error.__suppress_context__)
    if step is not None or chained or isinstance(error, (SyntaxError, BaseExceptionGroup)):
        return "".join(traceback.format_exception(type(error), error, frames, limit=-KEPT_STEPS))
    module, name = type(error).__module__, type(error).__qualname__
    if module not in ("builtins", "__main__"):
        name = f"{module}.{name}"
    head = ["Traceback (most recent call last):\n"] if steps else []
    notes = [f"{note}\n" for note in getattr(error, "__notes__", ())]
    return "".join((*head, *steps, f"{name}: {message}\n" if message else f"{name}\n", *notes))


def _line(name: str, number: int) -> str:
    """A line of a file, without the space around it; empty where it is not to be had."""
    if name in linecache.cache or name.startswith("/"):
        return linecache.getline(name, number).strip()
    return ""
