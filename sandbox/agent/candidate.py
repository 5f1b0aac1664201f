"""The candidate's process: confines itself, then runs the solution and answers for it."""

from __future__ import annotations

# What `signal` wraps: to look up names for its numbers takes longer than all else that is done to be a candidate.
import _signal  # type: ignore[import-not-found]
import linecache
import os
import random
import resource
import signal
import sys
import time
import types
from typing import Any, NoReturn

from sandbox.agent import program
from sandbox.agent.frames import dumps, exactly, raised, receive, send, source
from sandbox.agent.values import decode, encode

HOME = "/tmp"
"""Where candidates start: writable, and empty."""


REHEARSED = """
from typing import List

def add(a: int, b: int) -> int:
    ''' Add two numbers.
    >>> add(1, 2)
    3
    '''
    total = 0
    for number in [a, b]:
        total += number
    return total
"""
REHEARSALS = 20
"""More than the interpreter takes to make up its mind about a function."""


class Opaque:
    """Stands for an argument that is not plain data."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class Candidate:
    """The forked process: confines itself, then runs the solution and its cases, a frame for each stage."""

    REPLY, TASK = 3, 4

    def __init__(self) -> None:
        self.job: dict[str, Any] = {}
        self.mark = 0.0
        # Taken now, so that a candidate that rebinds them breaks nothing but itself.
        self.write, self.read, self.dumps, self.clock = os.write, os.read, dumps, time.process_time
        self.wall, self.usage = time.monotonic, resource.getrusage
        self.flushes = (sys.stdout.flush, sys.stderr.flush)

    def main(self, uid: int, task: int, reply: int, out: int, err: int) -> NoReturn:
        """Run the job that comes; ends the process in any case."""
        code = 1
        try:
            self._attach(task, reply, out, err)
            self.job = receive(self.TASK)
            payload = exactly(self.TASK, self.job["payload"])
            self._confine(uid)
            if "program" in self.job:
                # Python ignores it, and other programs expect that nobody does.
                _signal.signal(signal.SIGPIPE, _signal.SIG_DFL)
                program.run(self.job["program"], payload, self.REPLY)
            self._run()
            code = 0
        finally:
            self._flush()
            os._exit(code)

    def _attach(self, task: int, reply: int, out: int, err: int) -> None:
        os.setsid()
        signal.set_wakeup_fd(-1)
        _signal.signal(signal.SIGCHLD, _signal.SIG_DFL)
        null = os.open("/dev/null", os.O_RDONLY)
        for target, fd in ((0, null), (1, out), (2, err), (self.REPLY, reply), (self.TASK, task)):
            os.dup2(fd, target, inheritable=target < self.REPLY)
        os.closerange(self.TASK + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

    def _confine(self, uid: int) -> None:
        file = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(file, b"1000")
        os.close(file)
        limits = self.job["limits"]
        for name, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_NOFILE, limits["opened"]),
            (resource.RLIMIT_FSIZE, limits["file_bytes"]),
            (resource.RLIMIT_CPU, limits["total_cpu_s"]),
            (resource.RLIMIT_NPROC, limits["processes"]),
            (resource.RLIMIT_AS, limits["memory_bytes"]),
        ):
            if value is not None:
                resource.setrlimit(name, (value, value))
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        os.chdir(HOME)
        random.seed(0)  # forking has reseeded it: a verdict must not depend on chance

    def _run(self) -> None:
        self._unpack()
        solution = self.job["solution"]
        source("solution.py", solution)
        try:
            code = compile(solution, "solution.py", "exec", dont_inherit=True)
        except BaseException as error:
            self._send({"stage": "compile", "raised": raised(error)})
            return
        # A project may have a module of that name.
        name = "__solution__" if self.job["files"] else "solution"
        module = sys.modules[name] = types.ModuleType(name)
        try:
            exec(code, module.__dict__)
        except BaseException as error:
            self._send({"stage": "load", "raised": raised(error)})
            return
        self._send({"stage": "tests"})
        self.mark = self.clock()
        for case in self.job["cases"]:
            self._case(dict(module.__dict__), case["setup"], case["call"])
        setup = self.job["source"]
        if self.job["calls"]:
            source("tests.py", setup)
        for call in self.job["calls"]:
            self._case(module.__dict__, setup, call)
            setup = ""
        self._flush()
        self._send({"stage": "done"})
        while self.job["served"]:
            self._answer(module.__dict__, receive(self.TASK, self.read))

    def _unpack(self) -> None:
        """Put a project where the solution finds it."""
        for path, text in self.job["files"].items():
            os.makedirs(os.path.dirname(os.path.join(HOME, path)), exist_ok=True)
            with open(os.path.join(HOME, path), "w", encoding="utf-8") as file:
                file.write(text)
        if self.job["files"]:
            sys.path.insert(0, HOME)

    def _case(self, namespace: dict[str, Any], setup: str, call: str) -> None:
        start = self.wall()
        try:
            if setup:
                exec(compile(setup, "tests.py", "exec", dont_inherit=True), namespace)
            outcome = {"value": encode(eval(compile(call, "<call>", "eval", dont_inherit=True), namespace))}
        except BaseException as error:
            outcome = {"raised": raised(error)}
        cpu = self.clock()
        outcome["cpu_s"], outcome["wall_s"], self.mark = cpu - self.mark, self.wall() - start, cpu
        outcome["peak"] = self._peak()
        self._send(outcome)

    def _answer(self, namespace: dict[str, Any], request: dict[str, Any]) -> None:
        """What the tester wants to know: what a name stands for, or what a call gives."""
        if "get" in request:
            self._send(_meaning(namespace, request["get"]))
            return
        arguments = [decode(argument, Opaque) for argument in request["args"]]
        named = {name: decode(argument, Opaque) for name, argument in request["kwargs"].items()}
        try:
            answer = {"value": encode(namespace[request["call"]](*arguments, **named))}
        except BaseException as error:
            answer = {"raised": raised(error)}
        after = [encode(argument) for argument in arguments]
        if after != request["args"]:
            answer["args"] = after
        answer["peak"] = self._peak()
        self._flush()
        self._send(answer)

    def _peak(self) -> int:
        return self.usage(resource.RUSAGE_SELF).ru_maxrss << 10

    def _flush(self) -> None:
        for flush in self.flushes:
            try:
                flush()
            except BaseException:
                continue  # whatever a stream of the candidate's raises is its own loss

    def _send(self, frame: dict[str, Any]) -> None:
        frame["nonce"] = self.job["nonce"]
        send(self.REPLY, self.dumps(frame).encode("ascii"), write=self.write)


def _meaning(namespace: dict[str, Any], name: str) -> dict[str, Any]:
    """What a name of the solution's stands for: a function, a module, a kind of exception, or a value."""
    if name not in namespace:
        return {"missing": True}
    value = namespace[name]
    if isinstance(value, types.ModuleType):
        return {"module": value.__name__}
    if isinstance(value, type) and issubclass(value, BaseException):
        return {"exception": [kind.__name__ for kind in value.__mro__[:-1]]}
    return {"callable": True} if callable(value) else {"value": encode(value)}


def rehearse() -> None:
    """Go through what every candidate goes through, before any is forked.

    The interpreter notes beside the code how best to run it: done once here, each candidate need not do it anew, on
    pages that it would have to copy first.
    """
    job = {"solution": REHEARSED, "cases": [], "calls": [], "served": False, "source": "", "nonce": "", "files": {}}
    job["cases"] = [{"setup": "", "call": f"add(1, {other})"} for other in ("2", "None")]
    reader, writer = os.pipe()
    for _ in range(REHEARSALS):
        candidate = Candidate()
        candidate.write = lambda _, data: memoryview(data).nbytes
        send(writer, dumps(job).encode("ascii"))
        candidate.job = receive(reader, candidate.read)
        candidate._run()
        names = sys.modules.pop("solution").__dict__
        candidate._answer(names, {"get": "add"})
        for other in (2, None):
            candidate._answer(names, {"call": "add", "args": [1, other], "kwargs": {}})
    os.close(reader)
    os.close(writer)
    linecache.cache.clear()
