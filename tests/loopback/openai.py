"""A server that speaks OpenAI's protocol: chats, raw completions, and the list of models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.loopback.server import Exchange, LoopbackServer, Reply


class OpenAIServer(LoopbackServer):
    """`/v1/chat/completions`, `/v1/completions` (streamed or whole) and `/v1/models`. See LoopbackServer."""

    details: Mapping[str, dict[str, Any]] = {}
    """What the list says more of a model."""

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def _get(self, exchange: Exchange, path: str) -> None:
        if path == "/v1/models" and self.models is not None:
            known = {"object": "model", "created": 0, "owned_by": "loopback"}
            data = [{"id": name, **known, **self.details.get(name, {})} for name in self.models]
            exchange.json(200, {"object": "list", "data": data})
        else:
            exchange.json(404, self._error("no such page", {}))

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        if path not in ("/v1/chat/completions", "/v1/completions"):
            exchange.json(404, self._error("no such page", {}))
            return
        received = self._receive(exchange, path, body)
        if received is None:
            return
        reply, fault = received
        chat = "messages" in body
        if not body.get("stream"):
            exchange.json(200, _whole(body["model"], reply, chat))
            return
        chunks = list(_chunks(reply, chat))
        if reply.usage and body.get("stream_options", {}).get("include_usage"):
            chunks.append({"choices": [], "usage": _usage(reply)})
        head = {"id": "c-1", "object": "chat.completion.chunk" if chat else "text_completion", "created": 0}
        events = [{**head, "model": f"{body['model']}-served", **chunk} for chunk in chunks]
        exchange.stream(
            "text/event-stream", [_event(json.dumps(e, ensure_ascii=False)) for e in events] + [_event("[DONE]")], fault
        )


def _chunks(reply: Reply, chat: bool) -> Iterator[dict[str, Any]]:
    def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        content = {"delta": delta} if chat else {"text": delta.get("content", "")}
        return {"choices": [{"index": 0, "finish_reason": finish, **content}]}

    if chat:
        yield chunk({"role": "assistant", "content": None if reply.text is None else ""})
        for piece in Reply(reply.thinking).cut():
            yield chunk({"reasoning_content": piece})
        for piece in Reply(reply.refusal).cut():
            yield chunk({"refusal": piece})
    for piece in reply.cut():
        yield chunk({"content": piece})
    if reply.finish_reason is not None:
        yield chunk({}, reply.finish_reason)


def _whole(model: str, reply: Reply, chat: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal or None}
    content = {"message": message} if chat else {"text": reply.text}
    return {
        "id": "c-1",
        "object": "chat.completion" if chat else "text_completion",
        "created": 0,
        "model": f"{model}-served",
        "choices": [{"index": 0, "finish_reason": reply.finish_reason, **content}],
        "usage": _usage(reply),
    }


def _usage(reply: Reply) -> dict[str, int] | None:
    if reply.usage is None:
        return None
    read, written = reply.usage
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(data: str) -> bytes:
    # Half a character, as UTF-16 splits it, has to be escaped.
    return f"data: {data}\n\n".encode(errors="backslashreplace")
