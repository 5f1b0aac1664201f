"""Where a run's completions come from: the cache, else the model, as far as the money goes."""

from __future__ import annotations

import asyncio

from core.types import Completion, Request
from models.line import Line
from results.cache import Cache, key_of


class OverBudget(Exception):
    """Another request might cost more than may be spent. Those under way are not touched."""


class Budget:
    """What the runs of an invocation may cost together, in US dollars; None: no limit."""

    def __init__(self, most_usd: float | None = None) -> None:
        self.most_usd = most_usd
        self.spent_usd = 0.0
        self.exhausted = False
        self._reserved: list[float] = []
        self._settled = asyncio.Event()

    async def reserve(self, usd: float) -> None:
        """Set aside what a request may cost, when that is left. Raises OverBudget where it will not be."""
        while self.most_usd is not None and self.spent_usd + sum(self._reserved) + usd > self.most_usd:
            if not self._reserved:
                self.exhausted = True
            if self.exhausted:
                raise OverBudget
            self._settled.clear()
            await self._settled.wait()
        self._reserved.append(usd)

    def settle(self, reserved_usd: float, usd: float) -> None:
        """A request for which some was set aside has cost so much."""
        self._reserved.remove(reserved_usd)
        self.spent_usd += usd
        self._settled.set()


class Source:
    """The completions of one model.

    cache: None: none is kept or looked for. cache_all: whether answers are kept that the next request need not repeat,
    those at a temperature above 0.
    """

    def __init__(self, line: Line, budget: Budget, cache: Cache | None = None, *, cache_all: bool = False) -> None:
        self.line, self.model = line, line.model
        self._budget, self._cache, self._cache_all = budget, cache, cache_all
        self._first, self._answered = asyncio.Lock(), False

    @property
    def at_once(self) -> int:
        """Requests that may be in flight together, at most. What is answered from memory needs no company."""
        return self.line.pace.window.ceiling if self.model.answers_anew else 1

    def key(self, request: Request) -> str | None:
        """Under what an answer is cached; None: it is not."""
        model = self.model
        if self._cache is None or not model.answers_anew:
            return None
        parameters = model.parameters(request)
        repeats = model.capabilities.temperature and request.params.temperature == 0
        if not (repeats or self._cache_all):
            return None
        return key_of(model.provider, model.url, model.name, model.revision, parameters, request.prompt, request.index)

    def cached(self, request: Request) -> Completion | None:
        """An earlier answer to the same request."""
        key = self.key(request)
        return None if key is None or self._cache is None else self._cache.get(key)

    async def complete(self, request: Request) -> Completion:
        """An answer. Raises what `Line.complete` raises, and OverBudget."""
        key = self.key(request)
        if key is not None and self._cache is not None and (kept := self._cache.get(key)) is not None:
            return kept
        if self._budget.most_usd is None:
            completion = await self.line.complete(request)
        else:
            completion = await self._within_budget(request)
        if key is not None and self._cache is not None:
            self._cache.put(key, f"{self.model.provider}/{self.model.name}", completion)
        return completion

    async def _within_budget(self, request: Request) -> Completion:
        # From the first answer on it is known how many tokens the server makes of a prompt: until then, one by one.
        if not self._answered:
            async with self._first:
                if not self._answered:
                    completion = await self._paid(request)
                    self._answered = True
                    return completion
        return await self._paid(request)

    async def _paid(self, request: Request) -> Completion:
        reserved_usd = self._most_usd(request)
        await self._budget.reserve(reserved_usd)
        cost_usd: float | None = 0.0
        try:
            completion = await self.line.complete(request)
            cost_usd = completion.cost_usd
        finally:
            # What an answer cost whose tokens nobody counted is taken to be what was set aside.
            self._budget.settle(reserved_usd, reserved_usd if cost_usd is None else cost_usd)
        return completion

    def _most_usd(self, request: Request) -> float:
        """What a request may cost at most: without a limit of tokens, as far as can be told from the answers so far."""
        read, written = self.line.expected_tokens(request)
        limit = request.params.max_tokens or max(2 * written, 1000)
        return self.line.cost_usd(1.2 * read, limit) or 0.0
