"""The line to a model, with a model in memory: retries, the count, the cost, and the end of hope."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UsageError
from core.types import Completion, Request
from models.base import Capabilities, Model, Price
from models.failures import Transient
from models.line import HOPELESS, PATIENCE_S, TASKS, TURNS_AWAY, Line
from models.pace import Allowance
from tests.models.asking import request

QUICK = Allowance(first_s=0)


class Told(Model):
    """Does what a function says: a text is the answer, an exception the failure."""

    provider, capabilities = "told", Capabilities(styles=("instruct",))

    def __init__(self, answer: Callable[[Request], str | Completion | Exception]) -> None:
        super().__init__("m")
        self.answer = answer
        self.requests: list[Request] = []

    def parameters(self, request: Request) -> dict[str, Any]:
        return {"model": self.name, **self.sampling(request)}

    async def generate(self, request: Request) -> Completion:
        self.requests.append(request)
        await asyncio.sleep(0)
        answer = self.answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Completion) else Completion(answer)


def after(*faults: Exception) -> Callable[[Request], str | Exception]:
    left = list(faults)
    return lambda _: left.pop(0) if left else "x"


async def test_complete_when_requests_fail_at_first_then_counts_them_all() -> None:
    completion = await Line(Told(after(Transient("a"), Transient("b"))), QUICK).complete(request(seed=3, index=2))
    assert (completion.text, completion.tries) == ("x", 3)
    assert completion.effective == {"model": "m", "temperature": 0.0, "seed": 5}


async def test_complete_when_every_request_fails_then_gives_up_with_the_last_failure_and_the_count() -> None:
    line = Line(Told(lambda _: Transient("busy")), Allowance(first_s=0, tries=4))
    with pytest.raises(GenerationError, match="busy") as caught:
        await line.complete(request())
    assert caught.value.tries == 4


@pytest.mark.parametrize("fault", [GenerationError("no"), UsageError("no")])
async def test_complete_when_another_request_would_not_help_then_makes_none(fault: TouchstoneError) -> None:
    model = Told(lambda _: fault)
    with pytest.raises(type(fault)):
        await Line(model, QUICK).complete(request())
    assert len(model.requests) == 1


async def test_complete_when_turned_away_more_often_than_it_may_fail_then_goes_on_asking() -> None:
    away = [Transient("full", retry_after_s=0, throttled=True) for _ in range(6)]
    completion = await Line(Told(after(*away)), Allowance(first_s=0, tries=2)).complete(request())
    assert completion.tries == 7


async def test_complete_when_one_request_is_turned_away_for_ever_then_is_given_up() -> None:
    line = Line(Told(lambda _: Transient("full", throttled=True, retry_after_s=0)), Allowance(first_s=0, tries=2))
    with pytest.raises(GenerationError, match="full") as caught:
        await line.complete(request())
    assert caught.value.tries == 2 * TURNS_AWAY


async def test_complete_when_the_server_says_when_to_come_back_then_that_is_when() -> None:
    line = Line(Told(after(Transient("", retry_after_s=0.05, throttled=True))), Allowance(first_s=3600))
    before = time.monotonic()
    await line.complete(request())
    assert 0.05 <= time.monotonic() - before < 5


async def test_complete_when_the_server_would_have_one_wait_for_long_then_gives_up() -> None:
    model = Told(lambda _: Transient("", retry_after_s=PATIENCE_S + 1, throttled=True))
    with pytest.raises(GenerationError):
        await Line(model, QUICK).complete(request())
    assert len(model.requests) == 1


@pytest.mark.parametrize(
    ("price", "tokens", "cost"),
    [
        (Price(3.0, 15.0), (1000, 200), 0.006),
        (Price(0.0, 0.0), (1000, 200), 0.0),
        (None, (1000, 200), None),
        (Price(3.0, 15.0), (None, 200), None),
        (Price(3.0, 15.0), (1000, None), None),
    ],
)
async def test_complete_then_costs_what_its_tokens_cost_and_nothing_is_known_of_what_is_not(
    price: Price | None, tokens: tuple[int | None, int | None], cost: float | None
) -> None:
    model = Told(lambda _: Completion("x", input_tokens=tokens[0], output_tokens=tokens[1]))
    model.price = price
    assert (await Line(model, QUICK).complete(request())).cost_usd == cost


async def test_complete_when_many_ask_then_no_more_are_in_flight_than_may_be() -> None:
    in_flight = most = 0

    class Slow(Told):
        async def generate(self, request: Request) -> Completion:
            nonlocal in_flight, most
            in_flight += 1
            most = max(most, in_flight)
            for _ in range(5):
                await asyncio.sleep(0)
            in_flight -= 1
            return Completion("x")

    line = Line(Slow(lambda _: "x"), Allowance(concurrency=3))
    await asyncio.gather(*(line.complete(request(index=i)) for i in range(40)))
    assert most == 3


async def test_complete_when_a_request_is_cancelled_then_another_takes_its_place() -> None:
    begun = asyncio.Event()

    class Stuck(Told):
        async def generate(self, request: Request) -> Completion:
            begun.set()
            if request.index == 0:
                await asyncio.Event().wait()
            return Completion("x")

    line = Line(Stuck(lambda _: "x"), Allowance(concurrency=1))
    stuck = asyncio.create_task(line.complete(request(index=0)))
    await begun.wait()
    waiting = asyncio.create_task(line.complete(request(index=1)))
    stuck.cancel()
    assert (await asyncio.wait_for(waiting, 5)).text == "x"


def asked(task: int) -> Request:
    made = request()
    return Request(made.suite, f"t/{task}", 0, 0, made.prompt, made.params, made.answers)


async def lost(line: Line, tasks: range) -> BaseException:
    ends = await asyncio.gather(*(line.complete(asked(task)) for task in tasks), return_exceptions=True)
    (end,) = {id(end): end for end in ends if not isinstance(end, GenerationError | Completion)}.values()
    return end


@pytest.mark.parametrize(
    ("fault", "kind", "mend"),
    [
        (Transient("connection refused"), ServerUnreachable, "see to the server, then go on with --resume"),
        (GenerationError("400: no such parameter"), UsageError, "mend the settings that it names"),
    ],
)
async def test_complete_when_nothing_can_be_had_any_more_then_the_run_ends_and_nothing_more_is_asked(
    fault: GenerationError, kind: type, mend: str
) -> None:
    model = Told(lambda _: fault)
    line = Line(model, Allowance(first_s=0, tries=2, concurrency=1))
    end = await lost(line, range(100))
    assert type(end) is kind
    assert str(fault) in str(end) and mend in str(end) and f"{HOPELESS} answers in a row" in str(end)
    assert len(model.requests) < 2 * 100
    made = len(model.requests)
    with pytest.raises(kind):
        await line.complete(asked(1000))
    assert len(model.requests) == made


async def test_complete_when_one_task_alone_cannot_be_had_then_the_run_goes_on() -> None:
    line = Line(Told(lambda r: Transient("500") if r.task_id == "t/0" else "x"), Allowance(first_s=0, tries=1))
    for _ in range(3 * HOPELESS):
        with pytest.raises(GenerationError):
            await line.complete(asked(0))
    assert (await line.complete(asked(1))).text == "x"


async def test_complete_when_answers_come_in_between_then_there_is_hope() -> None:
    line = Line(Told(lambda r: Transient("500") if int(r.task_id[2:]) % TASKS else "x"), Allowance(first_s=0, tries=1))
    for task in range(5 * HOPELESS):
        await asyncio.gather(line.complete(asked(task)), return_exceptions=True)
    assert (await line.complete(asked(0))).text == "x"


@pytest.mark.parametrize(
    ("said", "counted"),
    [(7, 7), (7.0, 7), (0, 0), (-1, None), ("7", None), (7.5, None), (True, None), (None, None), ({}, None)],
)
async def test_complete_when_the_server_counts_strangely_then_only_numbers_of_tokens_count(
    said: Any, counted: int | None
) -> None:
    model = Told(lambda _: Completion("x", input_tokens=said, output_tokens=said, model_served=said))
    completion = await Line(model, QUICK).complete(request())
    assert (completion.input_tokens, completion.output_tokens) == (counted, counted)
    assert completion.model_served == (said if isinstance(said, str) else None)
