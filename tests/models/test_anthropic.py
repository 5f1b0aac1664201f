from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, Message, Prompt
from models.anthropic import Anthropic
from models.failures import Transient
from tests.loopback import AnthropicServer, Fault, Reply
from tests.models.asking import CHAT, request

KEY = "sk-ant-api03-A1b2C3d4E5f6G7h8wxyz"
TEXT = "def añadir(a, b):\r\n\treturn a + b  # ∑ 😀 \u2028 \x85 e\u0301\n\n"
BEGUN = (*CHAT, Message("assistant", "def add("))


@pytest.fixture(autouse=True)
def _no_settings_of_anthropics(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("API_KEY", "AUTH_TOKEN", "BASE_URL", "CUSTOM_HEADERS", "PROFILE"):
        monkeypatch.delenv(f"ANTHROPIC_{variable}", raising=False)


def model_of(server: AnthropicServer | str, name: str = "m", key: str = KEY, **can: Any) -> Anthropic:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANTHROPIC_BASE_URL", server if isinstance(server, str) else server.url)
        patch.setenv("ANTHROPIC_API_KEY", key)
        model = Anthropic(name)
    model.capabilities = replace(model.capabilities, **can)
    return model


async def complete(
    server: AnthropicServer, prompt: Prompt = CHAT, can: dict[str, Any] | None = None, **asked: Any
) -> Completion:
    async with asyncio.timeout(30), model_of(server, **can or {}) as model:
        return await model.generate(request(prompt, **asked))


async def failing(fault: Fault, expected: type[TouchstoneError]) -> TouchstoneError:
    with AnthropicServer(says(TEXT), faults=lambda _: fault) as server, pytest.raises(expected) as caught:
        await complete(server)
    assert len(server.requests) == 1 and type(caught.value) is expected
    return caught.value


def says(text: str | Reply) -> Callable[[dict[str, Any]], str | Reply]:
    return lambda _: text


def event(kind: str, data: str) -> str:
    return f"event: {kind}\ndata: {data}\n\n"


def in_stream(kind: str) -> Fault:
    """An error in place of the event halfway."""
    return Fault(garbled=event("error", f'{{"type":"error","error":{{"type":"{kind}","message":"out of order"}}}}'))


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_answered_then_has_the_text_to_the_last_byte_and_all_that_was_said_of_it() -> None:
    with AnthropicServer(says(TEXT)) as server:
        completion = await complete(server)
    assert completion.text == TEXT
    assert (completion.finish_reason, completion.thinking, completion.answer_at) == ("stop", None, 0)
    assert (completion.input_tokens, completion.output_tokens) == (7, 11)
    assert completion.model_served == "m-served"
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


async def test_generate_when_the_server_is_slow_to_start_then_the_time_to_the_first_token_says_so() -> None:
    with AnthropicServer(says("x"), latency_s=0.05) as server:
        completion = await complete(server)
    assert completion.ttft_s is not None and completion.ttft_s >= 0.05


async def test_generate_when_the_text_comes_in_several_blocks_then_they_are_joined() -> None:
    with AnthropicServer(says(Reply("", pieces=("def add(a, b):\n", "", "    return a + b\n")))) as server:
        assert (await complete(server)).text == "def add(a, b):\n    return a + b\n"


async def test_generate_when_characters_come_in_halves_then_they_are_whole() -> None:
    with AnthropicServer(says(Reply("", pieces=("a\ud83d", "\ude00b")))) as server:
        assert (await complete(server)).text == "a😀b"


async def test_generate_when_the_model_thinks_then_its_thinking_is_kept_apart() -> None:
    with AnthropicServer(says(Reply("answer", thinking="hm, ∑ and so on"))) as server:
        completion = await complete(server)
    assert (completion.text, completion.thinking) == ("answer", "hm, ∑ and so on")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "refusal"),
        ("pause_turn", "other"),
        ("of a later day", "other"),
    ],
)
async def test_generate_when_finished_then_says_why(said: str, meant: str) -> None:
    with AnthropicServer(says(Reply("x", finish_reason=said))) as server:
        assert (await complete(server)).finish_reason == meant


async def test_generate_when_nothing_is_answered_then_is_an_empty_text() -> None:
    with AnthropicServer(says(Reply(None, finish_reason="refusal"))) as server:
        completion = await complete(server)
    assert (completion.text, completion.finish_reason, completion.ttft_s) == ("", "refusal", None)


