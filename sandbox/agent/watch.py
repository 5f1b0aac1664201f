"""Watching one candidate: its pipes and its limits."""

from __future__ import annotations

import math
import os
import select
import struct
import time
from collections.abc import Callable

from sandbox.agent.frames import Hangup
from sandbox.agent.system import cpu_time, others, run_delay

PATIENCE = 9
"""How many times its wall time a case may wait for a core in addition."""
LOOK_S = 0.2
"""After so long a candidate is looked at for the first time, and after twice as long each further time, ..."""
ASLEEP = 0.2
"""... and sleeps where it has spent less than this share of that working, or waiting for a core."""


class Watch:
    """Drains a candidate's pipes and enforces its limits.

    cpu_limits: CPU seconds of each case, in order; the last one's is that of what comes after, too. margin: wall time
    beyond them. readers: the ends of the candidate's reply, standard output and standard error. host, zygote:
    descriptors; the one says that the host is gone, the other that the candidate's process has ended.
    """

    def __init__(
        self,
        pid: int,
        readers: list[int],
        cpu_limits: list[float],
        margin: float,
        *,
        reply_bytes: int,
        output_bytes: int,
        host: int,
        zygote: int,
        asleep: Callable[[], None],
    ) -> None:
        self.pid, self.readers, self.cpu_limits, self.margin = pid, readers, cpu_limits, margin
        self.reply_bytes, self.output_bytes, self.host, self.zygote = reply_bytes, output_bytes, host, zygote
        self.kept = [bytearray(), bytearray(), bytearray()]
        self.taken = 0
        """Where the frames end that have been counted or taken."""
        self.counted = 0
        self.stopped_by: str | None = None
        self.dead = False
        """Whether the candidate's process has ended."""
        self.delay_s: float | None = None
        self.started = self.ended = self.case_start = time.monotonic()
        self.case_cpu = 0.0
        self.limit = cpu_limits[0]
        self.spent = 0.0
        """CPU seconds of the present case that others have spent on the candidate's account."""
        self._asleep: Callable[[], None] | None = asleep
        self._looked, self._busy, self._look_s = self.started, 0.0, LOOK_S
        self._poll = select.poll()
        for reader in readers:
            os.set_blocking(reader, False)
            self._poll.register(reader, select.POLLIN)
        self._poll.register(zygote, select.POLLIN)
        self._poll.register(host, 0)  # reports a hangup, and the next job not before its time

    @property
    def over(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.dead or self.stopped_by is not None

    def frames(self, expected: int, beginning: int) -> bool:
        """Wait until so many frames have come; whether they have.

        The second of them and those after it, up to `beginning`, start the next case's time: the first says that the
        solution is loaded, and that time is the first case's.
        """
        while self.counted < expected:
            if self._next() is not None:
                self.counted += 1
                if 1 < self.counted <= beginning:
                    self.begin(self.cpu_limits[min(self.counted - 1, len(self.cpu_limits) - 1)])
            elif not self._wait():
                return False
        return True

    def frame(self) -> bytes | None:
        """Wait for the next frame; None where there will be none."""
        while (body := self._next()) is None:
            if not self._wait():
                return None
        return body

    def end_of_all(self) -> None:
        """Wait until the candidate's process has ended, or must be stopped."""
        while self._wait():
            pass

    def begin(self, limit: float) -> None:
        """Another case begins, of so many CPU seconds."""
        self.limit, self.spent = limit, 0.0
        self.case_start, self.case_cpu = time.monotonic(), cpu_time(self.pid)

    def end(self) -> None:
        """Nothing more is waited for."""
        self.ended = time.monotonic()

    def drain(self) -> None:
        """Take what is left in the pipes, when nobody is left to write to them."""
        for stream, reader in enumerate(self.readers):
            while self._read(stream) and self.stopped_by != "output":
                pass
            os.close(reader)

    def _next(self) -> bytes | None:
        """The next whole frame that has come, without waiting."""
        reply = self.kept[0]
        if self.taken + 4 > len(reply):
            return None
        end = self.taken + 4 + struct.unpack_from(">I", reply, self.taken)[0]
        if end > len(reply):
            return None
        body = bytes(memoryview(reply)[self.taken + 4 : end])
        self.taken = end
        return body

    def _wait(self) -> bool:
        """Read what comes, or see to the limits; whether more may come. Raises Hangup."""
        if self.over:
            return False
        wait = self._time_left()
        if self.stopped_by:
            return False
        for fd, _ in self._poll.poll(max(1.0, wait * 1000)):
            if fd == self.host:
                raise Hangup
            if fd == self.zygote:
                if not os.read(fd, 1):
                    raise Hangup
                self.dead = True
                for stream in range(3):
                    while self._read(stream) and not self.stopped_by:
                        pass
            elif not self._read(self.readers.index(fd)):
                self._poll.unregister(fd)
        return True

    def _time_left(self) -> float:
        """Seconds until the limits must be looked at again; `stopped_by` where one is reached."""
        now = time.monotonic()
        limit, wall = self.limit, now - self.case_start
        look = self._look(now) if self._asleep else math.inf
        if wall < limit:  # then so is its CPU time, on the one core that it should use
            return min(limit - wall, look)
        used = sum(cpu_time(other) for other in others()) - self.case_cpu + self.spent
        if used >= limit:
            self.stopped_by = "cpu"
        elif wall >= limit + self.margin:
            self.delay_s = run_delay()
            # It is for what sleeps: what waits for a core on a busy machine is not late, within reason.
            wall -= min(self.delay_s or 0.0, PATIENCE * (limit + self.margin))
            if wall >= limit + self.margin:
                self.stopped_by = "wall"
        return min(max(limit - used, 0.01), limit + self.margin - wall, look)

    def _look(self, now: float) -> float:
        """See whether it sleeps, where it is time to, and say so once; seconds until it is time again."""
        past = now - self._looked
        if past < self._look_s:
            return self._look_s - past
        busy = sum(cpu_time(other) for other in others()) + (run_delay() or 0.0)
        if busy - self._busy < ASLEEP * past and self._asleep is not None:
            self._asleep()
            self._asleep = None
            return math.inf
        self._looked, self._busy, self._look_s = now, busy, 2 * self._look_s
        return self._look_s

    def _read(self, stream: int) -> bool:
        """One read; False at the end of the stream, or where there is nothing more for now."""
        try:
            data = os.read(self.readers[stream], 1 << 16)
        except BlockingIOError:
            return False
        self.kept[stream] += data
        reply, out, err = (len(kept) for kept in self.kept)
        if reply > self.reply_bytes or out + err > self.output_bytes:
            self.stopped_by = "output"
        return bool(data)
