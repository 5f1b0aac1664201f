"""The line to a model: everything that is asked of it goes through here.

It sends no more than the model's server bears, asks again where that may help, counts what it took and what it cost,
and gives up on a server that answers nothing any more.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from time import monotonic

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UsageError
from core.types import Completion, Request
from models.base import Model
from models.failures import Transient
from models.pace import UNLIMITED, Allowance, Outcome, Pace, Ticket

LONGEST_S = 30.0
"""The wait before asking again doubles up to this, less a random part of up to a half, so that requests which failed
together do not return together. Eight tries take half a minute to a minute."""
PATIENCE_S = 600.0
"""The longest wait that a server may ask for, and the longest that it may turn everything away."""
ENDLESS_S = 3600.0
"""How long one answer may take."""
TURNS_AWAY = 4
"""A completion may be turned away so many times for each of its tries."""
HOPELESS, TASKS = 16, 4
"""So many completions lost one after another, of so many different tasks, end the run."""
LIMITS = ("max_tokens", "max_completion_tokens", "num_predict", "n_predict")
"""What providers call the limit of an answer's tokens."""
CHARACTERS = 3.5
"""Of a token, about, in code and English; for what has to be known before a server counts."""
ANSWER_TOKENS = 300
"""Expected of an answer, until some have come."""


