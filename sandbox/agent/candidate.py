"""The candidate's process: confines itself, then runs the solution and its tests."""

from __future__ import annotations

import json
import linecache
import os
import random
import resource
import signal
import struct
import sys
import time
import traceback
import types
from typing import Any, NoReturn

from sandbox.agent.values import encode

HOME = "/tmp"
"""Where candidates start: writable, and empty."""
KEPT_TEXT = 8 << 10
"""Characters of a message or a traceback that are sent to the host."""


class Candidate:
    """The forked process: confines itself, then runs the solution and its tests, a frame for each stage."""

    REPLY = 3

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.mark = 0.0
        # Taken now, so that a candidate that rebinds them breaks nothing but itself.
        self.write, self.dumps, self.clock = os.write, json.JSONEncoder(check_circular=False).encode, time.process_time
        self.wall, self.usage = time.monotonic, resource.getrusage

    def main(self, uid: int, reply: int, out: int, err: int) -> NoReturn:
        """Run the job; ends the process in any case."""
        code = 1
        try:
            self._confine(uid, reply, out, err)
            self._run()
            code = 0
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except BaseException:
                    code = 1
            os._exit(code)

    def _confine(self, uid: int, reply: int, out: int, err: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDONLY)
        for target, source in ((0, null), (1, out), (2, err), (self.REPLY, reply)):
            os.dup2(source, target, inheritable=target != self.REPLY)
        os.closerange(self.REPLY + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
        limits = self.job["limits"]
        for name, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, 256),
            (resource.RLIMIT_FSIZE, limits["file_bytes"]),
            (resource.RLIMIT_CPU, limits["total_cpu_s"]),
            (resource.RLIMIT_NPROC, limits["processes"]),
            (resource.RLIMIT_AS, limits["memory_bytes"]),
        ):
            resource.setrlimit(name, (value, value))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.chdir(HOME)
        random.seed(0)  # forking has reseeded it: a verdict must not depend on chance

    def _run(self) -> None:
        solution = self.job["solution"]
        self._source("solution.py", solution)
        try:
            code = compile(solution, "solution.py", "exec", dont_inherit=True)
        except BaseException as error:
            self._send({"stage": "compile", "raised": self._raised(error)})
            return
        module = types.ModuleType("solution")
        sys.modules["solution"] = module
        try:
            exec(code, module.__dict__)
        except BaseException as error:
            self._send({"stage": "load", "raised": self._raised(error)})
            return
        self._send({"stage": "tests"})
        self.mark = self.clock()
        for case in self.job["cases"]:
            self._case(dict(module.__dict__), case["setup"], case["call"])
        setup = self.job["source"]
        if self.job["calls"]:
            self._source("tests.py", setup)
        for call in self.job["calls"]:
            self._case(module.__dict__, setup, call)
            setup = ""
        self._send({"stage": "done"})

    def _case(self, namespace: dict[str, Any], setup: str, call: str) -> None:
        start = self.wall()
        try:
            if setup:
                exec(compile(setup, "tests.py", "exec", dont_inherit=True), namespace)
            outcome = {"value": encode(eval(compile(call, "<call>", "eval", dont_inherit=True), namespace))}
        except BaseException as error:
            outcome = {"raised": self._raised(error)}
        cpu = self.clock()
        outcome["cpu_s"], outcome["wall_s"], self.mark = cpu - self.mark, self.wall() - start, cpu
        outcome["peak"] = self.usage(resource.RUSAGE_SELF).ru_maxrss << 10
        self._send(outcome)

    def _send(self, frame: dict[str, Any]) -> None:
        frame["nonce"] = self.job["nonce"]
        body = self.dumps(frame).encode("ascii")
        view = memoryview(struct.pack(">I", len(body)) + body)
        while view:
            view = view[self.write(self.REPLY, view) :]

    def _source(self, name: str, text: str) -> None:
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)

    def _raised(self, error: BaseException) -> dict[str, Any]:
        """The exception as text; the candidate's own `__str__` may do anything."""
        kinds = [kind.__name__ for kind in type(error).__mro__[:-1]]
        try:
            message = str(error)[:KEPT_TEXT]
        except BaseException as second:
            message = f"<its message raised {type(second).__name__}>"
        try:
            frames = error.__traceback__.tb_next if error.__traceback__ else None  # the first one is the agent's own
            lines = traceback.format_exception(type(error), error, frames, limit=-20)
            text = "".join(lines)[-KEPT_TEXT:]
        except BaseException as second:
            text = f"<its traceback raised {type(second).__name__}>"
        return {"kinds": kinds, "message": message, "traceback": text}
