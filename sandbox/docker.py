"""Workers that are containers of a Docker engine: warm, locked down, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable, UnknownName, UsageError
from sandbox import bounds, engine, image
from sandbox.owner import owner as _owner
from sandbox.owner import pid_namespace
from sandbox.pool import Pool
from sandbox.wire import PYTHON
from sandbox.worker import COMMAND, ENVIRONMENT, AgentWorker, Worker, WorkerDied

LABEL = "touchstone.owner"
"""On each container: which process it belongs to, as PID:START, START in clock ticks since the host's boot."""
PLACE = "touchstone.place"
"""On each container: the boot and the PID namespace in which that is so. An engine may serve several hosts."""
START_S = 60.0
"""How long a container may take to be ready."""


class DockerSandbox(Pool):
    """The default backend.

    size: candidates at a time, each in a container of its own.
    memory_bytes: what a candidate may be allowed at most, where that is more than usual.
    runtime: the engine's runtime to use, where not its default.
    say: told when something takes its time, such as building an image.
    wanted: the languages of the candidates to come; those of others are made ready when they come.
    """

    def __init__(
        self,
        size: int,
        memory_bytes: int | None = None,
        runtime: str | None = None,
        say: Callable[[str], None] = lambda _: None,
        wanted: Collection[str] = (PYTHON,),
    ) -> None:
        super().__init__(size)
        self.asked_bytes = memory_bytes
        self.memory_bytes = bounds.memory_bytes(memory_bytes)
        self.runtime, self.say = runtime, say
        self.wanted = sorted({PYTHON, *wanted})
        self._client: Any = None
        self._images: dict[str, str] = {}
        self._processes = bounds.PROCESSES
        self._making = asyncio.Lock()
        self._python = ""

    async def start(self) -> None:
        """Find the engine and the images, remove what dead runs left, and start a container.

        Raises UsageError too, where the engine has not what is asked for.
        """
        self._client = await asyncio.to_thread(engine.connect)
        try:
            self._check(await asyncio.to_thread(self._client.info))
            for language in self.wanted:
                await self._image(language)
            await asyncio.to_thread(sweep, self._client)
            await super().start()
        except WorkerDied as error:
            await self.aclose()
            raise SandboxUnavailable(f"the container engine starts no container: {error}") from error
        except BaseException:
            await self.aclose()
            raise

    def _check(self, info: Mapping[str, Any]) -> None:
        """See that the engine has what is asked for. info: what it says of itself. Raises UsageError."""
        if self.runtime is not None and self.runtime not in (known := info.get("Runtimes") or {}):
            raise UnknownName("runtime of the container engine", self.runtime, known, engine.mend(self.runtime))
        self._processes = bounds.processes(self.runtime or info.get("DefaultRuntime") or "")
        there = info.get("MemTotal") or 0
        if self.asked_bytes and 0 < there < self.asked_bytes:
            raise UsageError(
                f"--memory asks for {self.asked_bytes >> 20:,} MiB, and the engine's host has {there >> 20:,}: lower it"
            )

    async def _image(self, language: str) -> str:
        """The id of a language's image, built where it is missing. Raises SandboxUnavailable."""
        async with self._making:
            if language not in self._images:
                name = None if language == PYTHON else language
                self._images[language] = await asyncio.to_thread(image.ensure, self._client, self.say, name)
            return self._images[language]

    async def worker(self, language: str) -> Worker:
        """One more container, its agent ready."""
        starting = asyncio.ensure_future(self._start_one(language, await self._image(language)))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # the engine does not take back what it was asked: wait for it, then undo it
            with contextlib.suppress(WorkerDied):
                await (await starting).aclose()
            raise

    async def _start_one(self, language: str, digest: str) -> Container:
        from docker.errors import DockerException

        container: Container | None = None
        try:
            container = Container(await asyncio.to_thread(self._create, language, digest), self._client)
            await container.connect()
            await asyncio.wait_for(container.begin(), START_S)
        except (DockerException, OSError, TimeoutError, WorkerDied) as error:
            if container is not None:
                await container.aclose()
            raise WorkerDied(str(error) or f"no answer within {START_S:.0f} s") from error
        if language == PYTHON:
            self._python = container.python
        return container

    async def aclose(self) -> None:
        """End every container and the connection to the engine."""
        await super().aclose()
        if self._client is not None:
            self._client.close()
            self._client = None

    def describe(self) -> Mapping[str, Any]:
        """An image's digest and packages decide verdicts, and so does its Python."""
        return {
            "backend": "docker",
            "runtime": self.runtime,
            "image": image.tag(),
            "image_digest": self._images.get(PYTHON, ""),
            "packages": image.packages(),
            "python": self._python,
            "languages": {
                name: {"image": image.tag(name), "image_digest": digest, "packages": image.packages(name)}
                for name, digest in sorted(self._images.items())
                if name != PYTHON
            },
            "workers": self.size,
            "container_memory_bytes": self.memory_bytes,
        }

    def _create(self, language: str, digest: str) -> str:
        """Create a container, not yet started; its id."""
        api = self._client.api
        memory_bytes = bounds.memory_bytes(self.asked_bytes, language)
        host = api.create_host_config(
            auto_remove=True,
            network_mode="none",
            ipc_mode="private",
            read_only=True,
            cap_drop=["ALL"],
            cap_add=["SETUID", "SETGID", "KILL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory_bytes,
            memswap_limit=memory_bytes,
            pids_limit=self._processes,
            tmpfs={
                "/tmp": bounds.tmpfs(language, bounds.TMP_BYTES),
                "/dev/shm": bounds.tmpfs(language, bounds.SHM_BYTES),
            },
            ulimits=[{"Name": "nofile", "Soft": bounds.OPENED, "Hard": bounds.OPENED}],
            log_config={"Type": "none", "Config": {}},
            runtime=self.runtime,
        )
        created = api.create_container(
            digest,
            list(COMMAND),
            detach=False,
            stdin_open=True,
            environment=ENVIRONMENT,
            labels={LABEL: _owner(os.getpid()), PLACE: _place()},
            hostname="sandbox",
            working_dir="/tmp",
            host_config=host,
        )
        return str(created["Id"])


class Container(AgentWorker):
    """One container and the line to its agent."""

    def __init__(self, name: str, client: Any) -> None:
        self.name, self.api = name, client.api
        self._attached: Any = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._stdout = bytearray()
        self._stderr = bytearray()

    async def connect(self) -> None:
        """Attach to its streams, and start it."""
        streams = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        self._attached = await asyncio.to_thread(self.api.attach_socket, self.name, streams)
        sock = self._attached._sock  # the engine's client gives no other way to it
        sock.setblocking(False)
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
        await asyncio.to_thread(self.api.start, self.name)

    async def aclose(self) -> None:
        """Kill it; the engine removes it."""
        from docker.errors import DockerException

        if self._writer is not None:
            self._writer.transport.abort()
        if self._attached is not None:
            self._attached.close()  # its socket stays open until it is
        with contextlib.suppress(DockerException, OSError):
            await asyncio.to_thread(self.api.remove_container, self.name, force=True)

    async def write(self, data: bytes) -> None:
        """See `AgentWorker.write`."""
        assert self._writer is not None
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as error:
            raise WorkerDied(f"the container is gone: {error}") from error

    async def read(self, size: int) -> bytes:
        """Bytes of the agent's output, out of the engine's frames: a type (1 or 2), three zeros, a length, the data.

        Source of the format: Docker Engine API, "Attach to a container", stream format.
        """
        assert self._reader is not None
        try:
            while len(self._stdout) < size:
                kind, length = struct.unpack(">BxxxI", await self._reader.readexactly(8))
                target = self._stdout if kind == 1 else self._stderr
                target += await self._reader.readexactly(length)
                del self._stderr[:-4096]
        except (OSError, asyncio.IncompleteReadError) as error:
            said = self._stderr.decode("utf-8", "replace").strip().splitlines()
            raise WorkerDied(f"the container ended: {said[-1] if said else 'it said nothing'}") from error
        data = bytes(self._stdout[:size])
        del self._stdout[:size]
        return data


def sweep(client: Any) -> int:
    """Remove the containers whose owners have died; how many there were."""
    from docker.errors import DockerException

    removed = 0
    for entry in client.api.containers(all=True, filters={"label": [LABEL, f"{PLACE}={_place()}"]}):
        owner = entry["Labels"][LABEL]
        if owner != _owner(int(owner.partition(":")[0])):
            with contextlib.suppress(DockerException):
                client.api.remove_container(entry["Id"], force=True)
                removed += 1
    return removed


def _place() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{pid_namespace()}"
