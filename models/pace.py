"""How much is asked of a server at once: as much as it bears, found by trying.

Two levers: the rate at which requests are sent, and how many are in flight. When a server turns requests away, or
fails, the lever is turned down *for a trial*: where fewer are turned away then, it was load, and it stays down; where
as many are, it was not, and it goes back up. So a server that fails at random is not asked more slowly for it, and one
with a limit is soon asked at that limit. Nothing here waits or knows the time: it is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["answered", "throttled", "failed", "void"]
"""What a request came to; `void`: it says nothing of the server's load."""

START = 16
"""Requests in flight at first, where no number is asked for."""
MOST = 128
"""The most in flight that is tried, where no number is asked for."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a model may be asked. None: as much as it bears."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    """Read and written together."""
    concurrency: int | None = None
    """Requests in flight at most."""
    tries: int = 8
    """Requests for one completion at most; being turned away for want of room is none."""
    first_s: float = 0.5
    """The wait before the second of them."""


UNLIMITED = Allowance()


@dataclass(slots=True)
class Ticket:
    """A request that has been sent."""

    tokens: float
    """As expected."""
    epoch: _Epoch | None
    """What its outcome counts in, for the rate."""
    window: int
    """Which setting of the window it was sent under."""


class Pace:
    """When the next request may be sent. Times are in seconds, of any one clock that only goes forward."""

    def __init__(self, allowance: Allowance, now: float) -> None:
        self.window = _Window(allowance.concurrency, now)
        self.rate = _Rate(allowance.requests_per_minute, now)
        self.in_flight = 0
        self._tokens_s = None if allowance.tokens_per_minute is None else allowance.tokens_per_minute / 60
        self._next_by_rate = self._next_by_tokens = now

    def wait_s(self, now: float) -> float | None:
        """How long the next request has to wait; None: until one of those in flight has ended."""
        if self.in_flight >= self.window.size:
            self.window.full = True
            return None
        return max(self._next_by_rate - now, self._next_by_tokens - now, 0.0)

    def sent(self, now: float, tokens: float) -> Ticket:
        """A request is sent that will take about so many tokens."""
        self.in_flight += 1
        self.window.most = max(self.window.most, self.in_flight)
        self._next_by_rate = max(self._next_by_rate, now) + self.rate.spacing_s
        self._charge(now, tokens)
        return Ticket(tokens, self.rate.sent(now), self.window.setting)

    def ended(self, ticket: Ticket, now: float, outcome: Outcome, tokens: float | None) -> None:
        """A request has ended. tokens: those that it took; None: unknown.

        One that was turned away keeps its place in flight until `rested`, so that no other is sent in its stead.
        """
        self.in_flight -= outcome != "throttled"
        if tokens is not None:
            self._charge(now, tokens - ticket.tokens)
        self.rate.ended(ticket.epoch, now, outcome)
        self.window.ended(ticket.window, now, outcome)
        # A rate that has gone up shortens the wait that was set under the old one.
        self._next_by_rate = min(self._next_by_rate, now + self.rate.spacing_s)

    def rested(self) -> None:
        """One that was turned away has waited."""
        self.in_flight -= 1

    def _charge(self, now: float, tokens: float) -> None:
        if self._tokens_s is not None:
            self._next_by_tokens = max(self._next_by_tokens, now) + tokens / self._tokens_s


# ── the rate ─────────────────────────────────────────────────────────────────────────────────────────────────────────

WARM_UP_S = 1.0
"""After a change, requests do not count so long: servers let bursts pass after a pause."""
EPOCH_S = 2.0
"""How long requests are counted at least, and then so many:"""
ENOUGH = 10
MARGIN = 0.97
"""A limit is set to this share of what the server has let pass."""
TURNED_AWAY = 0.1
"""The share of requests turned away at which a lower rate is tried."""
TOLERATED = 0.02
"""The share turned away at which a rate is lowered that has been found to be what they are turned away for."""
GROWTH, FASTER = 1.02, 1.1
"""By what the limit grows after an epoch in which nearly none were: below where some were, and beyond."""
REMEMBERED_S = 30.0
"""How long the limit does not go to where requests were turned away."""
SLOWEST = 0.5
"""Requests a second that are always tried."""
HOLD_S, LONGEST_HOLD_S = 5.0, 60.0
"""After a trial that did not help there is none for so long; twice as long each time."""


@dataclass(slots=True)
class _Epoch:
    """Requests sent at one rate."""

    start: float
    """When counting began."""
    sent: int = 0
    away: int = 0
    """Of those, turned away."""

    @property
    def share(self) -> float:
        return self.away / self.sent if self.sent else 0.0


class _Rate:
    """Requests a second at most; infinite while the server turns none away."""

    def __init__(self, per_minute: float | None, now: float) -> None:
        self.ceiling = math.inf if per_minute is None else per_minute / 60
        self.limit = math.inf
        self._good: float | None = None
        """The last limit at which nearly none were turned away."""
        self._edge, self._edge_until = math.inf, now
        """The last limit at which some were, and until when it is not gone to again."""
        self._proved = False
        """Whether a lower rate has been found to help."""
        self._before: _Epoch | None = None
        """The epoch before, while a lower limit is on trial."""
        self._hold_s, self._held_until = HOLD_S, now
        self._epoch = _Epoch(now + WARM_UP_S)

    @property
    def spacing_s(self) -> float:
        return 1 / min(self.limit, self.ceiling)

    def sent(self, now: float) -> _Epoch | None:
        if now < self._epoch.start:
            return None
        self._epoch.sent += 1
        return self._epoch

    def ended(self, epoch: _Epoch | None, now: float, outcome: Outcome) -> None:
        if epoch is not None and outcome == "throttled":
            epoch.away += 1
        counted = now - self._epoch.start
        if counted >= EPOCH_S and self._epoch.sent >= ENOUGH:
            self._judge(now, (self._epoch.sent - self._epoch.away) / counted)

    def _judge(self, now: float, passed_s: float) -> None:
        """Decide by an epoch that is over. passed_s: the requests a second that were let pass."""
        epoch, before = self._epoch, self._before
        self._before, warm_up_s = None, 0.0
        if before is not None:
            self._proved = epoch.share <= TURNED_AWAY or fewer(epoch.away, epoch.sent, before.away, before.sent)
            if not self._proved:
                self.limit, self._good = math.inf, None
                self._held_until = now + self._hold_s
                self._hold_s = min(2 * self._hold_s, LONGEST_HOLD_S)
        if epoch.share > (TOLERATED if self._proved else TURNED_AWAY) and now >= self._held_until:
            # Back to where none were turned away, if that was lower; else to what was let pass.
            self._edge, self._edge_until = self.limit, now + REMEMBERED_S
            if self._good is not None and self._good < self.limit:
                self.limit = self._good
            else:
                # Requests in flight to their end and back make what was let pass look like less than it was.
                bearable = passed_s if self.limit == math.inf else max(passed_s, (1 - epoch.share) * self.limit)
                self.limit = max(MARGIN * bearable, SLOWEST)
                self._before = epoch if epoch.share > TURNED_AWAY else None
            self._good, warm_up_s = None, WARM_UP_S
        elif epoch.share <= TOLERATED / 2 and self.limit < math.inf:
            self._good = self.limit
            if self.limit * GROWTH < self._edge:
                self.limit *= GROWTH
            elif now >= self._edge_until:
                self.limit *= GROWTH if self.limit < self._edge else FASTER
        self._epoch = _Epoch(now + warm_up_s)


# ── the window ───────────────────────────────────────────────────────────────────────────────────────────────────────

FAILING = 0.2
"""The share of failed requests at which a smaller window is tried."""
STEP = 1.5
"""By what the window grows for a trial."""
GAIN = 1.15
"""By what the answers a second must have grown for the larger window to stay."""
WINDOW_HOLD_S, LONGEST_WINDOW_HOLD_S = 10.0, 600.0


@dataclass(slots=True)
class _Count:
    """Requests ended under one setting of the window."""

    start: float
    ended: int = 0
    answered: int = 0
    failed: int = 0


class _Window:
    """Requests in flight at most."""

    def __init__(self, most: int | None, now: float) -> None:
        self.ceiling = MOST if most is None else most
        self.size = min(START, self.ceiling) if most is None else most
        self.full = False
        """Whether a request had to wait for another's end."""
        self.most = 0
        """The most that were in flight at once."""
        self.setting = 0
        self._before: tuple[int, float, _Count] | None = None
        """Size, answers a second and count before the trial that is on."""
        self._hold_s, self._held_until = WINDOW_HOLD_S, now
        self._count: _Count | None = _Count(now)
        """None: nothing sent under the present setting has ended yet."""

    def ended(self, setting: int, now: float, outcome: Outcome) -> None:
        if self._count is None:
            if setting == self.setting:
                self._count = _Count(now)
            return
        if outcome == "void":
            return
        count = self._count
        count.ended += 1
        count.answered += outcome == "answered"
        count.failed += outcome == "failed"
        elapsed_s = now - count.start
        if count.ended >= max(2 * self.size, ENOUGH) and elapsed_s >= 1:
            self._judge(now, count, count.answered / elapsed_s)

    def _judge(self, now: float, count: _Count, answered_s: float) -> None:
        before, self._before = self._before, None
        full, most, self.full, self.most = self.full, self.most, False, 0
        self._count = _Count(now)
        if before is not None:
            size, was_s, earlier = before
            helped = (
                answered_s >= GAIN * was_s
                if size < self.size
                else fewer(count.failed, count.ended, earlier.failed, earlier.ended, sure=True)
            )
            if helped:
                self._hold_s = WINDOW_HOLD_S
            else:
                self._set(size)
                self._held_until = now + self._hold_s
                self._hold_s = min(2 * self._hold_s, LONGEST_WINDOW_HOLD_S)
            return
        if now < self._held_until:
            return
        size = self.size
        if count.failed > FAILING * count.ended and most > 1:
            self._set(most // 2)
        elif full and size < self.ceiling:
            self._set(min(math.ceil(STEP * size), self.ceiling))
        if size != self.size:
            self._before = size, answered_s, count

    def _set(self, size: int) -> None:
        self.size, self._count = size, None
        self.setting += 1


def fewer(now: int, of_now: int, before: int, of_before: int, *, sure: bool = False) -> bool:
    """Whether a share has fallen: by a quarter, and more than chance would have it once in 40 times; or, to be `sure`,
    by a half, and more than once in 700."""
    share, was = now / of_now, before / of_before
    pooled = (now + before) / (of_now + of_before)
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / of_now + 1 / of_before))
    return share <= (0.5 if sure else 0.75) * was and was - share > (3 if sure else 2) * deviation
