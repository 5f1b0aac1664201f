"""A place in which an agent serves, and the line to it."""

from __future__ import annotations

import json
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import agent
from sandbox.agent.system import PRELOAD
from sandbox.pythons import ENVIRONMENTS

BOOTSTRAP = """
import json, os, sys, types
def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part: os._exit(0)
        data += part
    return data
for name, source in json.loads(read(int.from_bytes(read(4), "big"))):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)
sys.modules["sandbox.agent.zygote"].main()
"""
COMMAND = ("/usr/bin/python3", "-S", "-s", "-P", "-c", BOOTSTRAP)
"""What process 1 of a worker is."""
ENVIRONMENT = {
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": "/usr/lib/python3/dist-packages",
    "OPENBLAS_NUM_THREADS": "1",
    "HOME": "/tmp",
    "TMPDIR": "/tmp",
    "LANG": "C.UTF-8",
}
"""All of its environment that a backend may choose."""


def environment(language: str) -> dict[str, str]:
    """`ENVIRONMENT`, and what a worker of a language is told besides."""
    told = ENVIRONMENTS.get(language)
    return {**ENVIRONMENT, PRELOAD: " ".join(told.preloaded)} if told and told.preloaded else ENVIRONMENT


class WorkerDied(Exception):
    """A worker failed: not the candidate's fault until it happens again and again."""


class Worker(ABC):
    """One confined place that takes one job at a time."""

    jobs = 0
    """Those that it has done."""
    python = ""
    """The version of its Python, once it serves."""

    @abstractmethod
    async def run(
        self, job: dict[str, Any], payload: bytes = b"", asleep: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The agent's header and blobs for a job and the bytes that go with it. Raises WorkerDied.

        asleep: called, once at most, when the candidate waits for something else than a core.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """End it and leave nothing behind."""


class AgentWorker(Worker):
    """One in which `COMMAND` runs in its language's `environment`. A backend has the line to it."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """To its standard input. Raises WorkerDied."""

    @abstractmethod
    async def read(self, size: int) -> bytes:
        """So many bytes of its standard output. Raises WorkerDied."""

    async def begin(self) -> None:
        """Send the agent, and wait until it serves."""
        await self._send(json.dumps(_sources()).encode())
        header, _ = await self._receive()
        self.python = header["python"]

    async def run(
        self, job: dict[str, Any], payload: bytes = b"", asleep: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, Any], list[bytes]]:
        """See `Worker.run`."""
        await self._send(json.dumps({**job, "payload": len(payload)}).encode(), payload)
        header, blobs = await self._receive()
        if "asleep" in header:
            asleep()
            header, blobs = await self._receive()
        return header, blobs

    async def _send(self, body: bytes, payload: bytes = b"") -> None:
        await self.write(b"".join((struct.pack(">I", len(body)), body, payload)))

    async def _receive(self) -> tuple[dict[str, Any], list[bytes]]:
        (size,) = struct.unpack(">I", await self.read(4))
        header: dict[str, Any] = json.loads(await self.read(size))
        return header, [await self.read(count) for count in header["blobs"]]


def _sources() -> list[tuple[str, str]]:
    """The agent's modules and their sources, in the order in which they need each other."""
    folder = Path(agent.__file__).parent
    sources = [(f"sandbox.agent.{part}", (folder / f"{part}.py").read_text()) for part in agent.PARTS]
    return [("sandbox", ""), ("sandbox.agent", ""), *sources]
