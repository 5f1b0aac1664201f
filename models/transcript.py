"""A streamed answer, as far as it has come."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import Any, TypeGuard

from core.types import Completion, FinishReason


class Transcript:
    """Collects the pieces of one answer, and when they came. Its clock starts when it is made: make it, then send.

    stops: where a continuation ends. `add` says when one of them has come.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._started = perf_counter()
        self._first: float | None = None
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._stops = [stop for stop in stops if stop]
        self._reach = max(map(len, self._stops), default=1) - 1
        self._tail = ""

    def add(self, piece: str | None) -> bool:
        """Append to the text. Returns whether a stop has come; it may be spread over several pieces.

        Raises ValueError where `piece` is no text.
        """
        if not _text(piece):
            return False
        if self._first is None:
            self._first = perf_counter()
        self._text.append(piece)
        seen = self._tail + piece
        self._tail = seen[max(0, len(seen) - self._reach) :]
        return any(stop in seen for stop in self._stops)

    def think(self, piece: str | None) -> None:
        """Append to the reasoning that the server keeps apart. Raises ValueError where `piece` is no text."""
        if _text(piece):
            self._thinking.append(piece)

    def completion(self, finish_reason: FinishReason, **fields: Any) -> Completion:
        """The answer, which has ended now. `fields` are further fields of the Completion."""
        return Completion(
            text=_join(self._text),
            finish_reason=finish_reason,
            thinking=_join(self._thinking) or None,
            ttft_s=None if self._first is None else self._first - self._started,
            total_s=perf_counter() - self._started,
            **fields,
        )


def _text(piece: str | None) -> TypeGuard[str]:
    if piece is not None and not isinstance(piece, str):
        raise ValueError(f"a piece of the answer is {type(piece).__name__}, not text")
    return bool(piece)


def _join(pieces: Sequence[str]) -> str:
    """The text of the pieces. A character that was split between two, as UTF-16 splits it, becomes one again; half a
    character, which no file could hold, becomes U+FFFD."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