async def test_generate_when_the_server_counts_no_tokens_then_they_are_none() -> None:
    with AnthropicServer(says(Reply("x", usage=None))) as server:
        completion = await complete(server)
    assert (completion.input_tokens, completion.output_tokens) == (None, None)


async def test_generate_when_some_of_the_prompt_was_cached_then_it_counts_as_read() -> None:
    usage = '{"cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 5}'
    counted = event("message_delta", f'{{"type": "message_delta", "delta": {{}}, "usage": {usage}}}')
    with AnthropicServer(says("abcdef"), faults=lambda _: Fault(garbled=counted)) as server:
        completion = await complete(server)
    assert (completion.input_tokens, completion.output_tokens) == (127, 11)


async def test_generate_when_an_event_is_of_a_kind_of_a_later_day_then_passes_over_it() -> None:
    strange = event("content_block_delta", '{"type": "content_block_delta", "delta": {"type": "colour_delta"}}')
    strange += event("weather", '{"type": "weather", "sunny": true}')
    with AnthropicServer(says(Reply("", pieces=("abc", "def"))), faults=lambda _: Fault(garbled=strange)) as server:
        completion = await complete(server)
    assert (completion.text, completion.finish_reason) == ("abcdef", "stop")


async def test_generate_when_many_at_once_then_each_has_its_own_answer() -> None:
    with AnthropicServer(lambda body: f"{body['messages'][0]['content']} {TEXT}" * 5, latency_s=0.01) as server:
        async with model_of(server) as model:
            asked = [request((Message("user", str(i)),)) for i in range(64)]
            completions = await asyncio.gather(*map(model.generate, asked))
    assert [completion.text for completion in completions] == [f"{i} {TEXT}" * 5 for i in range(64)]


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_the_chat_has_system_messages_then_they_have_a_place_of_their_own() -> None:
    with AnthropicServer() as server:
        await complete(server, (*CHAT, Message("system", "In Python.")))
    received = server.requests[0]
    assert received.path == "/v1/messages"
    assert received.body["system"] == "Be brief.\n\nIn Python."
    assert received.body["messages"] == [{"role": "user", "content": "Write add."}]


