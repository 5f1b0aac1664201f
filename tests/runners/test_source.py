"""Where completions come from: the cache, the model, the budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from core.errors import GenerationError, StorageError
from core.types import Completion, Request
from models.base import Capabilities, Model, Price
from models.failures import Transient
from models.line import Line
from models.pace import Allowance
from results.cache import Cache
from runners.source import Budget, OverBudget, Source
from tests.models.asking import request


class Told(Model):
    """Answers the number of the request."""

    provider, capabilities = "told", Capabilities(styles=("instruct",))

    def __init__(self, price: Price | None = None) -> None:
        super().__init__("m")
        self.price = price
        self.requests = 0

    def parameters(self, request: Request) -> dict[str, Any]:
        return self.sampling(request)

    async def generate(self, request: Request) -> Completion:
        self.requests += 1
        answer = Completion(str(self.requests), input_tokens=10, output_tokens=1000)
        await asyncio.sleep(0)
        return answer


@pytest.fixture
def cache(tmp_path):
    with Cache.open(tmp_path / "cache.db") as opened:
        yield opened


class Keeping(Source):
    """Keeps at once, as the pipeline does when it has stored."""

    async def complete(self, request: Request) -> Completion:
        completion = await super().complete(request)
        self.keep(request, completion)
        return completion


def source(model: Model, cache: Cache | None = None, *, most_usd: float | None = None, cache_all=False) -> Source:
    return Keeping(Line(model, Allowance(first_s=0, tries=1)), Budget(most_usd), cache, cache_all=cache_all)


async def twice(ask: Callable[[], Any]) -> list[Completion]:
    return [await ask(), await ask()]


async def test_complete_when_asked_the_same_at_temperature_0_then_the_model_is_asked_once(cache):
    model = Told()
    first, second = await twice(lambda: source(model, cache).complete(request()))
    assert model.requests == 1
    assert (first.cached, second.cached, second.text) == (False, True, first.text)


@pytest.mark.parametrize("other", [{"index": 1}, {"max_tokens": 5}, {"prompt": "x"}])
async def test_complete_when_asked_otherwise_then_the_model_is_asked(cache, other):
    model = Told()
    await source(model, cache).complete(request())
    assert not (await source(model, cache).complete(request(**other))).cached


@pytest.mark.parametrize(("temperature", "cache_all", "asked"), [(0.8, False, 2), (0.8, True, 1), (None, False, 2)])
async def test_complete_when_answers_may_differ_then_they_are_cached_only_if_all_are(
    cache, temperature, cache_all, asked
):
    model = Told()
    await twice(lambda: source(model, cache, cache_all=cache_all).complete(request(temperature=temperature)))
    assert model.requests == asked


async def test_complete_when_the_model_takes_no_temperature_then_0_is_none_and_nothing_is_cached(cache):
    model = Told()
    model.capabilities = Capabilities(styles=("instruct",), temperature=False)
    await twice(lambda: source(model, cache).complete(request(temperature=0)))
    assert model.requests == 2


async def test_complete_when_the_revision_is_another_then_the_model_is_asked(cache):
    model = Told()
    await source(model, cache).complete(request())
    model.revision = "another"
    assert not (await source(model, cache).complete(request())).cached


async def test_complete_when_there_is_no_answer_then_nothing_is_cached(cache):
    class Failing(Told):
        async def generate(self, request: Request) -> Completion:
            raise GenerationError("no")

    with pytest.raises(GenerationError):
        await source(Failing(), cache).complete(request())
    assert cache.stats().answers == 0


async def test_complete_when_the_budget_is_spent_then_no_more_is_asked_and_it_is_not_overspent():
    model = Told(Price(1.0, 2.0))  # 0.00201 each
    made = source(model, most_usd=0.02)
    ends = await asyncio.gather(
        *(made.complete(request(index=i, max_tokens=1000)) for i in range(20)), return_exceptions=True
    )
    done = [end for end in ends if isinstance(end, Completion)]
    assert {type(end) for end in ends} == {Completion, OverBudget}
    assert sum(each.cost_usd or 0 for each in done) <= 0.02
    assert len(done) == model.requests == 9


async def test_complete_when_costs_are_unknown_then_what_was_set_aside_counts_as_spent():
    class Uncounted(Told):
        async def generate(self, request: Request) -> Completion:
            return Completion("x")

    budget = Budget(1.0)
    made = Source(Line(Uncounted(Price(1.0, 2.0))), budget)
    await made.complete(request(max_tokens=1000))
    assert budget.spent_usd >= 0.002


async def test_complete_when_an_answer_comes_from_the_cache_then_it_costs_nothing(cache):
    model = Told(Price(1.0, 2.0))
    await source(model, cache).complete(request())
    made = source(model, cache, most_usd=0.000001)
    assert (await made.complete(request())).cost_usd == 0.0


@pytest.mark.parametrize("other", [{"stop": ("\na", "\nb")}, {"seed": 2}])
async def test_complete_when_what_decides_is_not_sent_then_tells_answers_apart_all_the_same(cache, other):
    model = Told()
    model.capabilities = Capabilities(styles=("completion",), seed=False, max_stops=1)
    asked = {"stop": ("\na",), "seed": 1}
    await source(model, cache).complete(request("x", **asked))
    assert (await source(model, cache).complete(request("x", **asked))).cached
    assert not (await source(model, cache).complete(request("x", **{**asked, **other}))).cached


@pytest.mark.parametrize("text", ["", " \n", "<think>"])
async def test_complete_when_an_answer_is_blank_then_is_not_kept(cache, text):
    class Blank(Told):
        async def generate(self, request: Request) -> Completion:
            return Completion(text, answer_at=len("<think>") if text == "<think>" else 0)

    await source(Blank(), cache).complete(request())
    assert cache.stats().answers == 0


async def test_complete_when_the_cache_fails_then_says_so_once_and_goes_on_without(cache):
    model, said = Told(), []
    made = Source(Line(model), Budget(), cache, say=said.append)
    cache.close()
    cache.get = cache.put = broken = lambda *_: (_ for _ in ()).throw(StorageError("disk I/O error"))
    assert broken is not None
    for _ in range(2):
        made.keep(request(), await made.complete(request()))
    assert model.requests == 2 and len(said) == 1 and "going on without the cache: disk I/O error" in said[0]


async def test_complete_when_an_answer_broke_off_then_what_was_set_aside_counts_and_the_cost_is_unknown():
    faults = [Transient("cut", begun=True)]

    class Cut(Told):
        async def generate(self, request: Request) -> Completion:
            if faults:
                raise faults.pop()
            return await super().generate(request)

    budget = Budget(1.0)
    made = Source(Line(Cut(Price(1.0, 2.0)), Allowance(first_s=0)), budget)
    assert (await made.complete(request(max_tokens=1000))).cost_usd is None
    assert budget.spent_usd >= 2 * 0.002
