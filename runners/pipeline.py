"""The flow: problems to prompts to completions to solutions to executions to verdicts to the store.

Generation waits on a network and execution burns CPU, so they overlap: each sample is a task of its own that goes
through all stages, and as many are under way as keep both sides busy. What a stage gives is stored before the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from adapters.base import Adapter, Drive
from core.types import (
    Completion,
    Problem,
    Prompt,
    PromptStyle,
    Request,
    RunSpec,
    Sample,
    SampleKey,
    SamplingParams,
    Status,
    Suite,
    Verdict,
)
from results.records import ProblemRecord, SuiteRecord
from results.store import Store
from runners.asker import Asker
from runners.driven import DrivenFlow, DrivenPart
from runners.judging import REFUSED, judged, limited
from runners.source import Source
from sandbox.base import Sandbox

AHEAD = 4
"""Samples for each sandbox worker that may be waiting for it before generation pauses."""


@dataclass(frozen=True, slots=True)
class Part:
    """One suite as a run asks it."""

    adapter: Adapter
    suite: Suite
    style: PromptStyle
    problems: tuple[Problem, ...]
    counts: tuple[int, ...]
    """How many samples each problem gets."""
    params: SamplingParams
    """With the stops that are in effect for this suite and style."""

    @property
    def languages(self) -> frozenset[str]:
        """Those of what is executed."""
        return frozenset(problem.language for problem in self.problems)

    def record(self) -> SuiteRecord:
        """What the store keeps of it."""
        asked = zip(self.problems, self.counts, strict=True)
        problems = tuple(ProblemRecord(problem.task_id, n, len(problem.turns)) for problem, n in asked)
        suite = self.suite
        return SuiteRecord(suite.harness, suite.name, suite.version, suite.data_hash, self.style, problems)

    def first(self) -> Request:
        """What it asks first."""
        problem = self.problems[0]
        prompt, answers = self.adapter.prompt(problem, 0, self.style, ()), self.adapter.answers(problem, 0, self.style)
        return Request(self.suite.name, problem.task_id, 0, 0, prompt, self.params, answers)


class Pipeline:
    """One run, from what is stored of it to its last sample.

    workers: the sandbox's, that many executions at once. drive: what evaluates the parts that are driven, if any are.
    done: called with each sample when it is stored. answered: called with each answer that is new. say: takes notices.
    """

    def __init__(
        self,
        run_id: str,
        spec: RunSpec,
        parts: Sequence[Part | DrivenPart],
        source: Source,
        sandbox: Sandbox,
        store: Store,
        *,
        workers: int,
        done: Callable[[Sample], None],
        answered: Callable[[], None] = lambda: None,
        drive: Drive | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run_id, self.spec = run_id, spec
        self.parts = [part for part in parts if isinstance(part, Part)]
        self.sandbox, self.store, self.done = sandbox, store, done
        self.asker = Asker(run_id, source, store, self._keep, answered)
        self._under_way = asyncio.Semaphore(source.at_once + AHEAD * workers)
        driven = [part for part in parts if isinstance(part, DrivenPart)]
        self._driven = None if drive is None else DrivenFlow(drive, driven, spec, self.asker, sandbox, self._keep, say)

    @property
    def stopped(self) -> Literal["interrupted", "over budget"] | None:
        """Why it stopped before its end, if it did."""
        return self.asker.stopped

    async def run(self) -> None:
        """Bring every sample that is not graded yet to its verdict, or until `stop`.

        Raises what ends a run: UsageError from the provider, StorageError. What is stored stays.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                if self._driven is not None:
                    tasks.create_task(self._driven.run())
                for part in self.parts:
                    graded = self.store.graded(self.run_id, part.suite.name)
                    for problem, index in self._missing(part, graded):
                        await self._under_way.acquire()
                        if self.stopped:
                            return
                        task = tasks.create_task(self._sample(part, problem, index, graded))
                        task.add_done_callback(lambda _: self._under_way.release())
        except* Exception as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    def stop(self) -> None:
        """Take no new work: completions under way are given up, executions are finished and stored."""
        self.asker.stop()
        if self._driven is not None:
            self._driven.stop()

    def _missing(self, part: Part, graded: set[SampleKey]) -> Iterator[tuple[Problem, int]]:
        for problem, count in zip(part.problems, part.counts, strict=True):
            for index in range(count):
                turns = range(len(problem.turns))
                if not all(SampleKey(part.suite.name, problem.task_id, index, turn) in graded for turn in turns):
                    yield problem, index

    async def _sample(self, part: Part, problem: Problem, index: int, graded: set[SampleKey]) -> None:
        """One sample, through all of its turns."""
        history: list[tuple[Prompt, Completion]] = []
        for turn in range(len(problem.turns)):
            key = SampleKey(part.suite.name, problem.task_id, index, turn)
            prompt = part.adapter.prompt(problem, turn, part.style, history)
            answers = part.adapter.answers(problem, turn, part.style)
            request = Request(key.suite, key.task_id, key.index, turn, prompt, part.params, answers)
            completion = await self.asker.answer(request)
            if completion is None:
                return
            if key not in graded:
                self._keep(await self._judge(part, problem, key, prompt, completion))
            history.append((prompt, completion))

    async def _judge(
        self, part: Part, problem: Problem, key: SampleKey, prompt: Prompt, completion: Completion
    ) -> Sample:
        if completion.finish_reason == "refusal":
            return Sample(key, REFUSED, prompt, completion, tries=completion.tries)
        candidate = part.adapter.candidate(problem, key.turn, completion.answer, part.style, part.params.stop)
        if candidate is None:
            empty = Verdict(Status.NO_SOLUTION, "the answer is empty")
            return Sample(key, empty, prompt, completion, tries=completion.tries)
        candidate = limited(candidate, self.spec)
        execution = await self.sandbox.run(candidate)
        return judged(key, prompt, completion, candidate, execution)

    def _keep(self, sample: Sample) -> None:
        self.store.append(self.run_id, sample)
        self.done(sample)
