"""The agent's loop: a job, a fork, a report."""

from __future__ import annotations

import gc
import json
import os
import platform
import signal
import struct
from typing import Any

from sandbox.agent.candidate import Candidate
from sandbox.agent.system import harden, high, oom_kills, sweep, wipe
from sandbox.agent.watch import Hangup, Watch

KEPT_OUTPUT = 16 << 10
"""Bytes of each standard stream that are sent to the host."""
PRELOADED = (
    *("abc", "array", "base64", "bisect", "calendar", "cmath", "collections", "collections.abc", "contextlib", "copy"),
    *("csv", "dataclasses", "datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "inspect"),
    *("io", "itertools", "json", "math", "operator", "os", "pathlib", "queue", "random", "re", "statistics", "string"),
    *("struct", "sys", "textwrap", "threading", "time", "typing", "unittest", "uuid"),
)
"""Modules that a candidate finds imported already."""


class Channel:
    """The host's end of the line: what were standard input and output."""

    def __init__(self) -> None:
        # Above 9, so that descriptors 0 to 3 are free to be the candidate's.
        self.jobs = high(0)
        self.results = high(1)
        null = os.open("/dev/null", os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)

    def receive(self) -> dict[str, Any]:
        """The next job. Raises Hangup at the end of the input."""
        (size,) = struct.unpack(">I", self._read(4))
        job: dict[str, Any] = json.loads(self._read(size))
        return job

    def send(self, header: dict[str, Any], *blobs: bytes) -> None:
        """A header frame that counts the blobs, and the blobs."""
        header["blobs"] = [len(blob) for blob in blobs]
        body = json.dumps(header).encode()
        view = memoryview(b"".join((struct.pack(">I", len(body)), body, *blobs)))
        while view:
            view = view[os.write(self.results, view) :]

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self.jobs, min(size, 1 << 20))
            if not part:
                raise Hangup
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Agent:
    """Forks, watches, cleans up; one job at a time."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.wakeup, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.wakeup = high(self.wakeup)
        os.set_blocking(writer, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(high(writer), warn_on_full_buffer=False)
        self.uids = 10_000 + int.from_bytes(os.urandom(2), "big") % 54_000
        self.jobs = 0

    def serve(self) -> None:
        """Answer jobs until the host hangs up."""
        self.channel.send({"ready": True, "python": platform.python_version()})
        while True:
            self.run(self.channel.receive())

    def run(self, job: dict[str, Any]) -> None:
        """One job, from fork to the report."""
        self.jobs += 1
        uid = self.uids + self.jobs % 1000
        ooms = oom_kills()
        watch = Watch(job, self.channel.jobs, self.wakeup)
        pid = os.fork()
        if pid == 0:
            Candidate(job).main(uid, *watch.writers)
        try:
            watch.until_it_ends(pid)
        finally:
            status, usage = sweep(pid)
        watch.drain()
        header = {
            "exit_code": os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "stopped_by": watch.stopped_by,
            "cpu_s": usage[0],
            "peak_memory_bytes": usage[1],
            "wall_s": watch.ended - watch.started,
            "delay_s": watch.delay_s,
            "clean": wipe(uid),
        }
        if oom_kills() > ooms:  # of whichever of its processes: the rest may have failed or waited for that one
            header["stopped_by"] = "memory"
        reply, out, err = (bytes(stream) for stream in watch.kept)
        self.channel.send(header, reply, out[:KEPT_OUTPUT], err[:KEPT_OUTPUT])


def main() -> None:
    """Harden, import what candidates use, and serve."""
    channel = Channel()
    harden()
    for name in PRELOADED:
        __import__(name)
    gc.collect()
    gc.freeze()
    try:
        Agent(channel).serve()
    except Hangup:
        os._exit(0)
