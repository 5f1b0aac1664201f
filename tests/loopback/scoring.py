"""A server that scores texts as vLLM's does: completions with `echo` and `logprobs`, and its tokenizer's pages."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

from tests.loopback.openai import OpenAIServer
from tests.loopback.server import Answer, Exchange, Reply

BOS, EOS = "<s>", "</s>"
PIECES = re.compile(r"</?s>| ?\w+|\s|[^\w\s]")
"""The toy tokenizer's tokens: special ones, words with the space before them, and every other character by itself."""


class ScoringServer(OpenAIServer):
    """`/v1/completions` with `echo`, `/tokenizer_info`, `/tokenize` and `/detokenize`, and what OpenAIServer has.

    A token's log-probability is drawn from a hash of the tokens up to it, and about three in four are the likeliest.
    Prompts are texts or token ids, one or several.

    bos: whether a text is put behind a BOS, and whether that counts in `text_offset`. Ids are put as they come.
    pages: which of the tokenizer's pages there are. special: its BOS and EOS, as `/tokenizer_info` has them.
    split: whether each byte of a character that is not ASCII is a token of its own, shown as U+FFFD. spaces: whether a
    token is shown with the space that it begins with. context: tokens that prompt and answer may have together.
    spoil: what becomes of an answer with log-probabilities before it is sent.
    got: the paths of all requests for pages, in order; `requests` has those for answers.
    """

    def __init__(
        self,
        answer: Answer = lambda _: "",
        *,
        bos: Literal["none", "counted", "uncounted"] = "none",
        pages: Sequence[str] = ("/tokenizer_info", "/tokenize", "/detokenize"),
        special: tuple[str | None, str | None] = (BOS, EOS),
        split: bool = False,
        spaces: bool = True,
        context: int | None = None,
        spoil: Callable[[dict[str, Any]], Any] = lambda answer: answer,
        **rest: Any,
    ) -> None:
        super().__init__(lambda body: "" if body.get("echo") else answer(body), **rest)
        self.bos, self.pages, self.special, self.split, self.spaces = bos, pages, special, split, spaces
        self.context, self.spoil = context, spoil
        self.got: list[str] = []
        self._ids: dict[bytes, int] = {}
        self._tokens: list[bytes] = []
        self._growing = threading.Lock()

    def _get(self, exchange: Exchange, path: str) -> None:
        self.got.append(path)
        if path == "/tokenizer_info" and path in self.pages:
            bos, eos = self.special
            exchange.json(200, {"tokenizer_class": "Toy", "bos_token": bos, "eos_token": eos})
        else:
            super()._get(exchange, path)

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if path == "/v1/completions":
            self._complete(exchange, path, body)
            return
        self.got.append(path)
        if path not in self.pages:
            super()._post(exchange, path, body)
        elif path == "/tokenize":
            ids = self.encode(body["prompt"])
            if body.get("add_special_tokens", True) and self.bos != "none":
                ids = [self._id(BOS.encode()), *ids]
            exchange.json(200, {"count": len(ids), "max_model_len": self.context, "tokens": ids})
        else:
            exchange.json(200, {"prompt": b"".join(map(self._token, body["tokens"])).decode()})

    def _complete(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        prompts = [self._prompt(prompt) for prompt in _several(body["prompt"])]
        longest = max(map(len, prompts)) + int(body.get("max_tokens") or 16)
        if self.context is not None and longest > self.context:
            words = f"This model's maximum context length is {self.context} tokens. However, you requested {longest}"
            exchange.json(400, self._error(words, {"code": 400}))
            return
        if not body.get("echo"):
            text = b"".join(prompts[0]).decode() if not isinstance(body["prompt"], str) else body["prompt"]
            super()._post(exchange, path, {**body, "prompt": text})
        elif (received := self._receive(exchange, path, body)) is not None:
            exchange.json(200, self.spoil(self._scored(body, prompts, received[0])))

    def _scored(self, body: dict[str, Any], prompts: Sequence[Sequence[bytes]], _: Reply) -> dict[str, Any]:
        """The answer to a request with `echo` and `logprobs`: each prompt, and a token that goes on from it."""
        choices = [
            {
                "index": i,
                "text": "".join(map(self._shown, [*prompt, b" on"])),
                "finish_reason": "length",
                "logprobs": self._logprobs([*prompt, b" on"], begun=isinstance(_several(body["prompt"])[i], str)),
            }
            for i, prompt in enumerate(prompts)
        ]
        read, written = sum(map(len, prompts)), len(prompts)
        return {
            "id": "c-1",
            "object": "text_completion",
            "created": 0,
            "model": f"{body['model']}-served",
            "choices": choices,
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }

    def _logprobs(self, tokens: Sequence[bytes], *, begun: bool) -> dict[str, Any]:
        shown = [self._shown(token) for token in tokens]
        scores = [score(tokens[: i + 1]) for i in range(1, len(tokens))]
        offsets, at = [], 0
        for i, text in enumerate(shown):
            offsets.append(at)
            at += 0 if i == 0 and begun and self.bos == "uncounted" else len(text)
        tops = [{likeliest: best, text: own} for (own, best, likeliest), text in zip(scores, shown[1:], strict=True)]
        return {
            "tokens": shown,
            "token_logprobs": [None, *(own for own, _, _ in scores)],
            "top_logprobs": [None, *tops],
            "text_offset": offsets,
        }

    # ── the tokenizer ────────────────────────────────────────────────────────────────────────────────────────────────

    def encode(self, text: str) -> list[int]:
        """The ids of a text's tokens, without special ones but those that stand in it."""
        return [self._id(token) for token in self._cut(text)]

    def _cut(self, text: str) -> list[bytes]:
        pieces = PIECES.findall(text)
        if not self.split:
            return [piece.encode() for piece in pieces]
        return [token for piece in pieces for token in _bytes(piece)]

    def _prompt(self, prompt: str | Sequence[int]) -> list[bytes]:
        if not isinstance(prompt, str):
            return [self._token(each) for each in prompt]
        return self._cut(prompt) if self.bos == "none" else [BOS.encode(), *self._cut(prompt)]

    def _shown(self, token: bytes) -> str:
        text = token.decode(errors="replace")
        return text if self.spaces or text == " " else text.removeprefix(" ")

    def _id(self, token: bytes) -> int:
        with self._growing:
            if token not in self._ids:
                self._ids[token] = len(self._tokens) + 1
                self._tokens.append(token)
            return self._ids[token]

    def _token(self, number: int) -> bytes:
        return self._tokens[number - 1]


def score(tokens: Sequence[bytes]) -> tuple[float, float, str]:
    """Of the last of some tokens after the others: its log-probability, the highest there, and whose that is."""
    drawn = hashlib.sha256(b"\0".join(tokens)).digest()
    own = -0.01 - int.from_bytes(drawn[:6], "big") / 2.0**44
    if drawn[6] < 192:
        return own, own, tokens[-1].decode(errors="replace")
    return own, own / 2, "\n\n\n"


def _several(prompt: Any) -> list[str | Sequence[int]]:
    """The prompts of a request, which has one or several, as texts or ids."""
    return list(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else [prompt]


def _bytes(piece: str) -> list[bytes]:
    """A piece, of which each byte of what is not ASCII stands by itself."""
    parts = re.findall(rb"[\x00-\x7f]+|[\x80-\xff]", piece.encode())
    return [bytes(part) for part in parts]
