"""Asking again: which failures of a request are worth another, and when to send it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from core.errors import GenerationError, TouchstoneError, UsageError
from core.types import Completion
from models.keys import scrub


class Transient(GenerationError):
    """A request failed in a way that the next may not: a busy or failing server, a cut or garbled stream.

    retry_after_s: how long the server asks to wait, where it does.
    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a completion is asked for, and how long is waited in between.

    The wait doubles from `first_s` to `longest_s`, less a random part of up to a half, so that requests which failed
    together do not return together. With the defaults a server may be away for half a minute to a minute.
    """

    tries: int = 8
    """Requests for one completion at most."""
    first_s: float = 0.5
    longest_s: float = 30.0
    patience_s: float = 600.0
    """The longest wait that a server may ask for: where it asks for more, the completion is given up."""

    async def run(self, attempt: Callable[[], Awaitable[Completion]]) -> Completion:
        """The completion that `attempt` gives, with `tries` counted; `attempt` makes one request.

        Raises what `attempt` raises, but Transient only when it gives up; `GenerationError.tries` is counted too.
        """
        tries = 0
        while True:
            tries += 1
            try:
                return replace(await attempt(), tries=tries)
            except GenerationError as error:
                error.tries = tries
                wait_s = self.wait_s(tries, error)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    def wait_s(self, tries: int, error: GenerationError) -> float | None:
        """Seconds until the next request after `tries` of them, the last of which ended in `error`; None: no more."""
        if not isinstance(error, Transient) or tries >= self.tries:
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= self.patience_s else None
        # The exponent is bounded because a float is.
        return min(self.first_s * 2.0 ** min(tries - 1, 64), self.longest_s) * random.uniform(0.5, 1.0)


def failure(status: int, words: str, *, key: str, address: str, retry_after_s: float | None = None) -> TouchstoneError:
    """What a request that was answered with the HTTP status `status` ends in.

    408, 409, 429 and 5xx: Transient. 401, 402, 403, 404: UsageError, for no other request would fare better. The rest
    is a GenerationError: the server will not have this one.

    words: the server's own, with its address. key, address: the variables that set the key and the address.
    """
    match status:
        case 401 | 403:
            return UsageError(f"{words}; set {key}, in the environment or in .env, to a key that may use this model")
        case 402:
            return UsageError(f"{words}; add credit to the account, or set {key} to the key of another")
        case 404:
            return UsageError(f"{words}; see that the model's name is right, and {address}")
        case 408 | 409 | 429:
            return Transient(words, retry_after_s=retry_after_s)
        case _ if status >= 500:
            return Transient(words, retry_after_s=retry_after_s)
        case _:
            return GenerationError(words)


def retry_after_s(value: str | None) -> float | None:
    """Seconds that the header `Retry-After` asks for: a number or a date (RFC 9110, 10.2.3). None where it asks not."""
    import math
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def words(error: BaseException) -> str:
    """What an error says, its causes included, on one line and without keys."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        text = " ".join(str(cause).split()) or type(cause).__name__
        if not any(text in before for before in said):
            said.append(text)
        cause = cause.__cause__
    text = scrub(": ".join(said))
    return text if len(text) <= 500 else text[:500] + "…"
