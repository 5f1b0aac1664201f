"""What can be seen of a run from outside: its containers and processes, what they use, and what they leave."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sandbox.agent.tester import UID as TESTER
from sandbox.docker import LABEL

GONE_S = 30.0
"""How long the engine may take to remove a container that has ended."""


def resident(pid: int) -> int:
    """Resident bytes of a process: proc(5), statm."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def agents(names: Sequence[str]) -> dict[str, int]:
    """Resident bytes of the two processes of each container's agent, by its id: its first, and the tester's."""
    sizes: dict[str, int] = {}
    for pid, name in _inside(names):
        with suppress(OSError, IndexError):
            status = Path(f"/proc/{pid}/status").read_text()
            fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
            if fields["NSpid"].split()[-1] == "1" or fields["Uid"].split()[0] == str(TESTER):
                sizes[name] = sizes.get(name, 0) + resident(pid)
    return sizes


def _inside(containers: Sequence[str] | set[str]) -> Iterator[tuple[int, str]]:
    """Every process in one of the containers, by its control groups."""
    for pid in _pids():
        with suppress(OSError):
            groups = Path(f"/proc/{pid}/cgroup").read_text()
            yield from ((pid, name) for name in containers if name in groups)


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def containers(client: Any) -> list[dict[str, Any]]:
    """Those of any run, as the engine describes them."""
    return list(client.api.containers(all=True, filters={"label": [LABEL]}))


def owner(entry: Mapping[str, Any]) -> int:
    """The process that a container belongs to, by its label."""
    return int(entry["Labels"][LABEL].partition(":")[0])


def containers_left(client: Any, pids: set[int]) -> list[str]:
    """Those of some processes, in words."""
    return [f"{entry['Id'][:12]} ({entry['State']})" for entry in containers(client) if owner(entry) in pids]


def processes_left(mark: str, containers: set[str]) -> list[str]:
    """Processes of ours: with the mark in their environment, in one of the containers, or serving one."""
    found = {pid for pid, _ in _inside(containers)}
    for pid in _pids():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            if mark in Path(f"/proc/{pid}/environ").read_text(errors="replace"):
                found.add(pid)
            if any(name in words for name in containers):
                found.add(pid)
    return [f"{pid}: {_words(pid)}" for pid in sorted(found)]


def _words(pid: int) -> str:
    with suppress(OSError):
        return " ".join(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0"))[:200]
    return "ended"


def gone(find: Callable[[], list[str]]) -> list[str]:
    """What is still found when the engine has had its time."""
    end = time.monotonic() + GONE_S
    while (found := find()) and time.monotonic() < end:
        time.sleep(0.2)
    return found


def names(folder: Path) -> set[str]:
    """What is in a folder; nothing where there is none."""
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
