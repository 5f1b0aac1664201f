"""Watching one candidate: its pipes and its limits."""

from __future__ import annotations

import os
import select
import struct
import time
from typing import Any

from sandbox.agent.system import cpu_time, high, others, run_delay

PATIENCE = 9
"""How many times its wall time a case may wait for a core in addition."""


class Hangup(Exception):
    """The host is gone."""


class Watch:
    """Drains a candidate's pipes and enforces its limits until its process ends."""

    def __init__(self, job: dict[str, Any], jobs: int, wakeup: int) -> None:
        limits = job["limits"]
        self.cpu_limits = [case["cpu_s"] for case in job["cases"]] + [limits["cpu_s"]] * len(job["calls"])
        self.margin: float = limits["wall_margin_s"]
        self.reply_bytes: int = limits["reply_bytes"]
        self.output_bytes: int = limits["output_bytes"]
        self.wakeup, self.jobs = wakeup, jobs
        pipes = [(high(r), high(w)) for r, w in (os.pipe() for _ in range(3))]
        self.readers = [r for r, _ in pipes]
        self.writers = [w for _, w in pipes]
        for reader in self.readers:
            os.set_blocking(reader, False)
        self.kept = [bytearray(), bytearray(), bytearray()]
        self.frames = self.seen = self.next_frame = 0
        self.stopped_by: str | None = None
        self.delay_s: float | None = None
        self.started = self.ended = self.case_start = time.monotonic()
        self.case_cpu = 0.0

    def until_it_ends(self, pid: int) -> None:
        """Return when the candidate's process has ended or must be stopped (`stopped_by`). Raises Hangup."""
        for writer in self.writers:
            os.close(writer)
        poll = select.poll()
        for fd in (*self.readers, self.wakeup):
            poll.register(fd, select.POLLIN)
        poll.register(self.jobs, 0)  # reports a hangup, and the next job not before its time
        wait = self._limit()
        while not self.stopped_by:
            for fd, _ in poll.poll(max(1.0, wait * 1000)):
                if fd == self.jobs:
                    raise Hangup
                if fd == self.wakeup:
                    os.read(fd, 4096)
                elif not self._read(self.readers.index(fd)):
                    poll.unregister(fd)
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
            wait = self._time_left(pid)
        self.ended = time.monotonic()

    def _time_left(self, pid: int) -> float:
        """Seconds until the limits must be looked at again; `stopped_by` where one is reached."""
        now = time.monotonic()
        if self.frames != self.seen:
            # The first frame says that the solution is loaded: that time is the first case's.
            if self.frames > 1:
                self.case_start, self.case_cpu = now, cpu_time(pid)
            self.seen = self.frames
        limit, wall = self._limit(), now - self.case_start
        if wall < limit:  # then so is its CPU time, on the one core that it should use
            return limit - wall
        used = sum(cpu_time(other) for other in others()) - self.case_cpu
        if used >= limit:
            self.stopped_by = "cpu"
        elif wall >= limit + self.margin:
            self.delay_s = run_delay()
            # It is for what sleeps: what waits for a core on a busy machine is not late, within reason.
            wall -= min(self.delay_s or 0.0, PATIENCE * (limit + self.margin))
            if wall >= limit + self.margin:
                self.stopped_by = "wall"
        return min(max(limit - used, 0.01), limit + self.margin - wall)

    def drain(self) -> None:
        """Take what is left in the pipes, when nobody is left to write to them."""
        for stream, reader in enumerate(self.readers):
            while self._read(stream) and self.stopped_by != "output":
                pass
            os.close(reader)

    def _limit(self) -> float:
        limit: float = self.cpu_limits[min(max(0, self.frames - 1), len(self.cpu_limits) - 1)]
        return limit

    def _read(self, stream: int) -> bool:
        """One read; False at the end of the stream, or where there is nothing more for now."""
        try:
            data = os.read(self.readers[stream], 1 << 16)
        except BlockingIOError:
            return False
        kept = self.kept[stream]
        kept += data
        if stream == 0:
            while self.next_frame + 4 <= len(kept):
                end = self.next_frame + 4 + struct.unpack_from(">I", kept, self.next_frame)[0]
                if end > len(kept):
                    break
                self.next_frame = end
                # A frame starts the next case's time, so no more of them count than there are cases.
                self.frames = min(self.frames + 1, len(self.cpu_limits) + 1)
        reply, out, err = (len(kept) for kept in self.kept)
        if reply > self.reply_bytes or out + err > self.output_bytes:
            self.stopped_by = "output"
        return bool(data)
