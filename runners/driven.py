"""The flow of a harness that owns its loop: it asks, we answer and execute; it reports, and we keep.

An answer is stored as soon as it is there. The samples are stored when the harness has been through all of its suites,
since only then it says what it makes of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from adapters.base import Drive, DrivenSuite
from core.types import (
    Answers,
    Candidate,
    Completion,
    Execution,
    Message,
    Prompt,
    PromptStyle,
    Request,
    RunSpec,
    Sample,
    SampleKey,
    SamplingParams,
    Status,
    Verdict,
)
from results.records import ProblemRecord, SuiteRecord
from runners.asker import Asker
from runners.judging import REFUSED, judged, limited
from sandbox.base import Sandbox
from sandbox.verdict import verdict

AHEAD = 4
"""Questions that may be open for each request in flight: the rest waits in the harness."""
SCORED = Verdict(Status.SCORED, "its harness gave it figures")


@dataclass(frozen=True, slots=True)
class DrivenPart:
    """One suite as its harness asks it."""

    suite: DrivenSuite
    style: PromptStyle

    @property
    def params(self) -> SamplingParams:
        """As it samples."""
        return self.suite.params

    @property
    def languages(self) -> frozenset[str]:
        """Those of what is executed."""
        return frozenset(self.suite.languages)

    def record(self) -> SuiteRecord:
        """What the store keeps of it."""
        suite = self.suite
        problems = tuple(ProblemRecord(task_id, suite.n_samples, turns) for task_id, turns in suite.problems)
        return SuiteRecord(suite.harness, suite.name, suite.version, suite.data_hash, self.style, problems)

    def first(self) -> Request:
        """A request such as it makes, without words."""
        prompt: Prompt = "" if self.style == "completion" else (Message("user", ""),)
        continuation = None if self.suite.generates else ""
        return Request(self.suite.name, "0", 0, 0, prompt, self.params, Answers("", ("",)), continuation)


class DrivenFlow:
    """The suites of a run that one harness evaluates.

    keep: stores a sample. say: takes what the harness warns of.
    """

    def __init__(
        self,
        drive: Drive,
        parts: Sequence[DrivenPart],
        spec: RunSpec,
        asker: Asker,
        sandbox: Sandbox,
        keep: Callable[[Sample], None],
        say: Callable[[str], None],
    ) -> None:
        self._drive, self._spec, self._asker, self._sandbox, self._say = drive, spec, asker, sandbox, say
        self._suites = {part.suite.name: part.suite for part in parts}
        self._turns = {(suite.name, task_id): n for suite in self._suites.values() for task_id, n in suite.problems}
        self._keep = keep
        self._executed: dict[SampleKey, tuple[Candidate, Execution]] = {}
        self._passed: dict[SampleKey, bool] = {}
        """Of samples that were graded before, which were executed then."""
        self._graded: set[SampleKey] = set()
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> None:
        """Evaluate, and keep what the harness says; or until `stop`."""
        store, run_id = self._asker.store, self._asker.run_id
        for name, suite in self._suites.items():
            self._graded |= store.graded(run_id, name)
            if suite.languages and any(key.suite == name for key in self._graded):
                self._passed |= {s.key: s.verdict.status is Status.PASSED for s in store.samples(run_id, name)}
        at_once = AHEAD * self._asker.source.at_once
        self._task = asyncio.create_task(
            self._drive.run(self._asker.answer, self._execute, self._done, at_once=at_once, say=self._say)
        )
        try:
            reported = await self._task
        except asyncio.CancelledError:
            if self._asker.stopped:
                return
            raise
        store.report(run_id, reported)

    def stop(self) -> None:
        """Give up what is under way. The answers that are there stay."""
        if self._task is not None:
            self._task.cancel()

    async def _execute(self, key: SampleKey, candidate: Candidate) -> bool | None:
        # A sample may have several candidates, one for each way in which its suite reads an answer: the first counts.
        first = replace(key, turn=0)
        if key == first and first in self._graded:
            return self._passed[first]
        candidate = limited(candidate, self._spec)
        execution = await self._sandbox.run(candidate)
        if key == first:
            self._executed[first] = candidate, execution
        status = verdict(candidate, execution).status
        return None if status is Status.SANDBOX_ERROR else status is Status.PASSED

    def _done(self, name: str, task_id: str, reported: Mapping[str, Any]) -> None:
        """Keep the samples of a problem; what the harness says of it goes with the first of them, if none is lost."""
        indices, turns = range(self._suites[name].n_samples), range(self._turns[name, task_id])
        keys = [SampleKey(name, task_id, index, turn) for index in indices for turn in turns]
        found = {key: self._asker.store.answer(self._asker.run_id, key) for key in keys}
        samples = [self._sample(key, *answer) for key, answer in found.items() if answer and key not in self._graded]
        if None not in found.values() and samples and all(sample.verdict.status.graded for sample in samples):
            samples[0] = replace(samples[0], reported=reported)
        for sample in samples:
            self._keep(sample)

    def _sample(self, key: SampleKey, prompt: Prompt, completion: Completion) -> Sample:
        if completion.finish_reason == "refusal":
            return Sample(key, REFUSED, prompt, completion, tries=completion.tries)
        if key in self._executed:
            return judged(key, prompt, completion, *self._executed.pop(key))
        return Sample(key, SCORED, prompt, completion, tries=completion.tries)
