"""What bounds a worker as a whole, whoever isolates it. A candidate's own limits are lower, and of each process."""

from __future__ import annotations

from sandbox import languages
from sandbox.pythons import PYTHON, is_python

MEMORY_BYTES = 2 << 30
"""What a worker may use in all."""
TMP_BYTES = 128 << 20
SHM_BYTES = 64 << 20
INODES = 20_000
"""Files and folders in /tmp, and as many in /dev/shm."""
BESIDE_BYTES = 256 << 20
"""Of a worker's memory, for the agent and the files, where the rest is the candidate's."""
PROCESSES = 256
PROCESSES_OF_GVISOR = 8192
"""Its own threads count too, and as many for each of the candidate's processes, which a limit within bounds."""
OPENED = 1024
"""Descriptors of each process."""


def memory_bytes(asked: int | None, language: str = PYTHON) -> int:
    """What a worker may use. Where no process can be bounded, this is what bounds the candidate.

    asked: bytes that a candidate may be allowed at most, where that is more than usual.
    """
    limits = None if is_python(language) else languages.load(language).limits
    if limits is None or limits.address_space:
        return max(MEMORY_BYTES, 2 * (asked or 0))
    return max(limits.memory_bytes, asked or 0) + BESIDE_BYTES


def processes(runtime: str) -> int:
    """What a container may have of processes and threads, by the engine's runtime that runs it."""
    return PROCESSES_OF_GVISOR if "runsc" in runtime else PROCESSES


def tmpfs(language: str, size: int) -> str:
    """The mount options of a folder that candidates can write to, of so many bytes."""
    # What a compiler makes is run from where it is written.
    return f"rw,{'noexec' if is_python(language) else 'exec'},nosuid,nodev,nr_inodes={INODES},mode=1777,size={size}"
