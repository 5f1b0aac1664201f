"""Process 1: forks candidates, ends them, and knows nothing of what they are for."""

from __future__ import annotations

import array
import gc
import os
import select
import signal
import socket
import traceback

from sandbox.agent.candidate import Candidate, rehearse
from sandbox.agent.frames import Hangup
from sandbox.agent.system import PRELOAD, Upkeep, harden, high
from sandbox.agent.tester import Tester

PRELOADED = (
    *("abc", "array", "base64", "bisect", "cmath", "collections", "collections.abc", "contextlib", "copy"),
    *("dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect"),
    *("io", "itertools", "json", "math", "operator", "os", "pathlib", "random", "re", "statistics", "string"),
    *("struct", "sys", "textwrap", "time", "typing"),
)
"""Modules that a candidate finds imported already. Not `threading`, nor what imports it: each fork would pay for it."""
KNOWN = frozenset((*PRELOADED, "calendar", "csv", "queue", "threading", "unittest", "uuid"))
"""Modules that test code may find in a candidate's names."""


class Zygote:
    """Serves the tester, one candidate at a time, and has the next one waiting for its job.

    To the tester: F and its process's number, with the ends of its pipes: a candidate is there. X: it has ended. From
    the tester: K, to end everything of it, and clean up; the answer is K and how it ended, and then comes the next F.
    """

    def __init__(self, tester: socket.socket, tester_pid: int) -> None:
        self.tester, self.upkeep = tester, Upkeep(tester_pid)
        wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wakeup = high(wakeup)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(high(writer), warn_on_full_buffer=False)
        self.uids = 10_000 + int.from_bytes(os.urandom(2), "big") % 54_000
        self.jobs = self.pid = 0
        self.ooms = self.upkeep.oom_kills()
        self.told = False

    def serve(self) -> None:
        """Until the tester is gone."""
        self._fork()
        poll = select.poll()
        poll.register(self.tester, select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.wakeup:
                    os.read(fd, 4096)
                    self._tell_its_end()
                elif self.tester.recv(16):
                    self._end()
                    self._fork()
                else:
                    return

    def _fork(self) -> None:
        self.jobs += 1
        self.told = False
        task, reply, out, err = (os.pipe() for _ in range(4))
        theirs = task[0], reply[1], out[1], err[1]
        self.pid = os.fork()
        if self.pid == 0:
            Candidate().main(self._uid(), *theirs)
        ours = task[1], reply[0], out[0], err[0]
        self.tester.sendmsg([b"F%d" % self.pid], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ours))])
        for fd in (*ours, *theirs):
            os.close(fd)

    def _uid(self) -> int:
        return self.uids + self.jobs % 1000

    def _tell_its_end(self) -> None:
        if not self.told and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.told = True
            self.tester.send(b"X")

    def _end(self) -> None:
        """End the candidate. Told: its wait status, CPU seconds and peak bytes, kills by the kernel, whether clean."""
        uid = self._uid()
        status, cpu_s, peak = self.upkeep.sweep(self.pid, uid)
        before, self.ooms = self.ooms, self.upkeep.oom_kills()
        clean = self.upkeep.wipe(uid)
        self.tester.send(b"K%d %f %d %d %d" % (status, cpu_s, peak, self.ooms - before, clean))


def main() -> None:
    """Harden, import what candidates use, split in two, and serve."""
    # Above 9, and 0 to 4 taken, so that no pipe of a candidate's has a number that becomes another's in its process.
    jobs, results = high(0), high(1)
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, Candidate.REPLY, Candidate.TASK):
        os.dup2(null, fd)
    harden()
    for name in (*PRELOADED, *os.environ.pop(PRELOAD, "").split()):
        __import__(name)
    rehearse()
    gc.collect()
    gc.freeze()
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, its = (socket.socket(fileno=high(end.detach())) for end in (ours, its))
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            Tester(jobs, results, its, KNOWN).serve()
        except Hangup:
            pass
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    its.close()
    os.close(jobs)
    os.close(results)
    Zygote(ours, pid).serve()
    os._exit(0)
