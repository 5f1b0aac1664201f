"""Equal programs, run once: models repeat themselves, and what they wrote does the same each time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from core.types import Candidate, Execution
from sandbox import wire
from sandbox.base import Sandbox

KEPT = 2_000
"""Executions that are remembered."""


class Merged(Sandbox):
    """Another sandbox, in which candidates that it could not tell apart run once: their execution is that one's.

    Not what was the sandbox's own failure: that is tried again.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._tasks: OrderedDict[str, asyncio.Task[Execution]] = OrderedDict()

    async def start(self) -> None:
        """Start the other."""
        await self.sandbox.start()

    async def run(self, candidate: Candidate) -> Execution:
        """The execution of this candidate, or of the first that was equal."""
        key = wire.digest(candidate)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self.sandbox.run(candidate))
            task.add_done_callback(lambda done: self._ended(key, done))
        self._tasks.move_to_end(key)
        # Who gives up waiting does not take it from the others.
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """End the other, and what runs in it."""
        tasks = [task for task in self._tasks.values() if not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sandbox.aclose()

    def describe(self) -> Mapping[str, Any]:
        """The other's description."""
        return self.sandbox.describe()

    def _ended(self, key: str, task: asyncio.Task[Execution]) -> None:
        if task.cancelled() or task.exception() is not None or task.result().fault is not None:
            del self._tasks[key]
        while len(self._tasks) > KEPT and (oldest := next(iter(self._tasks.items())))[1].done():
            del self._tasks[oldest[0]]