async def test_generate_when_parameters_are_given_then_sends_and_records_them() -> None:
    asked = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "seed": 40, "stop": ("a",)}
    can = {"temperature": True, "top_p": True}
    with AnthropicServer() as server:
        await complete(server, can=can, **asked)
    sent = {"model": "m", "temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "stop_sequences": ["a"]}
    prompt = {"messages": [{"role": "user", "content": "Write add."}], "system": "Be brief."}
    assert server.requests[0].body == {**sent, **prompt, "stream": True}
    # Newer versions of the protocol refuse sampling parameters.
    assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
    async with model_of(server, **can) as model:
        assert model.parameters(request(**asked)) == {"endpoint": f"{server.url}/v1/messages", **sent}


@pytest.mark.parametrize(("can", "limit"), [({}, 16384), ({"max_output": 8192}, 8192), ({"max_output": 128000}, 16384)])
async def test_generate_when_no_limit_is_asked_for_then_sends_and_records_the_models_own_or_a_default(
    can: dict[str, Any], limit: int
) -> None:
    with AnthropicServer() as server:
        await complete(server, can=can, temperature=None)
    body = server.requests[0].body
    assert set(body) == {"model", "max_tokens", "messages", "system", "stream"} and body["max_tokens"] == limit
    async with model_of(server, **can) as model:
        assert model.parameters(request())["max_tokens"] == limit


async def test_generate_when_nothing_is_known_of_the_model_then_sends_no_temperature() -> None:
    with AnthropicServer() as server:
        await complete(server, temperature=0.5, top_p=0.5)
    assert server.requests[0].headers["anthropic-version"] > "2023-06-01"
    assert not {"temperature", "top_p"} & set(server.requests[0].body)


async def test_generate_when_stops_are_white_space_then_they_take_no_place_of_those_that_are_sent() -> None:
    with AnthropicServer() as server:
        await complete(server, stop=("\n\n", "", " \t", "\ndef", "\nclass", "\nif", "\nprint", "\n#"))
    assert server.requests[0].body["stop_sequences"] == ["\ndef", "\nclass", "\nif", "\nprint"]


async def test_generate_when_all_stops_are_white_space_then_sends_none() -> None:
    with AnthropicServer() as server:
        await complete(server, stop=("\n\n",))
    assert "stop_sequences" not in server.requests[0].body


async def test_generate_when_the_prompt_is_to_be_continued_then_says_that_it_takes_chats_alone() -> None:
    async with model_of("http://127.0.0.1:1") as model:
        with pytest.raises(UsageError, match="--prompt-style instruct"):
            await model.generate(request("def add(a, b):\n"))


async def test_generate_when_the_answer_has_begun_and_the_model_goes_on_from_it_then_is_sent_its_beginning() -> None:
    with AnthropicServer() as server:
        await complete(server, BEGUN, can={"prefill": True})
    assert server.requests[0].body["messages"][-1] == {"role": "assistant", "content": "def add("}


async def test_generate_when_the_answer_has_begun_and_the_model_does_not_go_on_from_it_then_is_a_usage_error() -> None:
    with AnthropicServer() as server, pytest.raises(UsageError, match=r"catalog: \{anthropic/m: \{prefill: true\}\}"):
        await complete(server, BEGUN)
    assert server.requests == []


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("fault", "throttled"),
    [
        *((Fault(status=status), False) for status in (408, 409, 500, 503)),
        (Fault(status=529), True),
        (Fault(status=429, error={"type": "rate_limit_error"}), True),
        (in_stream("overloaded_error"), True),
        (in_stream("api_error"), False),
        (in_stream("of a later day"), False),
        (in_stream("rate_limit_error"), True),
        (Fault(garbled=event("error", "out of order")), False),
        (Fault(cut=True), False),
        (Fault(garbled="data: {]\n\n"), False),
        (Fault(garbled="data: {}\n\n"), False),
        (Fault(garbled='event: content_block_delta\ndata: {"type": "ping"}\n\n'), False),
        (Fault(garbled=event("content_block_delta", '{"type": "content_bl')), False),
        (Fault(garbled=event("content_block_delta", '{"type": "content_block_delta", "delta": "oops"}')), False),
        (Fault(garbled=event("content_block_delta", '["oops"]')), False),
    ],
    ids=repr,
)
async def test_generate_when_a_request_fails_in_passing_then_is_transient(fault: Fault, throttled: bool) -> None:
    error = await failing(fault, Transient)
    assert isinstance(error, Transient) and (error.throttled, error.retry_after_s) == (throttled, None)


@pytest.mark.parametrize("status", [429, 503, 529])
async def test_generate_when_the_server_says_when_to_come_back_then_the_failure_does(status: int) -> None:
    error = await failing(Fault(status=status, retry_after="86400"), Transient)
    assert isinstance(error, Transient) and error.retry_after_s == 86400


@pytest.mark.parametrize(
    "fault",
    [
        None,
        Fault(garbled=event("message_delta", '{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}')),
        Fault(garbled=event("message_stop", '{"type": "message_stop"}')),
    ],
    ids=["no end", "no stop", "no reason"],
)
async def test_generate_when_the_answer_is_never_finished_then_is_transient(fault: Fault | None) -> None:
    never = AnthropicServer(says(Reply(TEXT, finish_reason=None)), faults=lambda _: fault)
    with never as server, pytest.raises(Transient, match="ended before the answer did"):
        await complete(server)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, error={"type": "invalid_request_error"}),
        Fault(status=413, error={"type": "request_too_large"}),
        in_stream("invalid_request_error"),
    ],
    ids=repr,
)
async def test_generate_when_the_request_is_wrong_then_is_a_generation_error_with_the_servers_words(
    fault: Fault,
) -> None:
    error = await failing(fault, GenerationError)
    assert ": out of order" in str(error) and "{" not in str(error)


@pytest.mark.parametrize(
    ("fault", "mend"),
    [
        (Fault(status=401), "set ANTHROPIC_API_KEY"),
        (Fault(status=403), "set ANTHROPIC_API_KEY"),
        (Fault(status=404), "the model's name is right, and ANTHROPIC_BASE_URL"),
        (Fault(status=402, error={"type": "billing_error"}), "add credit"),
        (Fault(status=429, error={"details": {"error_code": "enforced_spend_limit_reached"}}), "add credit"),
        (in_stream("permission_error"), "set ANTHROPIC_API_KEY"),
    ],
    ids=repr,
)
async def test_generate_when_no_request_can_succeed_then_is_a_usage_error_with_the_servers_words(
    fault: Fault, mend: str
) -> None:
    error = await failing(fault, UsageError)
    assert "http://127.0.0.1" in str(error) and "out of order" in str(error) and mend in str(error)
    assert "\n" not in str(error)


