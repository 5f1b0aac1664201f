"""A streamed answer, as far as it has come."""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import perf_counter
from typing import Any, TypeGuard

from core.types import Completion, FinishReason

OPENING, CLOSING = "<think>", "</think>"
"""What chat models write around reasoning that their server leaves in the text; some templates hold the opening."""


class Transcript:
    """Collects the pieces of one answer, and when they came. Its clock starts when it is made: make it, then send.

    stops: where a continuation ends. `add` says when one of them has come. chat: whether it is a chat's answer, which
    may begin with a block of reasoning; a continuation is code, and none of it is anything else.
    """

    def __init__(self, stops: Sequence[str] = (), *, chat: bool = False) -> None:
        self._chat = chat
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
        """The answer, which has ended now. `fields` are further fields of the Completion.

        An answer that ends within its reasoning was cut, whatever the server says.
        """
        text, thinking = _join(self._text), _join(self._thinking)
        answer_at = 0
        if self._chat:
            answer_at, reasoning, closed = _reasoning(text)
            thinking += reasoning
            # One that was kept apart, and nothing after it, has not come to its end either.
            if finish_reason == "stop" and (not closed or (thinking and not text.strip())):
                finish_reason = "length"
        return Completion(
            text=text,
            finish_reason=finish_reason,
            answer_at=answer_at,
            thinking=thinking or None,
            ttft_s=None if self._first is None else self._first - self._started,
            total_s=perf_counter() - self._started,
            **fields,
        )


def _reasoning(text: str) -> tuple[int, str, bool]:
    """Where the answer begins after a block of reasoning, the reasoning, and whether the block was closed.

    The block stands at the beginning. Where its opening is missing, as templates that hold it have it, a closing ends
    it that stands on a line of its own and in no fence: elsewhere it is the answer's, which may speak of it.
    """
    if text.lstrip().startswith(OPENING):
        end = text.find(CLOSING)
        if end < 0:
            return len(text), text.lstrip().removeprefix(OPENING), False
        return end + len(CLOSING), text[:end].lstrip().removeprefix(OPENING), True
    for found in re.finditer(rf"^[ \t]*{CLOSING}[ \t]*$", text, re.MULTILINE):
        before = text[: found.start()]
        if len(re.findall(r"^[ \t]*(?:```|~~~)", before, re.MULTILINE)) % 2 == 0:
            return found.end(), before, True
    return 0, "", True


def _text(piece: str | None) -> TypeGuard[str]:
    if piece is not None and not isinstance(piece, str):
        raise ValueError(f"a piece of the answer is {type(piece).__name__}, not text")
    return bool(piece)


def _join(pieces: Sequence[str]) -> str:
    """The text of the pieces. A character that was split between two, as UTF-16 splits it, becomes one again; half a
    character, which no file could hold, becomes U+FFFD."""
    return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
