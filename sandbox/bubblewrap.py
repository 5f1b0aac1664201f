"""Workers that `bwrap` confines, for hosts without a container engine.

Each is a process tree in namespaces of its own, over a root file system that is read-only and the same as the image of
the docker backend. Its users are nobody on the host (`sandbox.users`); what it uses in all is bounded by a control
group where one can be made (`sandbox.cgroups`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable, UsageError
from sandbox import bounds, cgroups, engine, image, languages, roots, users
from sandbox.pool import Pool
from sandbox.wire import PYTHON
from sandbox.worker import COMMAND, ENVIRONMENT, AgentWorker, Worker, WorkerDied

NEEDED = {"bwrap": "bubblewrap", "nsenter": "util-linux", "unshare": "util-linux"}
"""The programs that it takes, and the packages that they are in."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_S = 60.0
"""How long a worker may take to be ready."""
WITHIN = "/tmp"
"""Where the root is seen by `bwrap` as root on the host, whose folders its users may not enter."""
CAPABILITIES = ("SETUID", "SETGID", "KILL")
"""What the agent needs of root's power over the users of its namespace."""
MAKING = ("SYS_ADMIN", "SETPCAP")
"""What mounting takes before the agent starts, and dropping that."""
NO_GROUP = (
    "no control group can be made: nothing bounds a worker's memory as a whole (as root there is one; else begin the "
    "command with `systemd-run --user --scope`)"
)


class BubblewrapSandbox(Pool):
    """A backend that needs no container engine: its arguments are those of `DockerSandbox`."""

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
        self._roots: dict[str, Path] = {}
        self._digests: dict[str, str] = {}
        self._making = asyncio.Lock()
        self._users: int | None = None
        self._grouped: bool | None = None
        self._python = ""

    async def start(self) -> None:
        """Find what it takes and the roots, remove what dead runs left, and start a worker.

        Raises UsageError too, where what is asked for cannot be had.
        """
        self._check()
        try:
            for language in self.wanted:
                await self._root(language)
            await asyncio.to_thread(cgroups.sweep)
            self._users = await asyncio.to_thread(users.namespace)
            await super().start()
        except WorkerDied as error:
            await self.aclose()
            raise SandboxUnavailable(
                f"bubblewrap starts no worker: {error}; `touchstone sandbox check --sandbox bubblewrap` says what this "
                "host lacks"
            ) from error
        except BaseException:
            await self.aclose()
            raise

    def _check(self) -> None:
        """See that the host has what is asked for."""
        if self.runtime is not None:
            raise UsageError(f"bubblewrap has no runtimes: leave out --runtime {self.runtime}, or --sandbox bubblewrap")
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if self.asked_bytes and there < self.asked_bytes:
            raise UsageError(
                f"--memory asks for {self.asked_bytes >> 20:,} MiB, and this host has {there >> 20:,}: lower it"
            )
        if packages := missing():
            raise SandboxUnavailable(
                f"{packages[0]} is missing: as root, `apt-get install -y {' '.join(packages)}`, or `touchstone sandbox "
                "build --sandbox bubblewrap`"
            )

    async def _root(self, language: str) -> Path:
        """A language's root file system, built where it is missing. Raises SandboxUnavailable."""
        async with self._making:
            if language not in self._roots:
                name = None if language == PYTHON else language
                root = await asyncio.to_thread(roots.ensure, self.say, name)
                self._digests[language] = await asyncio.to_thread(roots.digest, root)
                self._roots[language] = root
            return self._roots[language]

    async def worker(self, language: str) -> Worker:
        """One more, its agent ready."""
        starting = asyncio.ensure_future(self._start_one(language, await self._root(language)))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:  # what is half started cannot be left: wait for it, then undo it
            with contextlib.suppress(WorkerDied, SandboxUnavailable):
                await (await starting).aclose()
            raise

    async def _start_one(self, language: str, root: Path) -> Confined:
        assert self._users is not None
        memory_bytes = bounds.memory_bytes(self.asked_bytes, language)
        group = await asyncio.to_thread(cgroups.make, memory_bytes, bounds.PROCESSES + 1)  # bwrap itself is one
        if group is None:
            self._ungrouped(language)
        else:
            self._grouped = True
        worker = Confined(group)
        try:
            await worker.connect(_command(language, root, self._users, group))
            await asyncio.wait_for(worker.begin(), START_S)
        except (OSError, TimeoutError, WorkerDied) as error:
            await worker.aclose()
            raise WorkerDied(str(error) or f"no answer within {START_S:.0f} s") from error
        except BaseException:
            await worker.aclose()
            raise
        if language == PYTHON:
            self._python = worker.python
        return worker

    def _ungrouped(self, language: str) -> None:
        """Say so, or do without the language, whose processes can be bounded in no other way."""
        if self._grouped:
            raise WorkerDied("no further control group can be made")
        if language != PYTHON and not languages.load(language).limits.address_space:
            raise SandboxUnavailable(f"{language} needs a control group, and {NO_GROUP}")
        if self._grouped is None:
            self.say(NO_GROUP)
            self._grouped = False

    async def aclose(self) -> None:
        """End every worker."""
        await super().aclose()
        if self._users is not None:
            os.close(self._users)
            self._users = None

    def describe(self) -> Mapping[str, Any]:
        """A root's packages decide verdicts, and so does its Python."""
        return {
            "backend": "bubblewrap",
            "runtime": None,
            "image": image.tag(),
            "image_digest": self._digests.get(PYTHON, ""),
            "packages": image.packages(),
            "python": self._python,
            "languages": {
                name: {"image": image.tag(name), "image_digest": digest, "packages": image.packages(name)}
                for name, digest in sorted(self._digests.items())
                if name != PYTHON
            },
            "workers": self.size,
            "container_memory_bytes": self.memory_bytes if self._grouped else None,
            "limits": "of each worker and process" if self._grouped else "of each process",
        }


