"""The pace against simulated servers: time is a number, nothing waits."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from models.pace import MOST, Allowance, Outcome, Pace, fewer

Server = Callable[[float, random.Random], tuple[Outcome, float]]
"""The time of a request → what it comes to, and how long that takes."""


def limited(per_s: float, burst: float = 1) -> Server:
    """Lets so many requests a second pass, and a burst after a pause; turns the rest away at once."""
    room, last = burst, 0.0

    def serve(now: float, chance: random.Random) -> tuple[Outcome, float]:
        nonlocal room, last
        room, last = min(burst, room + (now - last) * per_s), now
        if room < 1:
            return "throttled", 0.003
        room -= 1
        return "answered", chance.uniform(0.04, 0.06)

    return serve


def sliding(per_s: int) -> Server:
    """Lets so many requests pass in any second."""
    passed: deque[float] = deque()

    def serve(now: float, chance: random.Random) -> tuple[Outcome, float]:
        while passed and passed[0] <= now - 1:
            passed.popleft()
        if len(passed) >= per_s:
            return "throttled", 0.003
        passed.append(now)
        return "answered", chance.uniform(0.04, 0.06)

    return serve


def unlucky(throttled: float, failed: float) -> Server:
    """Turns away and fails at random, however much is asked."""

    def serve(_: float, chance: random.Random) -> tuple[Outcome, float]:
        drawn = chance.random()
        if drawn < throttled:
            return "throttled", 0.003
        return ("failed", 0.1) if drawn < throttled + failed else ("answered", chance.uniform(0.4, 0.6))

    return serve


def parallel(places: int, seconds: float = 0.5, queue: float = math.inf) -> Server:
    """Answers so many at a time; the others wait, and those that would wait longer than `queue` seconds fail."""
    free = [0.0] * places

    def serve(now: float, chance: random.Random) -> tuple[Outcome, float]:
        start = max(now, free[0])
        if start - now > queue:
            return "failed", 0.01
        end = start + seconds * chance.uniform(0.8, 1.2)
        heapq.heapreplace(free, end)
        return "answered", end - now

    return serve


@dataclass
class Simulation:
    """Samples that are asked for one after another, each again until it is answered."""

    pace: Pace
    server: Server
    samples: int = 150
    retry_after_s: float | None = None
    seed: int = 1
    sent: list[tuple[float, Outcome]] = field(default_factory=list)
    most_in_flight: int = 0

    def run(self, seconds: float) -> Simulation:
        chance, now, order = random.Random(self.seed), 0.0, 0
        waiting, failures = deque(range(self.samples)), [0] * self.samples
        events: list[tuple[float, int, Callable[[float], None]]] = []

        def at(time: float, do: Callable[[float], None]) -> None:
            nonlocal order
            order += 1
            heapq.heappush(events, (time, order, do))

        def send(sample: int) -> None:
            ticket = self.pace.sent(now, 0)
            outcome, took_s = self.server(now, chance)
            self.sent.append((now, outcome))

            def again(_: float) -> None:
                if outcome == "throttled":
                    self.pace.rested()
                waiting.append(sample)

            def end(then: float) -> None:
                self.pace.ended(ticket, then, outcome, None)
                if outcome == "answered":
                    failures[sample] = 0
                    waiting.append(sample)
                    return
                failures[sample] += 1
                wait_s = min(0.5 * 2 ** (failures[sample] - 1), 30) * chance.uniform(0.5, 1)
                at(then + (self.retry_after_s or wait_s), again)

            at(now + took_s, end)

        while now < seconds:
            wait_s: float | None = None
            while waiting and (wait_s := self.pace.wait_s(now)) == 0:
                send(waiting.popleft())
            self.most_in_flight = max(self.most_in_flight, self.pace.in_flight)
            next_end = events[0][0] if events else math.inf
            now = min(next_end, now + wait_s if waiting and wait_s is not None else math.inf)
            while events and events[0][0] <= now:
                heapq.heappop(events)[2](now)
        return self

    def rate(self, outcome: Outcome, since: float = 10) -> float:
        """Of the requests sent since then, those that came to `outcome`, a second."""
        end = self.sent[-1][0]
        return sum(what == outcome for time, what in self.sent if time >= since) / (end - since)

    def share(self, outcome: Outcome, since: float = 10) -> float:
        return self.rate(outcome, since) / sum(self.rate(each, since) for each in ("answered", "throttled", "failed"))


def simulate(server: Server, allowance: Allowance = Allowance(concurrency=32), **given: float) -> Simulation:  # noqa: B008
    return Simulation(Pace(allowance, 0.0), server, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("retry_after_s", [None, 1.0])
@pytest.mark.parametrize("samples", [40, 150])
@pytest.mark.parametrize(
    ("server", "per_s"),
    [(lambda: limited(10, burst=10), 10), (lambda: sliding(10), 10), (lambda: limited(100, burst=100), 100)],
)
def test_rate_when_the_server_has_a_limit_then_is_asked_at_it_and_turns_few_away(
    server, per_s, samples, retry_after_s, seed
):
    run = simulate(server(), samples=samples, retry_after_s=retry_after_s, seed=seed).run(60)
    assert run.rate("answered") >= 0.93 * per_s
    assert run.share("throttled") < 0.05


@pytest.mark.parametrize("seed", range(10))
def test_rate_when_requests_are_turned_away_at_random_then_is_not_lowered_for_it(seed):
    lucky = simulate(unlucky(0, 0), seed=seed).run(60)
    run = simulate(unlucky(0.2, 0), seed=seed).run(60)
    assert run.rate("answered") > 0.65 * lucky.rate("answered")


def test_rate_when_the_limit_is_lifted_then_goes_up_again():
    slow, fast = limited(10, burst=10), limited(200, burst=200)
    run = simulate(lambda now, chance: (slow if now < 60 else fast)(now, chance)).run(300)
    assert run.rate("answered", since=280) > 50


def test_rate_when_a_limit_of_requests_is_given_then_none_is_sent_above_it():
    run = simulate(limited(5.01, burst=1), Allowance(requests_per_minute=300)).run(60)
    assert run.share("throttled", since=0) == 0
    assert run.rate("answered") == pytest.approx(5, rel=0.01)


def test_tokens_when_a_limit_is_given_then_requests_wait_for_them_and_what_they_took_is_what_counts():
    pace = Pace(Allowance(tokens_per_minute=600), 0.0)
    first = pace.sent(0.0, tokens=20)
    assert pace.wait_s(0.0) == pytest.approx(2)
    pace.ended(first, 1.0, "answered", tokens=50)
    assert pace.wait_s(1.0) == pytest.approx(4)
    assert pace.wait_s(5.0) == 0


def test_tokens_when_nobody_counted_them_then_those_expected_count():
    pace = Pace(Allowance(tokens_per_minute=600), 0.0)
    pace.ended(pace.sent(0.0, tokens=20), 1.0, "answered", tokens=None)
    assert pace.wait_s(1.0) == pytest.approx(1)


def test_window_when_the_server_keeps_up_then_grows_as_far_as_it_may():
    run = simulate(parallel(1000), Allowance()).run(60)
    assert run.pace.window.size > 100
    assert run.most_in_flight <= MOST


def test_window_when_more_in_flight_brings_no_more_answers_then_stays():
    run = simulate(parallel(8), Allowance()).run(120)
    assert run.pace.window.size in (16, 24)
    assert run.rate("answered") > 15


def test_window_when_a_number_is_given_then_never_more():
    run = simulate(parallel(1000), Allowance(concurrency=5)).run(30)
    assert run.most_in_flight == 5


def test_window_when_requests_fail_for_their_number_then_shrinks_until_few_do():
    run = simulate(parallel(4, queue=0.2), Allowance(concurrency=64)).run(120)
    assert run.pace.window.size < 32
    assert run.rate("answered", since=60) > 6
    assert run.share("failed", since=60) < run.share("failed", since=0)


@pytest.mark.parametrize("seed", range(5))
def test_window_when_requests_fail_at_random_then_is_not_shrunk_for_long(seed):
    run = simulate(unlucky(0, 0.3), Allowance(concurrency=32), seed=seed).run(120)
    lucky = simulate(unlucky(0, 0), Allowance(concurrency=32), seed=seed).run(120)
    assert run.rate("answered") > 0.6 * lucky.rate("answered")


def test_fewer_when_the_difference_may_be_chance_then_no():
    assert fewer(0, 20, 10, 20)
    assert fewer(10, 200, 100, 200)
    assert not fewer(3, 20, 5, 20)
    assert not fewer(45, 100, 50, 100)
    assert not fewer(5, 20, 0, 20)
