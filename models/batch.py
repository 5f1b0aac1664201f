"""Requests that wait for the one device, gathered: those that wait when it is free go together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TypeVar

from core.errors import GenerationError, TouchstoneError
from core.types import Completion, Request
from models.failures import words

T = TypeVar("T")


class Asked:
    """A request that waits for its answer. Made in the event loop, answered from the device's thread."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.asked_at = perf_counter()
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Completion] = self.loop.create_future()
        self.ended = False
        """Whether it has been answered, or has failed. Of the device's thread."""
        self.failed = False
        """Whether it has failed. Of the device's thread."""

    @property
    def given_up(self) -> bool:
        """Whether nobody waits for the answer any more."""
        return self.future.cancelled()

    def answer(self, completion: Completion) -> None:
        """Hand the answer over."""
        self._end(lambda: self.future.set_result(completion))

    def fail(self, error: TouchstoneError) -> None:
        """Say that there will be none."""
        self.failed = not self.ended
        self._end(lambda: self.future.set_exception(error))

    def _end(self, tell: Callable[[], None]) -> None:
        if not self.ended:
            self.ended = True
            self.loop.call_soon_threadsafe(lambda: None if self.future.done() else tell())


class Batcher:
    """The device's thread. Everything that touches the model runs in it, so that nothing of the model is shared.

    work: answers requests, or fails them, one by one as they are ready; called in the thread. size: how many it takes
    together. A request that it leaves open fails, with what it has raised.
    """

    def __init__(self, work: Callable[[Sequence[Asked]], None], size: int) -> None:
        self._work, self.size = work, size
        self._waiting: deque[Asked] = deque()
        self._working: Sequence[Asked] = ()
        self._turns: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    async def ask(self, request: Request) -> Completion:
        """The answer to a request. Raises what `work` fails it with; cancelling it disturbs no other."""
        asked = Asked(request)
        self._waiting.append(asked)
        if self._turns is None or self._turns.done():
            self._turns = asyncio.create_task(self._take_turns())
        return await asked.future

    async def run(self, function: Callable[[], T]) -> T:
        """What a function returns in the thread, once the batch before it is done."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def aclose(self) -> None:
        """Give up what waits and what runs, and end the thread."""
        for asked in (*self._waiting, *self._working):
            asked.future.cancel()
        if self._turns is not None:
            await self._turns
        await asyncio.to_thread(self._thread.shutdown)

    async def _take_turns(self) -> None:
        while self._waiting:
            count = min(self.size, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            self._working = [asked for asked in taken if not asked.given_up]
            if self._working:
                await self.run(self._batch)
        self._working = ()

    def _batch(self) -> None:
        working, fault = self._working, "it was left open"
        try:
            self._work(working)
        # Of all kinds, because tokenizers panic with one that is no Exception, and someone waits.
        except BaseException as error:
            fault = words(error)
        for asked in working:
            asked.fail(GenerationError(f"the model gave no answer: {fault}"))