class Confined(AgentWorker):
    """One process tree and the line to its agent."""

    def __init__(self, group: cgroups.Group | None) -> None:
        self.group = group
        self._process: asyncio.subprocess.Process | None = None
        self._first: int | None = None
        """A descriptor of its process 1, that `bwrap` waits for."""

    async def connect(self, command: Callable[[int], list[str]]) -> None:
        """Start it. command: given a descriptor to which `bwrap` is to say what process 1 is."""
        told, tells = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command(tells),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=1 << 20,
                env={"PATH": PATH},
                cwd="/",
                pass_fds=(tells,),
                start_new_session=True,  # an interrupt at the terminal is not for it
            )
        except BaseException:
            os.close(told)
            raise
        finally:
            os.close(tells)
        said = await asyncio.to_thread(_all, told)
        if not said:
            await self.read(1)  # says why
        with contextlib.suppress(ProcessLookupError):
            self._first = os.pidfd_open(json.loads(said)["child-pid"])

    async def aclose(self) -> None:
        """Kill it, wait until it is gone, and remove its group."""
        first, self._first = self._first, None
        if first is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            os.close(first)
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            if first is None:  # what it has begun dies with it
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()
        group, self.group = self.group, None
        if group is not None:
            await asyncio.to_thread(group.remove)

    async def write(self, data: bytes) -> None:
        """See `AgentWorker.write`."""
        if self._process is None or self._process.stdin is None:
            raise WorkerDied("the worker is closed")
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except OSError as error:
            raise WorkerDied(f"the worker is gone: {error}") from error

    async def read(self, size: int) -> bytes:
        """See `AgentWorker.read`."""
        if self._process is None or self._process.stdout is None or self._process.stderr is None:
            raise WorkerDied("the worker is closed")
        try:
            return await self._process.stdout.readexactly(size)
        except (OSError, asyncio.IncompleteReadError) as error:
            said = (await self._process.stderr.read()).decode("utf-8", "replace").strip().splitlines()
            raise WorkerDied(f"the worker ended: {said[-1] if said else 'it said nothing'}") from error


def missing() -> list[str]:
    """The packages whose programs are not there."""
    return sorted({package for program, package in NEEDED.items() if shutil.which(program) is None})


def install(say: Callable[[str], None]) -> None:
    """Install what is missing. Raises SandboxUnavailable where that cannot be done from here."""
    if packages := missing():
        engine.install(*packages, say=say)


def _command(language: str, root: Path, namespace: int, group: cgroups.Group | None) -> Callable[[int], list[str]]:
    """What starts a worker, given the descriptor to which `bwrap` is to say what process 1 is."""
    # Stacks as everywhere, of 8 MiB; a host that allows less is left at that.
    bounded = [f"{{ ulimit -n {bounds.OPENED}; ulimit -S -s 8192; umask 022; }} 2>/dev/null"]
    bounded += [f"echo 0 >{shlex.quote(str(entry))}" for entry in (group.entries if group else [])]
    begin: list[str] = []
    if os.geteuid() == 0:
        begin = ["unshare", "--mount", "--propagation", "private"]
        bounded.append(f"mount --no-mtab --bind {shlex.quote(str(root))} {WITHIN}")
        root = Path(WITHIN)
    bounded.append('exec "$@"')
    begin += ["sh", "-c", " && ".join(bounded), "sh", *users.entered(namespace)]
    mounts = {"/tmp": bounds.TMP_BYTES, "/dev/shm": bounds.SHM_BYTES}
    making = [
        *(f"mount --no-mtab -t tmpfs -o {bounds.tmpfs(language, size)} tmpfs {at}" for at, size in mounts.items()),
        "cd /tmp && unset PWD OLDPWD",
        'exec setpriv --inh-caps=-all --ambient-caps=-all --bounding-set="-all,$0" "$@"',
    ]
    kept = ",".join(f"+{name.lower()}" for name in CAPABILITIES)
    return lambda tells: [
        *begin,
        *("bwrap", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"),
        *("--die-with-parent", "--new-session", "--as-pid-1", "--info-fd", str(tells)),
        *("--hostname", "sandbox", "--clearenv", "--setenv", "PATH", PATH),
        *(word for name, value in ENVIRONMENT.items() for word in ("--setenv", name, value)),
        *("--cap-drop", "ALL"),
        *(word for name in (*CAPABILITIES, *MAKING) for word in ("--cap-add", f"CAP_{name}")),
        *("--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev", "--tmpfs", "/sys"),
        *(("--ro-bind", *map(str, group.seen)) if group else ()),
        *("--remount-ro", "/sys", "--"),
        *("sh", "-c", " && ".join(making), kept, *COMMAND),
    ]


def _all(fd: int) -> bytes:
    """What is written to a pipe until its other end is closed; then this one is, too."""
    with open(fd, "rb") as file:
        return file.read()
