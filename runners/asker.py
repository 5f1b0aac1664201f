"""Getting a run's answers: out of the store, else from where they come, and into the store before all else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from core.errors import GenerationError
from core.types import Completion, Request, Sample, SampleKey, Status, Verdict
from results.store import Store
from runners.source import OverBudget, Source


class Asker:
    """The answers of one run.

    keep: takes the sample of a completion that could not be had. answered: called with each answer that is new.
    """

    def __init__(
        self, run_id: str, source: Source, store: Store, keep: Callable[[Sample], None], answered: Callable[[], None]
    ) -> None:
        self.run_id, self.source, self.store = run_id, source, store
        self._keep, self._answered = keep, answered
        self.stopped: Literal["interrupted", "over budget"] | None = None
        self._generating: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Completion | None:
        """The answer to a request; None where there is none, or none is to be had any more.

        Raises what ends a run: RunMismatch, UsageError, ServerUnreachable, StorageError.
        """
        key = SampleKey(request.suite, request.task_id, request.index, request.turn)
        completion = self.store.completion(self.run_id, key, request.prompt)
        if completion is not None or self.stopped:
            return completion
        try:
            completion = await self._generate(request)
        except OverBudget:
            self.stopped = "over budget"
            return None
        except GenerationError as error:
            lost = Verdict(Status.GENERATION_ERROR, str(error))
            self._keep(Sample(key, lost, request.prompt, None, tries=error.tries))
            return None
        self.store.save_completion(self.run_id, key, request.prompt, completion)
        self.source.keep(request, completion)
        self._answered()
        return completion

    def stop(self) -> None:
        """Ask nothing any more: what is under way is given up."""
        self.stopped = "interrupted"
        for task in self._generating:
            task.cancel()

    async def _generate(self, request: Request) -> Completion:
        task = asyncio.current_task()
        assert task is not None
        self._generating.add(task)
        try:
            return await self.source.complete(request)
        finally:
            self._generating.discard(task)
