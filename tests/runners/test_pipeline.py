"""The pipeline's flow, with an in-memory model and sandbox and a real store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapters.base import Adapter, chat
from core import types
from core.errors import GenerationError, UsageError
from core.types import (
    Answers,
    Candidate,
    Case,
    CaseExecution,
    Completion,
    Execution,
    Limits,
    Message,
    Problem,
    Request,
    RunSpec,
    Sample,
    SamplingParams,
    Solution,
    Status,
    Suite,
    SuiteRef,
    Turn,
)
from models.base import Capabilities, Model
from models.line import Line
from models.pace import Allowance
from results.records import RunRecord
from results.store import Store
from runners.pipeline import AHEAD, Part, Pipeline
from runners.source import Budget, Source
from sandbox.base import Sandbox

RUN = "a-run"


class Parrot(Adapter):
    """Every answer but an empty one is a solution as it is."""

    name, default = "parrot", ()

    def names(self):
        return ()

    def suite(self, name, datasets):
        raise AssertionError("the tests make their suites")

    def prompt(self, problem, turn, style, history):
        return chat(history, problem.turns[turn].prompt)

    def candidate(self, problem, turn, completion, style, stops):
        asked = problem.turns[turn]
        return (
            Candidate(Solution(completion, "raw"), problem.entry_point, asked.tests, asked.limits)
            if completion
            else None
        )

    def answers(self, problem, turn, style):
        return Answers("right", ("wrong",))


class Told(Model):
    """Answers what a function says."""

    provider, capabilities = "told", Capabilities(styles=("instruct",))

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        super().__init__("m")
        self.answer, self.requests = answer, []
        self.under_way = self.most = 0

    def parameters(self, request):
        return {"model": self.name, **self.sampling(request)}

    async def generate(self, request):
        self.requests.append(request)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            answer = self.answer(request)
            if asyncio.iscoroutine(answer):
                answer = await answer
        finally:
            self.under_way -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Completion) else Completion(answer)


class Judge(Sandbox):
    """Passes the solution "right"; waits for `gate` first."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.candidates: list[Candidate] = []

    async def start(self):
        pass

    async def run(self, candidate):
        self.candidates.append(candidate)
        await self.gate.wait()
        return Execution("done", cases=(CaseExecution(candidate.solution.code),), exit_code=0)

    async def aclose(self):
        pass

    def describe(self):
        return {}


def problem(name: str, turns: int = 1) -> Problem:
    tests = types.Tests((Case("f()", "right"),))
    return Problem(name, tuple(Turn(f"{name} {turn}", tests, "right") for turn in range(turns)), "f")


def part(problems: Sequence[Problem], n: int = 1) -> Part:
    suite = Suite("parrot", "s", "1", "0" * 64, tuple(problems), ("instruct",))
    return Part(Parrot(), suite, "instruct", suite.problems, (n,) * len(suite.problems), SamplingParams())


class Bench:
    """A pipeline over a store that is there already."""

    def __init__(self, store: Store, parts: tuple[Part, ...], answer: Callable[[Request], Any], **spec: Any) -> None:
        self.store, self.model, self.sandbox = store, Told(answer), Judge()
        self.done: list[Sample] = []
        self.spec = RunSpec("told/m", (SuiteRef("parrot", "s"),), **spec)
        if not store.runs():
            suites = tuple(each.record() for each in parts)
            store.begin(RunRecord(RUN, "g", self.spec, {"command": []}, "2026-01-01T00:00:00+00:00", suites))
        self.source = Source(Line(self.model, Allowance(concurrency=4, tries=1)), Budget())
        self.pipeline = Pipeline(
            RUN, self.spec, parts, self.source, self.sandbox, store, workers=2, done=self.done.append
        )

    async def run(self) -> dict[tuple[str, int, int], Sample]:
        await self.pipeline.run()
        return {(s.key.task_id, s.key.index, s.key.turn): s for s in self.store.samples(RUN)}


@pytest.fixture
def store(tmp_path):
    with Store.open(str(tmp_path / "runs.db")) as opened:
        yield opened


