"""The flow: problems to prompts to completions to solutions to executions to verdicts to the store.

Generation waits on a network and execution burns CPU, so they overlap: each sample is a task of its own that goes
through all stages, and as many are under way as keep both sides busy. What a stage gives is stored before the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from adapters.base import Adapter
from core.errors import GenerationError
from core.types import (
    Candidate,
    Completion,
    Execution,
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
from runners.source import OverBudget, Source
from sandbox.base import Sandbox
from sandbox.verdict import verdict

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

    workers: the sandbox's, that many executions at once. done: called with each sample when it is stored.
    """

    def __init__(
        self,
        run_id: str,
        spec: RunSpec,
        parts: tuple[Part, ...],
        source: Source,
        sandbox: Sandbox,
        store: Store,
        *,
        workers: int,
        done: Callable[[Sample], None],
    ) -> None:
        self.run_id, self.spec, self.parts = run_id, spec, parts
        self.source, self.sandbox, self.store, self.done = source, sandbox, store, done
        self.stopped: Literal["interrupted", "over budget"] | None = None
        self._under_way = asyncio.Semaphore(source.at_once + AHEAD * workers)
        self._generating: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Bring every sample that is not graded yet to its verdict, or until `stop`.

        Raises what ends a run: UsageError from the provider, StorageError. What is stored stays.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
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
        self.stopped = "interrupted"
        for task in self._generating:
            task.cancel()

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
            completion = self.store.completion(self.run_id, key)
            if completion is None:
                if self.stopped:
                    return
                answers = part.adapter.answers(problem, turn, part.style)
                request = Request(key.suite, key.task_id, key.index, turn, prompt, part.params, answers)
                try:
                    completion = await self._generate(request)
                except OverBudget:
                    self.stopped = "over budget"
                    return
                except GenerationError as error:
                    lost = Verdict(Status.GENERATION_ERROR, str(error))
                    self._keep(Sample(key, lost, prompt, None, tries=error.tries))
                    return
                self.store.save_completion(self.run_id, key, prompt, completion)
                self.source.keep(request, completion)
            if key not in graded:
                self._keep(await self._judge(part, problem, key, prompt, completion))
            history.append((prompt, completion))

    async def _generate(self, request: Request) -> Completion:
        task = asyncio.current_task()
        assert task is not None
        self._generating.add(task)
        try:
            return await self.source.complete(request)
        finally:
            self._generating.discard(task)

    async def _judge(
        self, part: Part, problem: Problem, key: SampleKey, prompt: Prompt, completion: Completion
    ) -> Sample:
        if completion.finish_reason == "refusal":
            refused = Verdict(Status.REFUSED, "the provider or the model declined")
            return Sample(key, refused, prompt, completion, tries=completion.tries)
        candidate = part.adapter.candidate(problem, key.turn, completion.answer, part.style, part.params.stop)
        if candidate is None:
            empty = Verdict(Status.NO_SOLUTION, "the answer is empty")
            return Sample(key, empty, prompt, completion, tries=completion.tries)
        candidate = self._limited(candidate)
        execution: Execution = await self.sandbox.run(candidate)
        return Sample(
            key,
            verdict(candidate, execution),
            prompt,
            completion,
            candidate.solution,
            execution.stdout,
            execution.stderr,
            execution.cpu_s,
            execution.wall_s,
            execution.peak_memory_bytes,
            completion.tries,
        )

    def _limited(self, candidate: Candidate) -> Candidate:
        """The candidate under the run's limits, where it states some: they take the place of the tasks' own."""
        limits, tests = candidate.limits, candidate.tests
        if self.spec.timeout_s is not None:
            limits = replace(limits, cpu_s=self.spec.timeout_s)
            tests = replace(tests, cases=tuple(replace(case, cpu_s=None) for case in tests.cases))
        if self.spec.memory_bytes is not None:
            limits = replace(limits, memory_bytes=self.spec.memory_bytes)
        return replace(candidate, limits=limits, tests=tests)

    def _keep(self, sample: Sample) -> None:
        self.store.append(self.run_id, sample)
        self.done(sample)
