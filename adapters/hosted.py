"""A harness in a process of its own, as seen from here. The process's end is in `adapters.hosts`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from typing import Any

from adapters.frames import HEAD, packed, unpacked
from core.errors import HostError, TouchstoneError, UsageError

ENDS_S = 2.0
"""How long a process may take to end by itself."""
KEPT_LINES = 15
"""Of what a process wrote before it died."""


def environment() -> dict[str, str]:
    """That of a process that finds what this one finds, wherever it is started."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


class Hosted:
    """A process that runs a harness: started at once, so that it loads while other things are done.

    module: what is run, with the line's descriptor as its first argument, and `words` after it. name: what it is called
    in messages. job: the first message, sent at once.
    """

    def __init__(self, module: str, name: str, job: Any, *words: str) -> None:
        self._name = name
        # What harnesses print is of interest only where one dies.
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, str(theirs.fileno()), *words],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # A Ctrl+C is for this process to answer.
                start_new_session=True,
                env=environment(),
            )
        self._socket.sendall(packed(job))
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def send(self, message: Any) -> None:
        """Send a message. Raises HostError where the process is gone."""
        _, writer = await self._streams()
        try:
            writer.write(packed(message))
            await writer.drain()
        except OSError:
            raise self._died() from None

    async def receive(self) -> Any:
        """The next message; None when it has come to its end.

        Raises what the harness refuses as UsageError or HostError, and HostError where the process died.
        """
        reader, _ = await self._streams()
        try:
            message = unpacked(await reader.readexactly(*HEAD.unpack(await reader.readexactly(HEAD.size))))
        except (asyncio.IncompleteReadError, OSError):
            raise self._died() from None
        if "refused" in message:
            error: type[TouchstoneError] = HostError if message["kind"] == "host" else UsageError
            raise error(message["refused"])
        return None if "end" in message else message

    def close(self) -> None:
        """End the process; in the event loop that it was used in, if it was. May be called twice."""
        if self._output.closed:
            return
        if self._writer is not None:
            self._writer.close()
        self._socket.close()
        # The end of the line is the end of the process, unless it is deep in something that does not listen.
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(ENDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._output.close()

    async def _streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
        return self._reader, self._writer

    def _died(self) -> HostError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS_S)
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()[-KEPT_LINES:]
        return HostError(
            f"{self._name} ended before its work was done (exit {self._process.poll()}): {' | '.join(lines)}"
        )