async def test_generate_when_the_server_has_gone_then_is_transient() -> None:
    with AnthropicServer() as server:
        model = model_of(server)
    async with model:
        with pytest.raises(Transient, match=rf"{server.url}: Connection error"):
            await model.generate(request())


async def test_generate_when_cancelled_then_hangs_up() -> None:
    with AnthropicServer(says(TEXT), faults=lambda _: Fault(hold=True)) as server:
        async with model_of(server) as model:
            task = asyncio.create_task(model.generate(request()))
            assert await asyncio.to_thread(server.held.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.hung_up.wait, 10)


@pytest.mark.parametrize("kind", ["text/html", "text/event-stream"])
async def test_generate_when_something_else_than_an_answer_comes_then_its_beginning_is_quoted(kind: str) -> None:
    error = await failing(Fault(body=f"<html>\n <p>Log in, {KEY}</p>", kind=kind), Transient)
    assert "something else than an answer: <html> <p>Log in, [key]</p>" in str(error)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("overloaded_error", Transient), ("of a later day", Transient), ("authentication_error", UsageError)],
)
async def test_generate_when_an_error_comes_as_a_success_then_means_what_it_says(
    kind: str, expected: type[TouchstoneError]
) -> None:
    body = f'{{"type": "error", "error": {{"type": "{kind}", "message": "out of order"}}}}'
    error = await failing(Fault(body=body), expected)
    assert f"{kind}: out of order" in str(error)


@pytest.mark.parametrize("usage", ['{"input_tokens": "7", "output_tokens": null}', "[1]", '"x"'])
async def test_generate_when_the_counts_are_no_numbers_then_the_answer_counts_all_the_same(usage: str) -> None:
    start = '{"type": "message_start", "message": {"model": "m", "usage": ' + usage + "}}"
    odd = event("message_start", start)
    with AnthropicServer(says(Reply("abc", usage=None)), faults=lambda _: Fault(garbled=odd)) as server:
        completion = await complete(server)
    assert (completion.finish_reason, completion.input_tokens) == ("stop", None)


@pytest.mark.parametrize("reason", ["{}", '{"a": 1}', "7"])
async def test_generate_when_the_reason_is_no_word_then_is_another(reason: str) -> None:
    last = event("message_delta", f'{{"type": "message_delta", "delta": {{"stop_reason": {reason}}}}}')
    last += event("message_stop", '{"type": "message_stop"}')
    with AnthropicServer(says(Reply("x", finish_reason=None)), faults=lambda _: Fault(garbled=last)) as server:
        assert (await complete(server)).finish_reason == "other"


async def test_generate_when_sent_elsewhere_then_is_a_usage_error_and_nothing_is_asked_there() -> None:
    with AnthropicServer(says("x")) as other:
        error = await failing(Fault(status=307, location=f"{other.url}/v1/messages"), UsageError)
    assert "set ANTHROPIC_BASE_URL" in str(error) and other.requests == []


# ── keys and addresses ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_there_is_a_key_then_only_the_server_sees_it_under_both_its_names() -> None:
    with AnthropicServer(says("x"), key=KEY) as server:
        async with model_of(server) as model:
            completion = await model.generate(request())
            assert KEY not in repr(model) + repr(asdict(completion)) + repr(model.parameters(request()))
    headers = server.requests[0].headers
    assert (headers["authorization"], headers["x-api-key"]) == (f"Bearer {KEY}", KEY)


@pytest.mark.parametrize(
    ("url", "official"),
    [
        ("https://api.anthropic.com", True),
        ("https://eu.api.anthropic.com/", True),
        ("https://api.anthropic.com.example.org", False),
        ("https://notanthropic.com", False),
    ],
)
async def test_model_when_at_anthropic_itself_then_is_official_and_the_key_has_one_name(
    url: str, official: bool
) -> None:
    async with model_of(url) as model:
        assert model.official is official
        assert ("x-api-key" in model._client.default_headers) is not official


