"""The harness's end of the line."""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.frames import HEAD, packed, unpacked


class Refused(BaseException):
    """What ends the harness, in words for the user. kind: `usage` (theirs to mend) or `host` (the environment).

    No `Exception`, because harnesses swallow these.
    """

    def __init__(self, words: str, kind: str = "usage") -> None:
        self.kind = kind
        super().__init__(words)


def finite(value: Any) -> float | None:
    """A figure as a float, to the last digit; None where it is none, or not finite."""
    try:
        figure = float(value)
    except (TypeError, ValueError):
        return None
    return figure if math.isfinite(figure) else None


LEFT: list[Path] = []
"""Folders that are removed when the process ends."""


def _leave(*_: object) -> None:
    for folder in LEFT:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


class Line:
    """Questions to Touchstone and their answers, in any order. A line that breaks ends the process."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket, self._file = sock, sock.makefile("rb")
        self._sending = threading.Lock()
        self._came = threading.Condition()
        self._replies: dict[int, dict[str, Any]] = {}
        self._asked = 0

    def job(self) -> dict[str, Any]:
        """Wait for the job, which comes before all else."""
        job: dict[str, Any] = self._receive()
        threading.Thread(target=self._listen, daemon=True).start()
        return job

    def tell(self, message: dict[str, Any]) -> None:
        """Say something that needs no answer."""
        with self._sending:
            self._socket.sendall(packed(message))

    def ask(self, message: dict[str, Any]) -> int:
        """Ask something; the number under which `reply` gives the answer."""
        self._asked += 1
        self.tell({**message, "id": self._asked})
        return self._asked

    def reply(self, number: int) -> dict[str, Any]:
        """Wait for an answer; it is given once."""
        with self._came:
            self._came.wait_for(lambda: number in self._replies)
            return self._replies.pop(number)

    def _listen(self) -> None:
        while True:
            message = self._receive()
            with self._came:
                self._replies[message["id"]] = message
                self._came.notify_all()

    def _receive(self) -> Any:
        head = self._file.read(HEAD.size)
        if len(head) < HEAD.size:
            _leave()  # there is nobody left to work for
        return unpacked(self._file.read(*HEAD.unpack(head)))


def host(run: Callable[[Line, dict[str, Any]], None], prepare: Callable[[], None]) -> None:
    """Run a harness: prepared before its job is known, and then on it, until the line breaks.

    The first argument of the command line is the descriptor of the line.
    """
    line = Line(socket.socket(fileno=int(sys.argv[1])))
    signal.signal(signal.SIGTERM, _leave)
    try:
        prepare()
        run(line, line.job())
    except Refused as refused:
        line.tell({"refused": str(refused), "kind": refused.kind})
    line.tell({"end": True})
    threading.Event().wait()
