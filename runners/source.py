"""Where a run's completions come from: the cache, else the model, as far as the money goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from core.errors import BadData, GenerationError, StorageError
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
    those at a temperature above 0. say: told when the cache fails, which ends nothing.
    """

    def __init__(
        self,
        line: Line,
        budget: Budget,
        cache: Cache | None = None,
        *,
        cache_all: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.line, self.model = line, line.model
        self._budget, self._cache, self._cache_all, self._say = budget, cache, cache_all, say
        self._first, self._answered = asyncio.Lock(), False
        self.found = 0
        """Answers that came from the cache."""

    @property
    def at_once(self) -> int:
        """Requests that may be in flight together, at most. What is answered from memory needs no company."""
        return self.line.pace.window.ceiling if self.model.answers_anew else 1

    def key(self, request: Request) -> str | None:
        """Under what an answer is cached; None: it is not."""
        model, params = self.model, request.params
        if self._cache is None or not model.answers_anew:
            return None
        scored = request.continuation is not None
        repeats = scored or (model.capabilities.temperature and params.temperature == 0)
        if not (repeats or self._cache_all):
            return None
        return key_of(
            *(model.provider, model.url, model.name, model.revision),
            *(model.parameters(request), request.prompt, request.index),
            # Neither need be sent: a seed tells samples apart, and reading ends at a continuation's stops.
            *(params.seed, params.stop if isinstance(request.prompt, str) else None),
            *([request.continuation] if scored else []),
        )

    def cached(self, request: Request) -> Completion | None:
        """An earlier answer to the same request."""
        key = self.key(request)
        if key is None or self._cache is None:
            return None
        try:
            return self._cache.get(key)
        except (StorageError, BadData) as error:
            self._give_up(error)
            return None

    async def complete(self, request: Request) -> Completion:
        """An answer, to be stored and then given to `keep`. Raises what `Line.complete` raises, and OverBudget."""
        if (kept := self.cached(request)) is not None:
            self.found += 1
            return kept
        if self._budget.most_usd is None or self.model.price is None:
            return await self.line.complete(request)
        # From the first answer on it is known how many tokens the server makes of a prompt: until then, one by one.
        if not self._answered:
            async with self._first:
                if not self._answered:
                    completion = await self._paid(request)
                    self._answered = True
                    return completion
        return await self._paid(request)

    def keep(self, request: Request, completion: Completion) -> None:
        """Cache an answer that is stored."""
        key = None if completion.cached else self.key(request)
        if key is not None and self._cache is not None:
            try:
                self._cache.put(key, f"{self.model.provider}/{self.model.name}", completion)
            except (StorageError, BadData) as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._cache = None
        self._say(f"going on without the cache: {error}")

    async def _paid(self, request: Request) -> Completion:
        reserved_usd = self.most_usd(request)
        await self._budget.reserve(reserved_usd)
        # What an answer cost whose tokens nobody counted, or which broke off, is taken to be what was set aside.
        cost_usd = reserved_usd
        try:
            completion = await self.line.complete(request)
            if completion.cost_usd is not None:
                cost_usd = completion.cost_usd
            else:
                cost_usd *= completion.tries
        except GenerationError as error:
            cost_usd *= error.tries if error.begun else 0
            raise
        finally:
            self._budget.settle(reserved_usd, cost_usd)
        return completion

    def most_usd(self, request: Request) -> float:
        """What one request may cost at most; where the prompt's tokens are guessed, with a fifth more."""
        read, written = self.line.expected_tokens(request)
        return self.line.cost_usd(1.2 * read, self.line.limit(request) or written) or 0.0