async def test_run_when_answers_differ_then_each_has_its_verdict_in_the_store(store):
    answers = {"a 0": "right", "b 0": "wrong"}
    bench = Bench(store, (part([problem("a"), problem("b")], n=2),), lambda r: answers[r.prompt[-1].content])
    samples = await bench.run()
    assert {key: s.verdict.status for key, s in samples.items()} == {
        ("a", 0, 0): Status.PASSED,
        ("a", 1, 0): Status.PASSED,
        ("b", 0, 0): Status.FAILED,
        ("b", 1, 0): Status.FAILED,
    }
    assert len(bench.done) == 4


async def test_run_when_one_completion_cannot_be_had_then_only_its_sample_is_ungraded(store):
    lost = GenerationError("the server is tired")
    bench = Bench(store, (part([problem("a"), problem("b")]),), lambda r: lost if r.task_id == "a" else "right")
    samples = await bench.run()
    assert samples["a", 0, 0].verdict.status is Status.GENERATION_ERROR
    assert (samples["a", 0, 0].tries, samples["a", 0, 0].completion) == (1, None)
    assert samples["b", 0, 0].verdict.status is Status.PASSED


async def test_run_when_no_request_can_succeed_then_it_ends_with_the_providers_error(store):
    bench = Bench(store, (part([problem("a")]),), lambda r: UsageError("the key is wrong"))
    with pytest.raises(UsageError, match="the key is wrong"):
        await bench.run()


async def test_run_when_an_answer_is_refused_or_empty_then_nothing_is_executed(store):
    answers = {"a": Completion("I cannot", "refusal"), "b": ""}
    bench = Bench(store, (part([problem("a"), problem("b")]),), lambda r: answers[r.task_id])
    samples = await bench.run()
    assert samples["a", 0, 0].verdict.status is Status.REFUSED
    assert samples["b", 0, 0].verdict.status is Status.NO_SOLUTION
    assert not bench.sandbox.candidates


async def test_run_when_a_problem_has_turns_then_each_sees_those_before_it(store):
    bench = Bench(store, (part([problem("a", turns=2)]),), lambda r: "wrong" if r.turn == 0 else "right")
    samples = await bench.run()
    assert bench.model.requests[1].prompt == (
        Message("user", "a 0"),
        Message("assistant", "wrong"),
        Message("user", "a 1"),
    )
    assert [samples["a", 0, turn].verdict.status for turn in (0, 1)] == [Status.FAILED, Status.PASSED]


async def test_run_when_execution_waits_then_generation_goes_on_up_to_a_bound(store):
    bench = Bench(store, (part([problem("a")], n=100),), lambda r: "right")
    bench.sandbox.gate.clear()
    running = asyncio.create_task(bench.pipeline.run())
    bound = 4 + AHEAD * 2
    while len(bench.model.requests) < bound:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0)
    assert len(bench.model.requests) == bound
    assert sum(store.completion(RUN, types.SampleKey("s", "a", i, 0)) is not None for i in range(100)) == bound
    bench.sandbox.gate.set()
    await running
    assert len(bench.model.requests) == 100


async def test_run_when_answers_take_time_then_no_more_than_the_concurrency_are_asked_for_at_once(store):
    async def slowly() -> str:
        for _ in range(5):
            await asyncio.sleep(0)
        return "right"

    bench = Bench(store, (part([problem("a")], n=30),), lambda r: slowly())
    await bench.run()
    assert bench.model.most == 4


async def test_stop_when_answers_are_under_way_then_they_are_dropped_and_executions_kept(store):
    never = asyncio.Event()

    async def answer(request: Request) -> str:
        if request.index >= 2:
            await never.wait()
        return "right"

    bench = Bench(store, (part([problem("a")], n=50),), answer)
    bench.sandbox.gate.clear()
    running = asyncio.create_task(bench.pipeline.run())
    while len(bench.model.requests) < 6 or len(bench.sandbox.candidates) < 2:
        await asyncio.sleep(0)
    bench.pipeline.stop()
    bench.sandbox.gate.set()
    await running
    assert sorted(s.key.index for s in bench.done) == [0, 1]
    assert bench.pipeline.stopped


