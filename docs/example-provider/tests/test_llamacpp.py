"""The provider against a small server that speaks llama.cpp's protocol, over real HTTP."""

# ruff: noqa: D102, D103

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
from touchstone_llamacpp import LlamaCpp

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Answers, Completion, Message, Prompt, Request, SamplingParams
from models.failures import Transient

KEY = "llama-A1b2C3d4E5f6G7h8wxyz"
TEXT = "    return a + b  # añadir ∑ 😀 \u2028 \x85\r\n\n"
LAST = {
    "content": "",
    "stop": True,
    "stop_type": "eos",
    "model": "coder",
    "tokens_evaluated": 7,
    "tokens_predicted": 11,
    "truncated": False,
    "timings": {"prompt_n": 7, "prompt_ms": 250.0, "predicted_n": 11, "predicted_ms": 1500.0},
}


class Server(ThreadingHTTPServer):
    """Answers `TEXT`, and then `last`; or replies with `status`. `events` takes the place of the stream."""

    daemon_threads = True

    def __init__(
        self,
        last: Mapping[str, Any] = LAST,
        *,
        events: tuple[str, ...] | None = None,
        status: int = 200,
        message: str = "Loading model",
        retry_after: str | None = None,
        key: str | None = None,
        models: tuple[str, ...] | None = ("coder",),
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        pieces = [json.dumps({"content": TEXT[i : i + 3], "stop": False}, ensure_ascii=False) for i in range(0, 60, 3)]
        self.events = (*pieces, json.dumps(last)) if events is None else events
        self.status, self.message, self.retry_after = status, message, retry_after
        self.key, self.models = key, models
        self.received: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server

    def do_GET(self) -> None:
        if self._let_in():
            models = self.server.models
            self._reply(404 if models is None else 200, {"data": [{"id": name} for name in models or ()]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.received.append({"path": self.path, **body})
        if not self._let_in():
            return
        if self.server.status != 200:
            self._reply(self.server.status, {"error": {"code": self.server.status, "message": self.server.message}})
            return
        self.send_response(200)
        self.end_headers()
        data = "".join(f": ping\n\ndata: {event}\n\n" for event in self.server.events).encode()
        for i in range(0, len(data), 61):  # so odd that events and characters are split
            self.wfile.write(data[i : i + 61])

    def _let_in(self) -> bool:
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.server.key in (None, sent):
            return True
        self._reply(401, {"error": {"code": 401, "message": f"Invalid API Key: {sent}"}})
        return False

    def _reply(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        if self.server.retry_after is not None:
            self.send_header("Retry-After", self.server.retry_after)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: request lines are no news."""


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("LLAMACPP_API_KEY", KEY)
    monkeypatch.delenv("LLAMACPP_BASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    yield


def generate(
    server: Server | str, prompt: Prompt = "def add(a, b):\n", *, index: int = 0, name: str = "coder", **asked: Any
) -> Completion:
    request = Request("s", "t/0", index, 0, prompt, SamplingParams(**asked), Answers("", ("",)))

    async def ask() -> Completion:
        async with asyncio.timeout(30), model_of(server, name) as model:
            return await model.generate(request)

    return asyncio.run(ask())


def check(server: Server | str, name: str = "coder") -> None:
    async def ask() -> None:
        async with asyncio.timeout(30), model_of(server, name) as model:
            await model.check()

    asyncio.run(ask())


def model_of(server: Server | str, name: str) -> LlamaCpp:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LLAMACPP_BASE_URL", server if isinstance(server, str) else server.url)
        return LlamaCpp(name)


def test_generate_when_answered_then_has_the_text_to_the_last_byte_and_the_servers_own_times() -> None:
    with Server() as server:
        completion = generate(server)
    assert completion.text == TEXT
    assert (completion.finish_reason, completion.model_served) == ("stop", "coder")
    assert (completion.input_tokens, completion.output_tokens) == (7, 11)
    assert completion.timings == {"prompt": 0.25, "generation": 1.5}
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


@pytest.mark.parametrize(
    ("last", "meant"),
    [
        ({"stop_type": "word"}, "stop"),
        ({"stop_type": "limit"}, "length"),
        ({"truncated": True}, "length"),
        ({"stop_type": "none"}, "other"),
    ],
)
def test_generate_when_finished_then_says_why(last: dict[str, Any], meant: str) -> None:
    with Server({**LAST, **last}) as server:
        assert generate(server).finish_reason == meant


def test_generate_when_the_server_counts_nothing_then_tokens_and_times_are_unknown() -> None:
    with Server({"content": "", "stop": True, "stop_type": "eos"}) as server:
        completion = generate(server)
    assert (completion.input_tokens, completion.output_tokens, completion.timings) == (None, None, {})


def test_generate_when_parameters_are_given_then_sends_all_of_them_and_parameters_names_them() -> None:
    stops = tuple(f"\n{word}" for word in ("def", "class", "if", "print", "#", "@"))
    asked = SamplingParams(temperature=0.2, top_p=0.9, max_tokens=64, seed=40, stop=stops)
    with Server() as server:
        generate(server, index=3, temperature=0.2, top_p=0.9, max_tokens=64, seed=40, stop=stops)
        model = model_of(server, "coder")
    options = {"model": "coder", "temperature": 0.2, "top_p": 0.9, "n_predict": 64, "seed": 43, "stop": list(stops)}
    sent = {"path": "/completion", "prompt": "def add(a, b):\n", "stream": True}
    assert server.received == [{**sent, **options}]
    request = Request("s", "t/0", 3, 0, "def add(a, b):\n", asked, Answers("", ("",)))
    assert model.parameters(request) == {"endpoint": f"{server.url}/completion", **options}


def test_generate_when_parameters_are_left_to_the_server_then_sends_none() -> None:
    with Server() as server:
        generate(server, temperature=None)
    assert set(server.received[0]) == {"path", "prompt", "stream", "model"}


def test_generate_when_the_prompt_is_a_chat_then_says_that_it_continues_texts() -> None:
    with pytest.raises(UsageError, match="--prompt-style completion"):
        generate("http://127.0.0.1:1", (Message("user", "Write add."),))


PIECE = json.dumps({"content": "x", "stop": False})


@pytest.mark.parametrize(
    "events",
    [
        (PIECE,),
        (PIECE, '{"content": "x", "st'),
        (PIECE, '{"content": 1, "stop": false}'),
        (PIECE, "[]"),
        (PIECE, '{"error": {"code": 500, "message": "out of memory"}}'),
    ],
)
def test_generate_when_the_stream_breaks_then_another_request_may_fare_better(events: tuple[str, ...]) -> None:
    with Server(events=events) as server, pytest.raises(Transient):
        generate(server)
    assert len(server.received) == 1


def test_generate_when_the_server_is_busy_then_says_how_long_to_wait() -> None:
    with Server(status=503, retry_after="3") as server, pytest.raises(Transient, match="Loading model") as caught:
        generate(server)
    assert caught.value.retry_after_s == 3
    assert len(server.received) == 1


def test_generate_when_the_server_has_gone_then_another_request_may_fare_better() -> None:
    with Server() as server:
        pass
    with pytest.raises(Transient, match=server.url):
        generate(server)


@pytest.mark.parametrize("in_stream", [False, True])
def test_generate_when_the_prompt_is_too_long_then_it_has_no_answer(in_stream: bool) -> None:
    event = '{"error": {"code": 400, "message": "exceeds the available context size"}}'
    failing = Server(events=(event,)) if in_stream else Server(status=400, message="exceeds the available context size")
    with failing as server, pytest.raises(GenerationError, match="context size") as caught:
        generate(server)
    assert type(caught.value) is GenerationError


@pytest.mark.parametrize("ask", [generate, check])
def test_any_when_the_key_is_wrong_then_the_error_names_the_variable_and_shows_no_part_of_the_key(ask: Any) -> None:
    with Server(key="another") as server, pytest.raises(UsageError, match="set LLAMACPP_API_KEY") as caught:
        ask(server)
    shown = "".join(traceback.format_exception(caught.value))
    assert KEY not in shown and "Invalid API Key" in shown
    assert caught.value.__context__ is None


def test_check_when_the_model_is_there_then_passes_and_asks_nothing() -> None:
    with Server(key=KEY) as server:
        check(server)
    assert server.received == []


def test_check_when_the_server_lists_no_models_then_passes() -> None:
    with Server(models=None) as server:
        check(server)


def test_check_when_the_model_is_another_then_names_it_and_the_mend() -> None:
    with Server() as server, pytest.raises(UnknownName, match=r"'code'.*did you mean 'coder'.*--alias code"):
        check(server, "code")


def test_check_when_no_server_answers_then_names_the_address_and_the_mend() -> None:
    with Server() as server:
        pass
    with pytest.raises(ServerUnreachable, match=rf"{server.url}.*llama-server -m.*LLAMACPP_BASE_URL"):
        check(server)


@pytest.mark.parametrize("url", ["http://h:port", "h:1", "ftp://h", "http://me:secret-pass@h\x7f"])
def test_model_when_the_address_is_none_then_names_the_variable_and_shows_no_password(url: str) -> None:
    with pytest.raises(TouchstoneError, match="LLAMACPP_BASE_URL is no address") as caught:
        model_of(url, "coder")
    assert "secret-pass" not in "".join(traceback.format_exception(caught.value))


def test_model_when_the_address_holds_a_password_then_shows_none() -> None:
    model = model_of("https://me:secret-pass@h/prefix/", "coder")
    assert model.url == "https://h/prefix"
    asyncio.run(model.aclose())
