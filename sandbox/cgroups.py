"""Control groups of our own, for workers that no container engine bounds: memory and processes, version 1 or 2.

Each is named by whom it belongs to, so that those of dead runs can be told and removed. Source: cgroups(7), and the
kernel's documents cgroup-v1/memory.rst, cgroup-v1/pids.rst and cgroup-v2.rst.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sandbox.owner import owner, pid_namespace

CONTROLLERS = ("memory", "pids")
INSIDE = Path("/sys/fs/cgroup")
"""Where the agent looks for its group."""
NAME = re.compile(r"touchstone-(\d+)-(\d+)-(\d+|gone)-\d+")
"""The PID namespace, the owner's process there, its start, and a number."""
EMPTY_S = 5.0
"""How long the processes of a group may take to die."""
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Group:
    """One group: a folder under version 2, one for each controller under version 1."""

    version: int
    folders: tuple[Path, ...]

    @property
    def entries(self) -> list[Path]:
        """The files that take the number of a process which is to join, or 0 for the one that writes."""
        return [folder / "cgroup.procs" for folder in self.folders]

    @property
    def seen(self) -> tuple[Path, Path]:
        """The folder that says how memory ran out, and where the agent looks for it."""
        return self.folders[0], INSIDE if self.version == 2 else INSIDE / CONTROLLERS[0]

    def remove(self) -> None:
        """Kill what is in it, and remove it."""
        for folder in self.folders:
            _remove(folder)


def make(memory_bytes: int, processes: int) -> Group | None:
    """A group with these limits, swap included; None where this process may make none."""
    version, places = _places()
    if not places:
        return None
    pid = os.getpid()
    name = f"touchstone-{_namespace()}-{owner(pid).replace(':', '-')}-{next(_numbers)}"
    group = Group(version, tuple(place / name for place in places))
    if version == 2:
        limits = {"memory.max": memory_bytes, "memory.swap.max": 0, "pids.max": processes}
    else:
        limits = {"memory.limit_in_bytes": memory_bytes, "memory.memsw.limit_in_bytes": memory_bytes}
        limits["pids.max"] = processes
    try:
        for folder in group.folders:
            folder.mkdir()
            for file, value in limits.items():
                if (folder / file).exists():  # a kernel may have been built without accounts of swap
                    (folder / file).write_text(str(value))
    except OSError:
        group.remove()
        return None
    return group


def sweep() -> int:
    """Remove the groups whose owners have died; how many folders there were."""
    removed = 0
    for mount in {mount for mount, _ in _mounts().values()}:
        for root, names, _ in os.walk(mount):
            for name in [name for name in names if (found := NAME.fullmatch(name)) and _dead(*found.groups())]:
                names.remove(name)
                removed += _remove(Path(root, name))
    return removed


def _dead(namespace: str, pid: str, start: str) -> bool:
    return namespace == _namespace() and owner(int(pid)) != f"{pid}:{start}"


def _namespace() -> str:
    return "".join(filter(str.isdigit, pid_namespace()))


def _places() -> tuple[int, list[Path]]:
    """The version, and the folders in which a group can be made; none where it cannot be."""
    mounts = _mounts()
    if not all(controller in mounts for controller in CONTROLLERS):
        return 0, []
    unified = [mounts[controller][1] == "" for controller in CONTROLLERS]
    if all(unified):
        return 2, _unified(mounts[CONTROLLERS[0]][0])
    if any(unified):
        return 0, []
    own = _own()
    places = []
    for mount, key in (mounts[controller] for controller in CONTROLLERS):
        below = mount / own.get(key, "").lstrip("/")
        places.append(below if below.is_dir() else mount)
    return 1, list(dict.fromkeys(places))


def _unified(mount: Path) -> list[Path]:
    """The nearest folder above this process that passes both controllers on to those below it; as root, the top."""
    place = mount / _own().get("", "").lstrip("/")
    while place.is_relative_to(mount):
        if _passes_on(place) and os.access(place, os.W_OK):
            return [place]
        place = place.parent
    with suppress(OSError):
        (mount / "cgroup.subtree_control").write_text(" ".join(f"+{controller}" for controller in CONTROLLERS))
    return [mount] if _passes_on(mount) and os.access(mount, os.W_OK) else []


def _passes_on(place: Path) -> bool:
    try:
        words = (place / "cgroup.subtree_control").read_text().split()
    except OSError:
        return False
    return all(controller in words for controller in CONTROLLERS)


def _mounts() -> dict[str, tuple[Path, str]]:
    """Where each controller is mounted, and the name of its hierarchy in /proc/self/cgroup: none under version 2."""
    found: dict[str, tuple[Path, str]] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        place, (kind, _, options) = Path(before.split()[4]), after.split(" ", 2)
        if kind == "cgroup":
            names = [option for option in options.split(",") if option not in ("rw", "ro")]
            found |= {name: (place, ",".join(names)) for name in names if name in CONTROLLERS}
        elif kind == "cgroup2":
            with suppress(OSError):
                words = (place / "cgroup.controllers").read_text().split()
                found = {name: (place, "") for name in words if name in CONTROLLERS} | found
    return found


def _own() -> dict[str, str]:
    """The group that this process is in, in each hierarchy."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}


def _remove(folder: Path) -> int:
    """Kill what is in a group and remove it; how many folders that were."""
    end = time.monotonic() + EMPTY_S
    while time.monotonic() < end:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return 0
        except OSError:  # something is in it
            with suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    with suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.01)
        else:
            return 1
    return 0