class Line:
    """One model, as a run asks it. Used in one event loop."""

    def __init__(self, model: Model, allowance: Allowance = UNLIMITED) -> None:
        self.model, self.allowance = model, allowance
        self.pace = Pace(self.allowance, monotonic())
        self._turn = asyncio.Lock()
        self._ended = asyncio.Event()
        self._lost: list[str] = []
        """The tasks of the completions lost since the last answer."""
        self._end: TouchstoneError | None = None
        self._answered_at = monotonic()
        self._answers, self._answer_tokens = 0, 0
        self.densest: float | None = None
        """The most tokens a character that a prompt had; None: no answer has told yet."""

    async def complete(self, request: Request) -> Completion:
        """The answer to a request, with `tries`, `effective` and `cost_usd`.

        Raises GenerationError, with `tries`, where it cannot be had; UsageError and ServerUnreachable where asking on
        is of no use, in this call or another: that ends the run.
        """
        if request.continuation is not None and not self.model.capabilities.logprobs:
            raise UsageError(
                f"{self.model.provider}/{self.model.name} does not say how likely a given text is, which "
                f"{request.suite} takes: choose a task that is answered in text, or a model of vllm or hf"
            )
        try:
            tries, broken_off, completion = await self._asked(request)
        except GenerationError as error:
            if self.model.answers_anew:
                self._lose(request, error)
            raise
        self._lost.clear()
        return replace(
            completion,
            tries=tries,
            effective=self.model.parameters(request),
            # What a try costs that broke off is told by nobody.
            cost_usd=None if broken_off else self.cost_usd(completion.input_tokens, completion.output_tokens),
        )

    def cost_usd(self, input_tokens: float | None, output_tokens: float | None) -> float | None:
        """What tokens cost by the model's list price; None where one of the three is not known."""
        price = self.model.price
        if price is None or input_tokens is None or output_tokens is None:
            return None
        return (price.input * input_tokens + price.output * output_tokens) / 1e6

    def limit(self, request: Request) -> int | None:
        """The most tokens that an answer can have: as they are sent, else the model's own; None: unknown.

        Where a continuation is scored there is none, but what the server is asked for beside it.
        """
        sent = self.model.parameters(request)
        if request.continuation is not None:
            return int(sent.get("max_tokens", 0))
        found = next((sent[name] for name in LIMITS if name in sent), self.model.capabilities.max_output)
        return None if found is None else int(found)

    def expected_tokens(self, request: Request) -> tuple[float, float]:
        """About how many tokens will be read for a request, and written."""
        written = self._answer_tokens / self._answers if self._answers else ANSWER_TOKENS
        limit = self.limit(request)
        read = characters(request) * (self.densest or 1 / CHARACTERS)
        return read, written if limit is None else min(written, limit)

    async def _asked(self, request: Request) -> tuple[int, int, Completion]:
        """The number of requests made, of those whose answers broke off, and the answer to the last."""
        tries = failures = turned_away = broken_off = 0
        began = monotonic()
        while True:
            ticket = await self._ticket(request)
            tries += 1
            try:
                completion = await self._generated(request)
            except Transient as error:
                broken_off += error.begun
                self._end_of(request, ticket, "throttled" if error.throttled else "failed")
                error.tries = tries
                failures, turned_away = failures + (not error.throttled), turned_away + error.throttled
                wait_s = self._wait_s(error, failures, turned_away, began)
                try:
                    if wait_s is None:
                        raise
                    await asyncio.sleep(wait_s)
                finally:
                    if error.throttled:
                        self.pace.rested()
                        self._ended.set()
            except BaseException as error:
                self._end_of(request, ticket, "void")
                if isinstance(error, GenerationError):
                    error.tries = tries
                raise
            else:
                self._end_of(request, ticket, "answered", completion)
                return tries, broken_off, completion

    async def _generated(self, request: Request) -> Completion:
        """One request's answer, of which what counts and names is what it should be: else it is unknown."""
        try:
            async with asyncio.timeout(ENDLESS_S):
                completion = await self.model.generate(request)
        except TimeoutError:
            raise Transient(f"the answer had not ended after {ENDLESS_S / 60:.0f} minutes", begun=True) from None
        return replace(
            completion,
            input_tokens=_count(completion.input_tokens),
            output_tokens=_count(completion.output_tokens),
            model_served=completion.model_served if isinstance(completion.model_served, str) else None,
        )

    def _wait_s(self, error: Transient, failures: int, turned_away: int, began: float) -> float | None:
        """Seconds until the next request after those that failed, the last of them by `error`; None: no more."""
        idle_s = monotonic() - max(began, self._answered_at)
        if failures >= self.allowance.tries or turned_away >= TURNS_AWAY * self.allowance.tries or idle_s > PATIENCE_S:
            return None
        if error.retry_after_s is not None:
            # Those who are told the same time should not all come at it.
            return error.retry_after_s + random.uniform(0, 0.1) if error.retry_after_s <= PATIENCE_S else None
        # The exponent is bounded because a float is.
        exponent = min(failures + turned_away - 1, 64)
        return min(self.allowance.first_s * 2.0**exponent, LONGEST_S) * random.uniform(0.5, 1.0)

    async def _ticket(self, request: Request) -> Ticket:
        """Wait in line until the request may be sent."""
        tokens = sum(self.expected_tokens(request))
        async with self._turn:
            while True:
                if self._end is not None:
                    raise self._end
                now = monotonic()
                wait_s = self.pace.wait_s(now)
                if wait_s == 0:
                    return self.pace.sent(now, tokens)
                self._ended.clear()
                try:
                    async with asyncio.timeout(wait_s):
                        await self._ended.wait()
                except TimeoutError:
                    pass

    def _end_of(self, request: Request, ticket: Ticket, outcome: Outcome, completion: Completion | None = None) -> None:
        now, tokens = monotonic(), None
        if completion is not None:
            self._answered_at = now
            if completion.output_tokens is not None:
                # What is scored is no answer whose length tells of the next one's.
                if request.continuation is None:
                    self._answers += 1
                    self._answer_tokens += completion.output_tokens
                tokens = completion.output_tokens + (completion.input_tokens or 0)
            if completion.input_tokens is not None:
                self.densest = max(self.densest or 0, completion.input_tokens / max(characters(request), 1))
        self.pace.ended(ticket, now, outcome, tokens)
        self._ended.set()

    def _lose(self, request: Request, error: GenerationError) -> None:
        """Count a completion that could not be had, and see whether there is hope for the next. Raises the end."""
        self._lost.append(request.task_id)
        if self._end is None and len(self._lost) >= HOPELESS and len(set(self._lost)) >= TASKS:
            said = f"{len(self._lost)} answers in a row could not be had, the last: {error}"
            if isinstance(error, Transient):
                self._end = ServerUnreachable(f"{said}; see to the server, then go on with --resume")
            else:
                self._end = UsageError(f"{said}; mend the settings that it names, then go on with --resume")
            self._ended.set()
            raise self._end


def _count(tokens: object) -> int | None:
    """A number of tokens, where it is one: servers say all kinds of things."""
    if isinstance(tokens, float) and tokens.is_integer():
        tokens = int(tokens)
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens >= 0 else None


def characters(request: Request) -> int:
    """The length of what a request asks, with the continuation where one is to be scored."""
    prompt = request.prompt
    asked = len(prompt) if isinstance(prompt, str) else sum(len(message.content) for message in prompt)
    return asked + len(request.continuation or "")
