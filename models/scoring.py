"""Scoring given continuations by OpenAI's protocol: the server echoes a text with its tokens' log-probabilities.

The server's own tokens are scored, found by their `text_offset`, and no tokenizer is needed here. Some servers' offsets
are wrong where a token is not shown as it stands in the text (the bytes of a character, a space that is left out):
tokens that contradict the text are counted by the server's `/tokenize` instead, where it has that.
"""

from __future__ import annotations

import asyncio
import json
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from core.errors import GenerationError, TouchstoneError, UsageError
from core.types import Completion, Request
from models.failures import Transient
from models.http import BEGINNING, Remote, error_in
from models.likelihood import CONTEXT, Score, parted, scored, windows

if TYPE_CHECKING:
    from httpx2 import Response
    from openai import APIError, AsyncOpenAI

ASKED: Mapping[str, Any] = {"echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
"""What a text is sent with. The token that goes on from it is not scored, but servers do not take a limit of 0."""


class Scoring(Remote):
    """The part of a model of OpenAI's protocol that scores continuations."""

    _client: AsyncOpenAI
    served_context: int | None = None
    """Tokens that prompt and answer may have together, as the server says; None: it has not said."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._asking = asyncio.Lock()
        self._asked = False
        self._prefix: int | None = None

    @abstractmethod
    def _failure(self, error: APIError) -> TouchstoneError:
        """What a failed request ends in."""

    async def score(self, request: Request) -> Completion:
        """The log-probability of a request's continuation. See `Model.generate`."""
        prompt, continuation = request.prompt, request.continuation or ""
        if not isinstance(prompt, str):
            raise self._unscored("it scores what follows a text, and this is a chat: choose --prompt-style completion")
        began = perf_counter()
        context, text = parted(prompt, continuation)
        if not text:
            return scored(continuation, ())
        prefix = None if context else await self._prefix_id()
        if prefix is None:
            echo = await self._echo(context + text)
            begin, end = echo.found(context + text, len(context)) or await self._counted(context, text, echo)
            if begin == 0 and echo.logprobs[begin] is None:
                raise self._unscored(
                    "the first token of a text has no probability: that takes a server which puts one before it or, "
                    "for a whole text, has the pages /tokenizer_info and /tokenize"
                )
            scores, echoes = [self._score(echo, begin, end)], [echo]
        else:
            scores, echoes = await self._whole(text, prefix)
        return replace(
            scored(continuation, scores),
            model_served=echoes[-1].served if echoes else None,
            input_tokens=_sum(echo.read for echo in echoes),
            output_tokens=_sum(echo.written for echo in echoes),
            total_s=perf_counter() - began,
        )

    async def _whole(self, text: str, prefix: int) -> tuple[list[Score], list[_Echo]]:
        """A whole text's scores, window by window, and what was answered to each. prefix: the token before it."""
        context = self.capabilities.context or self.served_context or CONTEXT
        ids = await self._ids(text)
        if ids is None:
            raise self._unscored("its page /tokenize gives no tokens for the text")
        scores, echoes = [], []
        # A token is left for the answer, and one more, as lm-eval has it.
        for before, tokens in windows(ids, prefix, max(context - 2, 1)):
            echo = await self._echo([*before, *tokens])
            sent = len(before) + len(tokens)
            if len(echo.logprobs) not in (sent, sent + 1):
                raise self._unscored(f"{sent} tokens were sent, and {len(echo.logprobs)} came back")
            scores.append(self._score(echo, len(before), sent))
            echoes.append(echo)
        return scores, echoes

    def _score(self, echo: _Echo, begin: int, end: int) -> Score:
        """The score of the tokens from `begin` on, before `end`. Raises GenerationError where one of them has none."""
        logprobs, tops = echo.logprobs[begin:end], echo.tops[begin:end]
        if not logprobs:
            raise self._unscored("none of the tokens is the continuation's")
        if not all(map(_number, logprobs)):
            raise self._unscored("the log-probability of a token is not a number")
        for top in tops:
            if not isinstance(top, dict) or not top or not all(map(_number, top.values())):
                raise self._unscored("the likeliest tokens are missing from its log-probabilities (top_logprobs)")
        return sum(logprobs), all(own == max(top.values()) for own, top in zip(logprobs, tops, strict=True))

    # ── the server's tokens ──────────────────────────────────────────────────────────────────────────────────────────

    async def _prefix_id(self) -> int | None:
        """The token before a whole text: BOS, else EOS; None: the server does not say. It is asked once."""
        async with self._asking:
            if not self._asked:
                info = await self._page("/tokenizer_info")
                named = [info.get(name) for name in ("bos_token", "eos_token")] if isinstance(info, dict) else []
                text = next((each for each in named if isinstance(each, str) and each), None)
                ids = None if text is None else await self._ids(text)
                self._prefix, self._asked = (ids[0] if ids else None), True
            return self._prefix

    async def _ids(self, text: str, *, special: bool = False) -> list[int] | None:
        """A text's tokens by the server; None: it does not say. special: with those that it puts around a text."""
        answer = await self._page("/tokenize", {"model": self.name, "prompt": text, "add_special_tokens": special})
        ids = answer.get("tokens") if isinstance(answer, dict) else None
        return ids if isinstance(ids, list) and all(type(each) is int for each in ids) else None

    async def _counted(self, context: str, text: str, echo: _Echo) -> tuple[int, int]:
        """Where in an echo `text` begins and ends, by the number of tokens that the server makes of it.

        Raises GenerationError where it does not say, or a token is of both `context` and `text`.
        """
        sent = await self._ids(context + text, special=True)
        # The echo has them all, and the token after them.
        if sent and len(sent) in (len(echo.logprobs), len(echo.logprobs) - 1):
            whole, before = await self._ids(context + text), await self._ids(context) if context else []
            if whole and before is not None and whole[: len(before)] == before:
                for begin in (0, 1):
                    if sent[begin : begin + len(whole)] == whole:
                        return begin + len(before), begin + len(whole)
        raise self._unscored("its tokens, with their text_offset, are not those of the text")

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _echo(self, prompt: str | Sequence[int]) -> _Echo:
        """The tokens of a text, or of tokens, with their log-probabilities."""
        from openai import APIError

        fault: TouchstoneError
        reply = await self._fetched("completions", {"model": self.name, "prompt": prompt, **ASKED})
        heard = bytearray(reply.content[:BEGINNING])
        try:
            if (said := error_in(heard)) is not None:
                raise APIError(str(said.get("message")), reply.request, body=said)
            answer = json.loads(reply.content)
            found = answer["choices"][0].get("logprobs")
        except APIError as error:
            fault = self._failure(error)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            fault = self._garbled(error, False, heard)
        else:
            return self._read(answer, found)
        raise fault

    def _read(self, answer: Mapping[str, Any], found: Any) -> _Echo:
        """An answer's echo. Raises GenerationError where it lacks what is needed."""
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        lists = [found.get(name) if isinstance(found, dict) else None for name in names]
        for name, each in zip(names[1:3], lists[1:3], strict=True):
            if not isinstance(each, list):
                raise self._unscored(f"it gives no log-probabilities of what it is sent ({name} is missing)")
        tokens, logprobs, tops, offsets = (each if isinstance(each, list) else [] for each in lists)
        if len(tops) != len(logprobs):
            raise self._unscored("its lists of log-probabilities are not of one length")
        usage = answer["usage"] if isinstance(answer.get("usage"), dict) else {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        read, written = (count if type(count) is int else None for count in counts)
        return _Echo(tokens, logprobs, tops, offsets, read, written, answer.get("model"))

    async def _page(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What a page at the server's root answers; None: there is no such page. Raises Transient."""
        root = str(self._client.base_url).rstrip("/").removesuffix("/v1")
        try:
            return json.loads((await self._fetched(f"{root}{path}", body)).content)
        except Transient:
            raise
        except (GenerationError, UsageError, ValueError, RecursionError):
            return None

    async def _fetched(self, path: str, body: Mapping[str, Any] | None = None) -> Response:
        """The reply to a request: a POST where there is a body. path: under the address, or a whole address.

        Raises as `Model.generate`.
        """
        from httpx2 import Response
        from openai import APIError

        try:
            if body is None:
                return await self._client.get(path, cast_to=Response)
            return await self._client.post(path, cast_to=Response, body=dict(body))
        except APIError as error:
            fault = self._failure(error)
        raise fault

    def _unscored(self, why: str) -> GenerationError:
        return GenerationError(f"{self.url}: the continuation cannot be scored: {why}")


@dataclass(frozen=True, slots=True)
class _Echo:
    """An answer with the log-probabilities of what was sent and of the token after it. Its values are unchecked."""

    tokens: list[Any]
    logprobs: list[Any]
    tops: list[Any]
    offsets: list[Any]
    read: int | None
    """Tokens of the prompt, as the server counts them."""
    written: int | None
    served: Any

    def found(self, text: str, at: int) -> tuple[int, int] | None:
        """Where the tokens begin that end after `text[:at]`, and where those of `text` end.

        None where tokens and offsets are not sure to be the text's. A first token may be one that the server has put
        before it, whether or not that counts in the offsets.
        """
        if not len(self.tokens) == len(self.offsets) == len(self.logprobs):
            return None
        if not all(type(offset) is int for offset in self.offsets):
            return None
        for skipped in range(min(2, len(self.tokens))):
            starts = [offset - self.offsets[skipped] for offset in self.offsets[skipped:]]
            place = _place(text, at, self.tokens[skipped:], starts)
            if place is not None:
                return place[0] + skipped, place[1] + skipped
        return None


def _place(text: str, at: int, tokens: Sequence[Any], starts: Sequence[int]) -> tuple[int, int] | None:
    """`_Echo.found` where the first token is the text's. starts: of each token, in the text; one at least."""
    ends = [*starts[1:], starts[-1] + len(str(tokens[-1]))]
    count = sum(start < len(text) for start in starts)
    # After the text's tokens there is one more, or none where the server does not go on.
    if not 0 <= len(tokens) - count <= 1 or not count or ends[count - 1] != len(text):
        return None
    plain = []
    for token, start, end in list(zip(tokens, starts, ends, strict=True))[:count]:
        plain.append(isinstance(token, str) and token != "" and text[start:end] == token)
        if end < start or not (plain[-1] or _pieces(token)):
            return None
    first = next(i for i in range(count) if ends[i] > at)
    # The offsets of tokens that are not plain may be wrong in ways that cancel out: beside plain ones they are right.
    sure = plain[max(first - 1, 0)] and plain[first] and plain[-1]
    return (first, count) if sure else None


def _pieces(token: Any) -> bool:
    """Whether a token is shown as what it is no text for: some of the bytes of a character, or an id."""
    return isinstance(token, str) and (not token or "\ufffd" in token or token.startswith(("bytes:", "token_id:")))


def _number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _sum(counts: Any) -> int | None:
    """The sum of numbers of tokens; None where one is not known."""
    known = list(counts)
    return None if None in known else sum(known)
