"""A server that speaks Ollama's protocol: chats, raw completions, and the lists of installed and loaded models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.loopback.server import Exchange, Fault, LoopbackServer, Reply

TIMES = {"total_duration": 4_000_000_000, "load_duration": 1_000_000_000, "prompt_eval_duration": 500_000_000}
TIMES["eval_duration"] = 2_500_000_000
"""What every answer took, in nanoseconds."""


class OllamaServer(LoopbackServer):
    """`/api/chat` and `/api/generate` (streamed or whole), `/api/tags` and `/api/ps`. See LoopbackServer.

    A model without a tag is `:latest`.

    context: the tokens, here words, of context with which every model is loaded; None: the server is too old to tell.
    strict: whether it knows `truncate`; one that does not answers a prompt that is too long as if it were not.
    weights: stands for what the models are made of: another gives other digests. looked_up: the paths of what was got.
    """

    def __init__(self, *args: Any, context: int | None = None, strict: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self.context, self.strict = context, strict
        self.looked_up: list[str] = []
        self.weights = ""

    def _get(self, exchange: Exchange, path: str) -> None:
        self.looked_up.append(path)
        if path not in ("/api/tags", "/api/ps") or self.models is None:
            exchange.json(404, self._error("no such page", {}))
            return
        more = {"context_length": self.context} if path == "/api/ps" and self.context is not None else {}
        listed = [
            {"name": name, "model": name, "size": 1, "digest": digest(name + self.weights), **more}
            for name in self.models
        ]
        exchange.json(200, {"models": listed})

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if path not in ("/api/chat", "/api/generate"):
            exchange.json(404, self._error("no such page", {}))
            return
        received = self._receive(exchange, path, body)
        if received is None:
            return
        if self.strict and body.get("truncate") is False and self.context is not None:
            said = [message["content"] for message in body.get("messages", ())] or [body["prompt"]]
            if len(" ".join(said).split()) > self.context:
                exchange.json(400, self._error("the input length exceeds the context length", {}))
                return
        self._answer(exchange, path, body, *received)

    def _answer(self, exchange: Exchange, path: str, body: dict[str, Any], reply: Reply, fault: Fault) -> None:
        chat = path == "/api/chat"
        parts = list(_parts(body["model"], reply, chat))
        if body.get("stream", True):
            exchange.stream("application/x-ndjson", [_line(part) for part in parts], fault)
            return
        said = {"content": reply.text or "", "thinking": reply.thinking}
        exchange.json(200, {**parts[-1], **_said(chat, **said)})

    def _callable_names(self) -> tuple[str, ...]:
        names = self.models or ()
        return (*names, *(name.removesuffix(":latest") for name in names))

    def _error(self, words: str, fields: Mapping[str, Any]) -> Any:
        return {"error": words, **fields}


def digest(name: str) -> str:
    """The digest with which a model is listed."""
    return hashlib.sha256(name.encode()).hexdigest()


def _said(chat: bool, content: str = "", **more: str) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": content, **more}} if chat else {"response": content, **more}


def _parts(model: str, reply: Reply, chat: bool) -> Iterator[dict[str, Any]]:
    for piece in Reply(reply.thinking).cut():
        yield {"model": model, **_said(chat, thinking=piece), "done": False}
    for piece in reply.cut():
        yield {"model": model, **_said(chat, piece), "done": False}
    if reply.finish_reason is not None:
        counted = {} if reply.usage is None else {"prompt_eval_count": reply.usage[0], "eval_count": reply.usage[1]}
        times = {} if reply.usage is None else TIMES
        yield {"model": model, **_said(chat), "done": True, "done_reason": reply.finish_reason, **counted, **times}


def _line(part: dict[str, Any]) -> bytes:
    # Like Go's encoder, which leaves all but these two as they are.
    line = json.dumps(part, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return line.encode() + b"\n"
