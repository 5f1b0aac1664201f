"""Process 1: forks candidates, ends them, and knows nothing of what they are for."""

from __future__ import annotations

import array
import gc
import json
import os
import select
import signal
import socket
import traceback

from sandbox.agent.candidate import Candidate
from sandbox.agent.frames import Hangup
from sandbox.agent.system import harden, high, oom_kills, sweep, wipe
from sandbox.agent.tester import Tester

PRELOADED = (
    *("abc", "array", "base64", "bisect", "calendar", "cmath", "collections", "collections.abc", "contextlib", "copy"),
    *("csv", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect"),
    *("io", "itertools", "json", "math", "operator", "os", "pathlib", "queue", "random", "re", "statistics", "string"),
    *("struct", "sys", "textwrap", "threading", "time", "typing", "unittest", "uuid"),
)
"""Modules that a candidate finds imported already, and that test code may find in its names."""


class Zygote:
    """Serves the tester, one candidate at a time.

    F: fork one; the answer is F and its process's number, with the ends of its pipes. X, unasked: it has ended.
    K: end everything of it, and clean up; the answer is how it ended, in JSON.
    """

    def __init__(self, tester: socket.socket, tester_pid: int) -> None:
        self.tester, self.tester_pid = tester, tester_pid
        wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wakeup = high(wakeup)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(high(writer), warn_on_full_buffer=False)
        self.uids = 10_000 + int.from_bytes(os.urandom(2), "big") % 54_000
        self.jobs = self.pid = self.ooms = 0
        self.told = False

    def serve(self) -> None:
        """Until the tester is gone."""
        poll = select.poll()
        poll.register(self.tester, select.POLLIN)
        poll.register(self.wakeup, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.wakeup:
                    os.read(fd, 4096)
                    self._tell_its_end()
                    continue
                message = self.tester.recv(16)
                if not message:
                    return
                if message == b"F":
                    self._fork()
                else:
                    self._end()

    def _fork(self) -> None:
        self.jobs += 1
        self.told, self.ooms = False, oom_kills()
        task, reply, out, err = (os.pipe() for _ in range(4))
        ours = (task[1], reply[0], out[0], err[0])
        theirs = tuple(high(fd) for fd in (task[0], reply[1], out[1], err[1]))
        self.pid = os.fork()
        if self.pid == 0:
            Candidate().main(self._uid(), *theirs)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", ours))]
        self.tester.sendmsg([f"F{self.pid}".encode()], rights)
        for fd in (*ours, *theirs):
            os.close(fd)

    def _uid(self) -> int:
        return self.uids + self.jobs % 1000

    def _tell_its_end(self) -> None:
        if self.pid and not self.told and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self.told = True
            self.tester.send(b"X")

    def _end(self) -> None:
        status, (cpu_s, peak) = sweep(self.pid, self._uid(), self.tester_pid)
        self.pid = 0
        ended = {
            "exit_code": os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "cpu_s": cpu_s,
            "peak_memory_bytes": peak,
            # Of whichever of its processes: the rest may have failed or waited for that one.
            "out_of_memory": oom_kills() > self.ooms,
            "clean": wipe(self._uid()),
        }
        self.tester.send(json.dumps(ended).encode())


def main() -> None:
    """Harden, import what candidates use, split in two, and serve."""
    # Above 9, so that descriptors 0 to 4 are free to be the candidate's.
    jobs, results = high(0), high(1)
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    harden()
    for name in PRELOADED:
        __import__(name)
    gc.collect()
    gc.freeze()
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours, its = (socket.socket(fileno=high(end.detach())) for end in (ours, its))
    pid = os.fork()
    if pid == 0:
        ours.close()
        try:
            Tester(jobs, results, its, frozenset(PRELOADED)).serve()
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
