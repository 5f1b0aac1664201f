"""The tester: holds the line to the host, and with it jobs, tests and outcomes."""

from __future__ import annotations

import array
import os
import platform
import signal
import socket
import time
from types import CodeType
from typing import Any

from sandbox.agent.frames import Hangup, dumps, exactly, raised, receive, send, source
from sandbox.agent.remote import CannotCross, Gone, Names, Remote
from sandbox.agent.system import cpu_time, undumpable
from sandbox.agent.watch import Watch

UID = 9_999
"""The tester's user: no candidate's, and without any power."""
KEPT_OUTPUT = 16 << 10
"""Bytes of each standard stream that are sent to the host."""
COMPILED = 64
"""Tests whose code is kept: samples of a problem come one after another."""


class Tester:
    """Serves the host's jobs, one at a time.

    jobs, results: descriptors of the line to the host. zygote: the socket to process 1.
    """

    def __init__(self, jobs: int, results: int, zygote: socket.socket, modules: frozenset[str]) -> None:
        self.jobs, self.results, self.zygote, self.modules = jobs, results, zygote, modules
        self._compiled: dict[str, CodeType] = {}
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        undumpable()
        signal.signal(signal.SIGPROF, _enough)

    def serve(self) -> None:
        """Answer jobs until the host hangs up."""
        self._report({"ready": True, "python": platform.python_version()})
        while True:
            job = receive(self.jobs)
            self.run(job, exactly(self.jobs, job["payload"]))

    def run(self, job: dict[str, Any], payload: bytes) -> None:
        """One job, from the candidate's fork to the report."""
        limits, cases, calls = job["limits"], job.get("cases", ()), job.get("calls", ())
        pid, (task, *readers) = self._candidate()
        served = bool(calls) and not job["shared"]
        hidden = {"calls": [], "source": ""} if served else {}
        cpu_limits = [case["cpu_s"] for case in cases] + [limits["cpu_s"]] * (len(calls) or not cases)
        watch = Watch(
            pid,
            readers,
            cpu_limits,
            limits["wall_margin_s"],
            reply_bytes=limits["reply_bytes"],
            output_bytes=limits["output_bytes"],
            host=self.jobs,
            zygote=self.zygote.fileno(),
            asleep=lambda: self._report({"asleep": True}),
        )
        outcomes: list[dict[str, Any]] = []
        faults: list[str] = []
        if not self._tell(task, {**job, **hidden, "served": served}, payload):
            raise Hangup  # it was ended before it knew anything: not its own doing
        expected = len(cases) + (0 if served else len(calls))
        if "program" in job:
            watch.end_of_all()
        elif watch.frames(expected + 2, expected + 1) and served:
            faults = self._test(job, watch, task, outcomes)
        watch.end()
        ended = self._cleaned()
        os.close(task)  # not before: a candidate would wake up to find that there is nothing more to do
        watch.drain()
        reply, out, err = (bytes(stream) for stream in watch.kept)
        header = {
            **ended,
            "stopped_by": "memory" if ended["out_of_memory"] else watch.stopped_by,
            "wall_s": watch.ended - watch.started,
            "delay_s": watch.delay_s,
            "calls": outcomes,
            "fault": faults[0] if faults else None,
        }
        kept = None if "program" in job else KEPT_OUTPUT  # a program says by its output how its tests ended
        self._report(header, reply, out[:kept], err[:kept])

    def _test(self, job: dict[str, Any], watch: Watch, task: int, outcomes: list[dict[str, Any]]) -> list[str]:
        """Run test code against the candidate; an outcome for each call that ended, and what could not cross."""

        def ask(request: bytes) -> bytes | None:
            watch.spent = time.process_time() - mark
            return watch.frame() if self._tell(task, request) else None

        remote = Remote(ask, self.modules)
        names = Names(remote, job["entry_point"])
        limit: float = job["limits"]["cpu_s"]
        mark = time.process_time()
        for number, call in enumerate(job["calls"]):
            if number:
                watch.begin(limit)
            before, mark, start = cpu_time(watch.pid), time.process_time(), time.monotonic()
            outcome: dict[str, Any] = {}
            try:
                signal.setitimer(signal.ITIMER_PROF, limit, 0.1)
                try:
                    if not number:
                        source("tests.py", job["source"])
                        exec(self._code(job["source"]), names)
                    eval(call, names)
                finally:
                    signal.setitimer(signal.ITIMER_PROF, 0)
            except (Gone, CannotCross):
                pass
            except _Enough:
                watch.stopped_by = watch.stopped_by or "cpu"
            except BaseException as error:
                outcome["raised"] = raised(error)
            # Test code that swallows every exception does not make up for an answer that never came, or was none.
            if watch.over or remote.faults:
                break
            if remote.broken:
                outcome["raised"] = {"kinds": ["BadAnswer"], "message": "what came back was no answer", "traceback": ""}
            outcome["cpu_s"] = time.process_time() - mark + max(0.0, cpu_time(watch.pid) - before)
            outcome["wall_s"] = time.monotonic() - start
            outcome["peak"] = remote.peak_bytes
            outcomes.append(outcome)
            if remote.broken:
                break
        return remote.faults

    def _code(self, text: str) -> CodeType:
        if text not in self._compiled:
            if len(self._compiled) >= COMPILED:
                self._compiled.clear()
            self._compiled[text] = compile(text, "tests.py", "exec", dont_inherit=True)
        return self._compiled[text]

    def _tell(self, task: int, message: dict[str, Any] | bytes, payload: bytes = b"") -> bool:
        """A message to the candidate, and the bytes after it; whether it is there to take them."""
        try:
            send(task, message if isinstance(message, bytes) else dumps(message).encode("ascii"), payload)
        except BrokenPipeError:
            return False
        return True

    # ── the zygote ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _candidate(self) -> tuple[int, list[int]]:
        """The next candidate: its process, and our ends of its pipes: task, reply, standard output and error."""
        message, control, *_ = self.zygote.recvmsg(64, socket.CMSG_SPACE(4 * 4))
        if not message:
            raise Hangup
        fds = array.array("i")
        for _, _, data in control:
            fds.frombytes(data)
        return int(message[1:]), list(fds)

    def _cleaned(self) -> dict[str, Any]:
        """Have everything of the candidate's ended and removed: how it ended."""
        self.zygote.send(b"K")
        while (message := self.zygote.recv(256)) == b"X":  # it has ended by itself meanwhile
            pass
        if not message:
            raise Hangup
        status, cpu_s, peak, ooms, clean = message[1:].split()
        code = os.waitstatus_to_exitcode(int(status))
        return {
            "exit_code": code if code >= 0 else None,
            "signal": -code if code < 0 else None,
            "cpu_s": float(cpu_s),
            "peak_memory_bytes": int(peak),
            # Of whichever of its processes: the rest may have failed or waited for that one.
            "out_of_memory": ooms != b"0",
            "clean": clean == b"1",
        }

    def _report(self, header: dict[str, Any], *blobs: bytes) -> None:
        """A header frame that counts the blobs, and the blobs."""
        header["blobs"] = [len(blob) for blob in blobs]
        send(self.results, dumps(header).encode("ascii"), *blobs)


class _Enough(BaseException):
    """Test code has used the CPU time of the limit itself."""


def _enough(*_: object) -> None:
    raise _Enough