@pytest.mark.parametrize("method", ["check", "generate"])
async def test_any_when_the_key_is_wrong_then_the_error_names_the_variable_and_shows_no_part_of_the_key(
    method: str,
) -> None:
    with AnthropicServer(key="another") as server:
        async with model_of(server) as model:
            with pytest.raises(UsageError, match=r"Incorrect API key.*set ANTHROPIC_API_KEY") as caught:
                await (model.check() if method == "check" else model.generate(request()))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown and KEY[:8] not in shown and KEY[-4:] not in shown
    assert caught.value.__context__ is None and caught.value.__cause__ is None


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(cut=True), in_stream("api_error")], ids=repr)
async def test_generate_when_it_fails_then_no_error_of_the_client_hangs_on(fault: Fault) -> None:
    error = await failing(fault, Transient)
    assert error.__context__ is None and error.__cause__ is None


def test_model_when_a_key_is_missing_then_names_the_variable() -> None:
    with pytest.raises(UsageError, match="anthropic needs a key: set ANTHROPIC_API_KEY"):
        Anthropic("m")


async def test_model_when_the_settings_are_in_dotenv_then_takes_them_from_there() -> None:
    with AnthropicServer(says("x"), key=KEY) as server:
        Path(".env").write_text(f"ANTHROPIC_API_KEY={KEY}\nANTHROPIC_BASE_URL={server.url}\n")
        async with Anthropic("m") as model:
            assert (await model.generate(request())).text == "x"


async def test_model_when_at_another_server_then_needs_no_key_and_no_other_of_the_machines_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with AnthropicServer(says("x")) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)
        monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "for somebody else")
        async with Anthropic("m") as model:
            assert (await model.generate(request())).text == "x"
    headers = server.requests[0].headers
    assert headers["authorization"] == "Bearer none" and "x-api-key" not in headers


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "https:///v1"])
def test_model_when_the_address_is_none_then_names_the_variable(url: str) -> None:
    with pytest.raises(UsageError, match="ANTHROPIC_BASE_URL is no address of a server"):
        model_of(url)


async def test_model_when_the_address_holds_a_password_then_it_is_not_shown() -> None:
    with AnthropicServer(says("x"), faults=lambda n: Fault(status=500, words="geheimnis") if n > 1 else None) as server:
        async with model_of(server.url.replace("://", "://someone:geheimnis@")) as model:
            assert (await model.generate(request())).text == "x"
            with pytest.raises(Transient) as caught:
                await model.generate(request())
            assert model.url == server.url
    assert "geheimnis" not in str(caught.value)


async def test_generate_when_the_machine_has_headers_for_another_then_they_are_not_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gatekeeper")
    with AnthropicServer(says("x")) as server:
        await complete(server)
    assert server.requests[0].headers["x-api-key"] == KEY
    assert "x-gateway" not in server.requests[0].headers


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["m-20260101", "m", "maker/m"])
async def test_check_when_there_is_the_model_then_passes_without_asking_it_and_knows_what_an_alias_means(
    name: str,
) -> None:
    with AnthropicServer(models=("other", "m-20260101", "maker/m")) as server:
        async with model_of(server, name) as model:
            await model.check()
            assert model.revision == ("m-20260101" if name == "m" else name)
    assert server.requests == []


async def test_check_when_there_is_no_such_model_then_names_the_closest_of_all_pages() -> None:
    with AnthropicServer(models=("one", "two", "three", "four", "sonnet-4-5-20250929")) as server:
        async with model_of(server, "sonet-4-5-20250929") as model:
            with pytest.raises(UnknownName, match=r"did you mean 'sonnet-4-5-20250929'.*four, one") as caught:
                await model.check()
    assert caught.value.__context__ is None and server.url in str(caught.value)


@pytest.mark.parametrize("models", [None, ()])
async def test_check_when_the_server_lists_no_models_then_passes(models: tuple[str, ...] | None) -> None:
    with AnthropicServer(models=models) as server:
        async with model_of(server) as model:
            await model.check()
            assert model.revision is None


async def test_check_when_no_server_answers_then_names_the_address_and_the_mend() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with model_of(url) as model:
            with pytest.raises(ServerUnreachable) as caught:
                await model.check()
    assert url in str(caught.value) and "check the network, or set ANTHROPIC_BASE_URL" in str(caught.value)


@pytest.mark.parametrize("listing", ['{"id": 5}', '{"data": ["m"]}', "[]", "null", "<html>"])
async def test_check_when_what_is_said_of_the_model_is_of_no_known_form_then_passes(listing: str) -> None:
    with AnthropicServer() as server:
        server.listing = listing
        async with model_of(server) as model:
            await model.check()
            assert model.revision is None
