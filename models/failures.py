"""Failures of requests: which are worth another, and what the server said."""

from __future__ import annotations

from core.errors import GenerationError, TouchstoneError, UsageError
from models.keys import scrub


class Transient(GenerationError):
    """A request failed in a way that the next may not: a busy or failing server, a cut or garbled stream.

    retry_after_s: how long the server asks to wait, where it does. throttled: whether it has said that too much is
    asked of it, which is nobody's failure and costs a completion none of its tries.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        throttled: bool = False,
        begun: bool = False,
    ) -> None:
        super().__init__(message, begun=begun)
        self.retry_after_s, self.throttled = retry_after_s, throttled


def failure(status: int, words: str, *, key: str, address: str, retry_after_s: float | None = None) -> TouchstoneError:
    """What a request that was answered with the HTTP status `status` ends in.

    408, 409, 429 and 5xx: Transient, throttled at 429 and 529. 401, 402, 403, 404: UsageError, for no other request
    would fare better. The rest is a GenerationError: the server will not have this one.

    words: the server's own, with its address. key, address: the variables that set the key and the address.
    """
    match status:
        case 401 | 403:
            return UsageError(f"{words}; set {key}, in the environment or in .env, to a key that may use this model")
        case 402:
            return UsageError(f"{words}; add credit to the account, or set {key} to the key of another")
        case 404:
            return UsageError(f"{words}; see that the model's name is right, and {address}")
        case 429 | 529:  # too many of this user's requests; too many of everybody's
            return Transient(words, retry_after_s=retry_after_s, throttled=True)
        case 408 | 409:
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
