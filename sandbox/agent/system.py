"""What the agent asks of the kernel: descriptors, processes, files, and its own protection."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import time

from sandbox.agent.seccomp import confine

TICKS = os.sysconf("SC_CLK_TCK")
"""Clock ticks per second."""
WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
"""All that a candidate can write to."""
PRELOAD = "TOUCHSTONE_PRELOAD"
"""What the environment calls the modules that candidates find imported already, beyond the usual ones."""


def high(fd: int) -> int:
    """`fd`, moved to a number above 9."""
    new = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10)
    if fd > 2:
        os.close(fd)
    return new


def others() -> list[int]:
    """Every process but the agent's own."""
    own = (1, os.getpid())
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in own]


def cpu_time(pid: int) -> float:
    """CPU seconds of a process and of the children that it waited for; 0 where it is gone."""
    try:
        file = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        try:
            fields = os.read(file, 4096).rpartition(b")")[2].split()
        finally:
            os.close(file)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = (int(fields[13]) + int(fields[14])) / TICKS
    try:  # finer than clock ticks: clock_getcpuclockid(3)
        mine = time.clock_gettime(~pid << 3 | 2)
    except OSError:
        mine = (int(fields[11]) + int(fields[12])) / TICKS
    return mine + own


def run_delay() -> float | None:
    """The longest time that any of the candidate's threads was ready to run but had no core; None: unknown."""
    longest = None
    for pid in others():
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/schedstat", "rb") as file:
                    longest = max(longest or 0.0, int(file.read().split()[1]) / 1e9)
        except (OSError, IndexError):
            continue
    return longest


class Upkeep:
    """What process 1 does after each candidate. Of the kernel's files, those that it reads each time stay open.

    tester: the one process beside it that stays.
    """

    def __init__(self, tester: int) -> None:
        self.tester = tester
        self._children = _opened("/proc/thread-self/children")
        self._memory = _opened("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control")
        self._seen: dict[str, tuple[int, int] | None] = {root: None for root in WRITABLE if os.path.isdir(root)}
        """Folders, and what each looked like when it was last seen to be empty."""

    def sweep(self, pid: int, uid: int) -> tuple[int, float, int]:
        """Kill and reap everything but the agent: wait status of `pid`, CPU seconds and peak bytes of all.

        pid: a candidate that is there, alive or ended. uid: the user that all of its processes have.
        """
        _kill_all(uid)
        _, status, usage = os.wait4(pid, 0)
        cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
        while not self._alone():
            _kill_all(uid)  # again, because what is forked while all are killed may be missed
            child, _, usage = os.wait4(-1, os.WNOHANG)
            if child:
                cpu += usage.ru_utime + usage.ru_stime
                peak = max(peak, usage.ru_maxrss << 10)
            else:
                time.sleep(0.0005)
        return status, cpu, peak

    def _alone(self) -> bool:
        """Whether the agent is. Whatever else there is has an ancestor among the children of process 1."""
        if self._children is None:
            return not any(other != self.tester for other in others())
        return os.pread(self._children, 64, 0).strip() == b"%d" % self.tester

    def wipe(self, uid: int) -> bool:
        """Empty what is writable; whether it is empty."""
        for root, seen in self._seen.items():
            found = os.stat(root)
            if seen != (found.st_size, found.st_mtime_ns):  # the size of a folder in memory counts its names
                if not _emptied(root, uid):
                    return False
                found = os.stat(root)
                self._seen[root] = found.st_size, found.st_mtime_ns
        return True

    def oom_kills(self) -> int:
        """How often the kernel has killed something in this container for want of memory."""
        if self._memory is not None:
            for line in os.pread(self._memory, 4096, 0).splitlines():
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
        return 0


def _opened(*paths: str) -> int | None:
    """The first of some files that is there, open for reading."""
    for path in paths:
        with contextlib.suppress(OSError):
            return high(os.open(path, os.O_RDONLY))
    return None


def _kill_all(uid: int) -> None:
    """Kill every process of a user's: a signal to all reaches those that the sender may signal.

    Sent as that user, without root's power, it reaches none of the tester's.
    """
    os.seteuid(uid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    os.seteuid(0)


def _emptied(root: str, uid: int) -> bool:
    """Empty a folder; whether it is empty."""
    folders = [name for name in (f"{root}/{name}" for name in os.listdir(root)) if not _unlink(name)]
    if not folders:
        return True
    pid = os.fork()
    if pid == 0:  # the agent may not enter folders that are closed to it; their owner may
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            script = 'chmod -R u+rwx -- "$@"; rm -rf -- "$@"'
            os.execv("/bin/sh", ["sh", "-c", f"({script}) 2>/dev/null", "sh", *folders])
        finally:
            os._exit(1)
    os.waitpid(pid, 0)
    return not os.listdir(root)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def undumpable() -> None:
    """Nobody may trace or read this process, or those that it forks: PR_SET_DUMPABLE of prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(4, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def harden() -> None:
    """Nobody may trace or read the agent; nobody gains privileges; nothing is left where only a reboot removes it."""
    undumpable()
    confine()
