"""Whom something on the host belongs to that outlives its process: so that what dead runs left can be removed."""

from __future__ import annotations

from pathlib import Path


def owner(pid: int) -> str:
    """A process as PID:START, told apart from a later one of the same number by its start: proc(5), stat, field 22."""
    try:
        return f"{pid}:{Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[19]}"
    except OSError:
        return f"{pid}:gone"


def pid_namespace() -> str:
    """The one in which processes have these numbers, such as pid:[4026531836]."""
    return str(Path("/proc/self/ns/pid").readlink())
