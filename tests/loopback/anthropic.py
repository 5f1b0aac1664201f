"""A server that speaks Anthropic's protocol: chats, and the list of models in pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.loopback.server import Exchange, LoopbackServer, Reply

PAGE = 2
"""The most models on a page, however many are asked for."""
_REASONS = {"stop": "end_turn", "length": "max_tokens"}


class AnthropicServer(LoopbackServer):
    """`/v1/messages` (streamed or whole), `/v1/models` and `/v1/models/NAME`. See LoopbackServer.

    A listed name that ends with a date is called without it too. A reply's `pieces` come in a block of text each, and
    its finish reasons `stop` and `length` by the names that they have here.
    """

    def _get(self, exchange: Exchange, path: str) -> None:
        parts = urlsplit(path)
        name = unquote(parts.path.removeprefix("/v1/models").removeprefix("/"))
        if not parts.path.startswith("/v1/models") or self.models is None:
            exchange.json(404, self._error("no such page", {"type": "not_found_error"}))
        elif not name:
            exchange.json(200, _page(self.models, (parse_qs(parts.query).get("after_id") or [""])[0]))
        elif name in self._callable_names():
            exchange.json(200, _model(next(each for each in self.models if name in (each, _undated(each)))))
        else:
            exchange.json(404, self._error(f"model: {name}", {"type": "not_found_error"}))

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if path != "/v1/messages":
            exchange.json(404, self._error("no such page", {"type": "not_found_error"}))
            return
        received = self._receive(exchange, path, body)
        if received is None:
            return
        reply, fault = received
        if body.get("stream"):
            exchange.stream("text/event-stream", [_event(each) for each in _events(body["model"], reply)], fault)
        else:
            exchange.json(200, _whole(body["model"], reply))

    def _callable_names(self) -> tuple[str, ...]:
        names = self.models or ()
        return (*names, *map(_undated, names))

    def _error(self, words: str, fields: Mapping[str, Any]) -> Any:
        return {"type": "error", "error": {"type": "api_error", "message": words, **fields}, "request_id": "req_1"}


def _undated(name: str) -> str:
    return re.sub(r"-\d{8}$", "", name)


def _model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def _page(names: tuple[str, ...], after: str) -> dict[str, Any]:
    start = names.index(after) + 1 if after else 0
    shown = names[start : start + PAGE]
    return {
        "data": [_model(name) for name in shown],
        "has_more": start + PAGE < len(names),
        "first_id": shown[0] if shown else None,
        "last_id": shown[-1] if shown else None,
    }


def _events(model: str, reply: Reply) -> Iterator[dict[str, Any]]:
    whole = _whole(model, reply)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    yield {"type": "ping"}
    for index, block in enumerate(whole["content"]):
        kind = block["type"]
        yield {"type": "content_block_start", "index": index, "content_block": {"type": kind, kind: ""}}
        deltas = [{"type": f"{kind}_delta", kind: piece} for piece in Reply(block[kind]).cut()]
        if kind == "thinking":
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "ping"}
        yield {"type": "content_block_stop", "index": index}
    if reply.finish_reason is None:
        return
    delta: dict[str, Any] = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = None if reply.usage is None else {"output_tokens": reply.usage[1]}
    yield {"type": "message_delta", "delta": delta, "usage": usage}
    yield {"type": "message_stop"}


def _whole(model: str, reply: Reply) -> dict[str, Any]:
    thinking = [{"type": "thinking", "thinking": reply.thinking, "signature": "EqQB"}] if reply.thinking else []
    texts = [{"type": "text", "text": piece} for piece in reply.pieces or ((reply.text,) if reply.text else ())]
    reason = reply.finish_reason
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": f"{model}-served",
        "content": [*thinking, *texts],
        "stop_reason": reason and _REASONS.get(reason, reason),
        "stop_sequence": None,
        "usage": reply.usage and dict(zip(("input_tokens", "output_tokens"), reply.usage, strict=True)),
    }


def _event(data: dict[str, Any]) -> bytes:
    # Half a character, as UTF-16 splits it, has to be escaped.
    text = json.dumps(data, ensure_ascii=False)
    return f"event: {data['type']}\ndata: {text}\n\n".encode(errors="backslashreplace")
