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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable, UsageError
from sandbox import bounds, cgroups, engine, languages, roots, users
from sandbox.pool import Pool, recipe
from sandbox.pythons import is_python
from sandbox.worker import COMMAND, AgentWorker, Worker, WorkerDied, environment

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
    """A backend that needs no container engine: a process tree for each worker."""

    backend = "bubblewrap"
    _users: int | None = None
    _grouped: bool | None = None
    """Whether workers have control groups; None: not known yet."""

    async def start(self) -> None:
        """Find what it takes and the roots, remove what dead runs left, and start a worker.

        Raises UsageError too, where what is asked for cannot be had.
        """
        self._check()
        try:
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
        self._refuse_memory(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this host")
        if packages := missing():
            raise SandboxUnavailable(
                f"{packages[0]} is missing: as root, `apt-get install -y {' '.join(packages)}`, or `touchstone sandbox "
                "build --sandbox bubblewrap`"
            )

    async def make_ready(self, language: str) -> str:
        """The digest of a language's root file system, built where it is missing."""
        root = await asyncio.to_thread(roots.ensure, self.say, recipe(language))
        return await asyncio.to_thread(roots.digest, root)

    async def start_worker(self, language: str) -> Worker:
        """One more, its agent ready."""
        assert self._users is not None
        memory_bytes = bounds.memory_bytes(self.asked_bytes, language)
        group = await asyncio.to_thread(cgroups.make, memory_bytes, bounds.PROCESSES + 1)  # bwrap itself is one
        if group is None:
            self._ungrouped(language)
        else:
            self._grouped = True
        worker = Confined(group)
        try:
            await worker.connect(_command(language, roots.place(recipe(language)), self._users, group))
            await asyncio.wait_for(worker.begin(), START_S)
        except (OSError, TimeoutError, WorkerDied) as error:
            await worker.aclose()
            raise WorkerDied(str(error) or f"no answer within {START_S:.0f} s") from error
        except BaseException:
            await worker.aclose()
            raise
        return worker

    def _ungrouped(self, language: str) -> None:
        """Say so, or do without the language, whose processes can be bounded in no other way."""
        if self._grouped:
            raise WorkerDied("no further control group can be made")
        if not is_python(language) and not languages.load(language).limits.address_space:
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
        """As every pool, and what is bounded."""
        return {
            **super().describe(),
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
        *(word for name, value in environment(language).items() for word in ("--setenv", name, value)),
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
