"""A server that speaks Ollama's protocol: chats and the list of installed models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.loopback.server import Exchange, LoopbackServer, Reply


class OllamaServer(LoopbackServer):
    """`/api/chat` (streamed or whole) and `/api/tags`. A model without a tag is `:latest`. See LoopbackServer."""

    def _get(self, exchange: Exchange, path: str) -> None:
        if path == "/api/tags" and self.models is not None:
            exchange.json(200, {"models": [{"name": name, "model": name, "size": 1} for name in self.models]})
        else:
            exchange.json(404, self._error("no such page", {}))

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if path != "/api/chat":
            exchange.json(404, self._error("no such page", {}))
            return
        received = self._receive(exchange, path, body)
        if received is None:
            return
        reply, fault = received
        parts = list(_parts(body["model"], reply))
        if body.get("stream", True):
            exchange.stream("application/x-ndjson", [_line(part) for part in parts], fault)
        else:
            message = {"role": "assistant", "content": reply.text or "", "thinking": reply.thinking}
            exchange.json(200, {**parts[-1], "message": message})

    def _callable_names(self) -> tuple[str, ...]:
        names = self.models or ()
        return (*names, *(name.removesuffix(":latest") for name in names))

    def _error(self, words: str, fields: Mapping[str, Any]) -> Any:
        return {"error": words, **fields}


def _parts(model: str, reply: Reply) -> Iterator[dict[str, Any]]:
    def part(**message: str) -> dict[str, Any]:
        return {"model": model, "message": {"role": "assistant", "content": "", **message}, "done": False}

    for piece in Reply(reply.thinking).cut():
        yield part(thinking=piece)
    for piece in reply.cut():
        yield part(content=piece)
    if reply.finish_reason is not None:
        counts = {} if reply.usage is None else {"prompt_eval_count": reply.usage[0], "eval_count": reply.usage[1]}
        yield {**part(), "done": True, "done_reason": reply.finish_reason, "total_duration": 1, **counts}


def _line(part: dict[str, Any]) -> bytes:
    # Like Go's encoder, which leaves all but these two as they are.
    line = json.dumps(part, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return line.encode() + b"\n"
