"""What the agent asks of the kernel: descriptors, processes, files, and its own protection."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import time

from sandbox.agent.seccomp import confine

WRITABLE = ("/tmp", "/dev/shm", "/dev/mqueue")
"""All that a candidate can write to."""


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
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = sum(int(fields[i]) for i in (13, 14)) / os.sysconf("SC_CLK_TCK")
    try:  # finer than clock ticks: clock_getcpuclockid(3)
        mine = time.clock_gettime(~pid << 3 | 2)
    except OSError:
        mine = sum(int(fields[i]) for i in (11, 12)) / os.sysconf("SC_CLK_TCK")
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


def sweep(pid: int, uid: int, tester: int) -> tuple[int, tuple[float, int]]:
    """Kill and reap everything but the agent: (wait status of `pid`, (CPU seconds, peak bytes) of all).

    pid: a candidate that is there, alive or ended. uid: the user that all of its processes have. Called by process 1,
    which every orphan comes to.
    """
    _kill_all(uid)
    _, status, usage = os.wait4(pid, 0)
    cpu, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10
    while any(other != tester for other in others()):
        _kill_all(uid)  # again, because what is forked while all are killed may be missed
        child, _, usage = os.wait4(-1, os.WNOHANG)
        if child:
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss << 10)
        else:
            time.sleep(0.0005)
    return status, (cpu, peak)


def _kill_all(uid: int) -> None:
    """Kill every process of a user's: a signal to all reaches those that the sender may signal.

    Sent as that user, without root's power, it reaches none of the tester's.
    """
    os.seteuid(uid)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    os.seteuid(0)


def wipe(uid: int) -> bool:
    """Empty what is writable; whether it is empty."""
    for root in WRITABLE:
        try:
            names = [f"{root}/{name}" for name in os.listdir(root)]
        except FileNotFoundError:
            continue
        folders = [name for name in names if not _unlink(name)]
        if not folders:
            continue
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
        if os.listdir(root):
            return False
    return True


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True


def oom_kills() -> int:
    """How often the kernel has killed something in this container for want of memory."""
    for path in ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"):
        try:
            with open(path) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except OSError:
            continue
    return 0


def undumpable() -> None:
    """Nobody may trace or read this process, or those that it forks: PR_SET_DUMPABLE of prctl(2)."""
    if ctypes.CDLL(None, use_errno=True).prctl(4, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_DUMPABLE)")


def harden() -> None:
    """Nobody may trace or read the agent; nobody gains privileges; nothing is left where only a reboot removes it."""
    undumpable()
    confine()