async def test_stop_when_a_sample_is_between_turns_then_its_next_turn_is_not_asked_for(store):
    bench = Bench(store, (part([problem("a", turns=2)]),), lambda r: "right")
    bench.sandbox.gate.clear()
    running = asyncio.create_task(bench.pipeline.run())
    while not bench.sandbox.candidates:
        await asyncio.sleep(0)
    bench.pipeline.stop()
    bench.sandbox.gate.set()
    await running
    assert [r.turn for r in bench.model.requests] == [0]
    assert [s.key.turn for s in bench.done] == [0]


async def test_run_when_several_suites_are_asked_then_their_samples_are_under_way_together(store):
    both = (part([problem("a")]), replace(part([problem("b")]), suite=replace(part([problem("b")]).suite, name="t")))
    bench = Bench(store, both, lambda r: "right")
    bench.sandbox.gate.clear()
    running = asyncio.create_task(bench.pipeline.run())
    while len(bench.sandbox.candidates) < 2:
        await asyncio.sleep(0)
    bench.sandbox.gate.set()
    await running
    assert {(s.key.suite, s.verdict.status) for s in bench.done} == {("s", Status.PASSED), ("t", Status.PASSED)}


async def test_run_when_the_sandbox_fails_then_the_sample_is_ungraded_and_judged_again_on_resume(store):
    parts = (part([problem("a")]),)
    first = Bench(store, parts, lambda r: "right")
    first.sandbox.run = lambda candidate: asyncio.sleep(0, Execution("compile", fault="the engine is gone"))
    samples = await first.run()
    assert samples["a", 0, 0].verdict.status is Status.SANDBOX_ERROR
    store.finish(RUN, "incomplete", 1.0)
    second = Bench(store, parts, lambda r: UsageError("must not be asked"))
    samples = await second.run()
    assert samples["a", 0, 0].verdict.status is Status.PASSED
    assert not second.model.requests


async def test_run_when_resumed_then_what_a_later_turn_saw_is_what_the_earlier_ones_gave(store):
    parts = (part([problem("a", turns=2)]),)
    lost = GenerationError("away")
    first = Bench(store, parts, lambda r: "wrong" if r.turn == 0 else lost)
    await first.run()
    store.finish(RUN, "incomplete", 1.0)
    second = Bench(store, parts, lambda r: "right")
    await second.run()
    (request,) = second.model.requests
    assert [message.content for message in request.prompt] == ["a 0", "wrong", "a 1"]


async def test_run_when_resumed_then_what_is_graded_or_has_arrived_is_not_asked_for_again(store):
    parts = (part([problem("a")], n=4),)
    lost = GenerationError("away")
    first = Bench(store, parts, lambda r: lost if r.index == 3 else "right")
    await first.run()
    store.finish(RUN, "incomplete", 1.0)
    second = Bench(store, parts, lambda r: "right")
    samples = await second.run()
    assert [r.index for r in second.model.requests] == [3]
    assert [s.key.index for s in second.done] == [3]
    assert {s.verdict.status for s in samples.values()} == {Status.PASSED}


async def test_run_when_a_completion_was_stored_but_not_judged_then_it_is_judged_without_asking(store):
    parts = (part([problem("a")]),)
    bench = Bench(store, parts, lambda r: UsageError("must not be asked"))
    key = types.SampleKey("s", "a", 0, 0)
    store.save_completion(RUN, key, (Message("user", "a 0"),), Completion("right"))
    samples = await bench.run()
    assert samples["a", 0, 0].verdict.status is Status.PASSED
    assert not bench.model.requests


async def test_run_when_the_run_states_limits_then_they_take_the_place_of_the_tasks_own(store):
    tests = types.Tests((Case("f()", "right", cpu_s=9.0),))
    one = Problem("a", (Turn("p", tests, "right", limits=Limits(cpu_s=5.0)),), "f")
    bench = Bench(store, (part([one]),), lambda r: "right", timeout_s=2.0, memory_bytes=1 << 28)
    await bench.run()
    (candidate,) = bench.sandbox.candidates
    assert (candidate.limits.cpu_s, candidate.limits.memory_bytes) == (2.0, 1 << 28)
    assert candidate.tests.cases[0].cpu_s is None
