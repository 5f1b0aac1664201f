"""Workers that are containers of a Docker engine: warm, locked down, without a network."""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable, UnknownName
from sandbox import bounds, engine, image
from sandbox.owner import owner as _owner
from sandbox.owner import pid_namespace
from sandbox.pool import Pool, recipe
from sandbox.worker import COMMAND, AgentWorker, Worker, WorkerDied, environment

LABEL = "touchstone.owner"
"""On each container: which process it belongs to, as PID:START, START in clock ticks since the host's boot."""
PLACE = "touchstone.place"
"""On each container: the boot and the PID namespace in which that is so. An engine may serve several hosts."""
START_S = 60.0
"""How long a container may take to be ready."""


class DockerSandbox(Pool):
    """The default backend: a container for each worker."""

    backend = "docker"
    _client: Any = None
    _processes = bounds.PROCESSES

    async def start(self) -> None:
        """Find the engine and the images, remove what dead runs left, and start a container.

        Raises UsageError too, where the engine has not what is asked for.
        """
        self._client = await asyncio.to_thread(engine.connect)
        try:
            self._check(await asyncio.to_thread(self._client.info))
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
        self._refuse_memory(info.get("MemTotal") or 0, "the engine's host")

    async def make_ready(self, language: str) -> str:
        """The id of a language's image, built where it is missing."""
        return await asyncio.to_thread(image.ensure, self._client, self.say, recipe(language))

    async def start_worker(self, language: str) -> Worker:
        """One more container, its agent ready."""
        from docker.errors import DockerException

        container: Container | None = None
        try:
            container = Container(await asyncio.to_thread(self._create, language), self._client)
            await container.connect()
            await asyncio.wait_for(container.begin(), START_S)
        except (DockerException, OSError, TimeoutError, WorkerDied) as error:
            if container is not None:
                await container.aclose()
            raise WorkerDied(str(error) or f"no answer within {START_S:.0f} s") from error
        return container

    async def aclose(self) -> None:
        """End every container and the connection to the engine."""
        await super().aclose()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _create(self, language: str) -> str:
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
            self._digests[language],
            list(COMMAND),
            detach=False,
            stdin_open=True,
            environment=environment(language),
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
