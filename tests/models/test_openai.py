from __future__ import annotations

import asyncio
import gc
import socket
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, Prompt
from models.failures import Transient
from models.line import Line
from models.openai import VLLM, OpenAI, OpenRouter
from models.pace import Allowance
from tests.loopback import Fault, OpenAIServer, Reply
from tests.models.asking import CHAT, request

KEY = "sk-proj-A1b2C3d4E5f6G7h8wxyz"
TEXT = "def añadir(a, b):\r\n\treturn a + b  # ∑ 😀 \u2028 \x85 e\u0301\n\n"
STOPS = ("\ndef", "\nclass", "\nif", "\nprint", "\n#", "\n@")
CODE = "def add(a, b):\n"


def model_of(server: OpenAIServer | str, kind: type[OpenAI] = OpenAI, name: str = "m", key: str = KEY) -> OpenAI:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kind.url_variable, server if isinstance(server, str) else server.url)
        patch.setenv(kind.key_variable, key)
        return kind(name)


async def complete(
    server: OpenAIServer, prompt: Prompt = CHAT, kind: type[OpenAI] = OpenAI, **asked: Any
) -> Completion:
    async with asyncio.timeout(30), model_of(server, kind) as model:
        return await Line(model, Allowance(tries=4, first_s=0)).complete(request(prompt, **asked))


async def failing(server: OpenAIServer, expected: type[TouchstoneError]) -> TouchstoneError:
    with pytest.raises(expected) as caught:
        await complete(server)
    return caught.value


def once(fault: Fault) -> Callable[[int], Fault | None]:
    """The fault, at the first request alone."""
    return lambda number: fault if number == 1 else None


def says(text: str | Reply) -> Callable[[dict[str, Any]], str | Reply]:
    return lambda _: text


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [OpenAI, VLLM, OpenRouter])
@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_answered_then_has_the_text_to_the_last_byte_and_all_that_was_said_of_it(
    kind: type[OpenAI], prompt: Prompt
) -> None:
    with OpenAIServer(says(TEXT)) as server:
        completion = await complete(server, prompt, kind)
    assert completion.text == TEXT
    assert (completion.finish_reason, completion.thinking, completion.tries) == ("stop", None, 1)
    assert (completion.input_tokens, completion.output_tokens) == (7, 11)
    assert completion.model_served == "m-served"
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


async def test_generate_when_the_server_is_slow_to_start_then_the_time_to_the_first_token_says_so() -> None:
    with OpenAIServer(says("x"), latency_s=0.05) as server:
        completion = await complete(server)
    assert completion.ttft_s is not None and completion.ttft_s >= 0.05


async def test_generate_when_the_prompt_is_a_chat_then_sends_its_messages_and_as_they_are() -> None:
    with OpenAIServer() as server:
        await complete(server)
    received = server.requests[0]
    assert received.path == "/v1/chat/completions"
    assert received.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Write add."},
    ]
    assert received.body["stream_options"] == {"include_usage": True}


async def test_generate_when_the_prompt_is_a_string_then_sends_it_to_be_continued_and_as_it_is() -> None:
    with OpenAIServer() as server:
        await complete(server, CODE)
    assert (server.requests[0].path, server.requests[0].body["prompt"]) == ("/v1/completions", CODE)


@pytest.mark.parametrize("prompt", [CHAT, CODE])
@pytest.mark.parametrize(
    ("said", "meant"), [("stop", "stop"), ("length", "length"), ("content_filter", "refusal"), ("tool_calls", "other")]
)
async def test_generate_when_finished_then_says_why(prompt: Prompt, said: str, meant: str) -> None:
    with OpenAIServer(says(Reply("x", finish_reason=said))) as server:
        assert (await complete(server, prompt)).finish_reason == meant


async def test_generate_when_the_model_refuses_then_is_a_refusal_with_its_words() -> None:
    with OpenAIServer(says(Reply(None, refusal="I will not."))) as server:
        completion = await complete(server)
    assert (completion.text, completion.finish_reason) == ("I will not.", "refusal")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, error={"code": "content_filter"}),
        Fault(status=403, error={"code": 403, "metadata": {"reasons": ["x"], "flagged_input": "y"}}),
    ],
)
async def test_generate_when_a_filter_declines_the_request_then_is_a_refusal_and_not_asked_again(fault: Fault) -> None:
    with OpenAIServer(faults=lambda _: fault) as server:
        completion = await complete(server)
    assert (completion.text, completion.finish_reason, len(server.requests)) == ("", "refusal", 1)


async def test_generate_when_nothing_is_answered_then_is_an_empty_text() -> None:
    with OpenAIServer(says(Reply(None))) as server:
        completion = await complete(server)
    assert (completion.text, completion.finish_reason, completion.ttft_s) == ("", "stop", None)


async def test_generate_when_the_model_reasons_apart_then_keeps_it_apart() -> None:
    with OpenAIServer(says(Reply("answer", thinking="hm, ∑"))) as server:
        completion = await complete(server)
    assert (completion.text, completion.thinking) == ("answer", "hm, ∑")


async def test_generate_when_the_server_counts_no_tokens_then_they_are_none() -> None:
    with OpenAIServer(says(Reply("x", usage=None))) as server:
        completion = await complete(server)
    assert (completion.input_tokens, completion.output_tokens) == (None, None)


async def test_generate_when_characters_come_in_halves_then_they_are_whole() -> None:
    with OpenAIServer(says(Reply("", pieces=("a\ud83d", "\ude00b")))) as server:
        assert (await complete(server)).text == "a😀b"


async def test_generate_when_many_at_once_then_each_has_its_own_answer() -> None:
    with OpenAIServer(lambda body: f"{body['seed']} {TEXT}" * 5, latency_s=0.01) as server:
        async with model_of(server) as model:
            completions = await asyncio.gather(*(model.generate(request(index=i, seed=0)) for i in range(100)))
    assert [completion.text for completion in completions] == [f"{i} {TEXT}" * 5 for i in range(100)]


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_parameters_are_given_then_sends_and_records_them() -> None:
    with OpenAIServer() as server:
        completion = await complete(server, index=3, temperature=0.2, top_p=0.9, max_tokens=64, seed=40, stop=("a",))
    parameters = {"model": "m", "temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "seed": 43, "stop": ["a"]}
    assert completion.effective == {"endpoint": f"{server.url}/chat/completions", **parameters}
    sent = server.requests[0].body
    assert {name: sent[name] for name in parameters} == parameters


async def test_generate_when_parameters_are_left_to_the_server_then_sends_none() -> None:
    with OpenAIServer() as server:
        await complete(server, temperature=None)
    assert set(server.requests[0].body) == {"model", "messages", "stream", "stream_options"}


@pytest.mark.parametrize("url", ["https://api.openai.com/v1", "https://eu.api.openai.com/v1"])
async def test_generate_when_at_openai_itself_then_limits_chats_by_the_name_that_it_takes(url: str) -> None:
    async with model_of(url) as model:
        assert model._sent(request(max_tokens=5)) == {"model": "m", "temperature": 0.0, "max_completion_tokens": 5}
        assert model._sent(request(CODE, max_tokens=5)) == {"model": "m", "temperature": 0.0, "max_tokens": 5}


async def test_generate_when_there_are_more_stops_than_fit_then_sends_those_that_do() -> None:
    with OpenAIServer() as server:
        completion = await complete(server, CODE, stop=("", *STOPS))
    assert server.requests[0].body["stop"] == completion.effective["stop"] == list(STOPS[:4])


async def test_generate_when_a_stop_that_did_not_fit_comes_then_reading_ends_and_the_text_keeps_it() -> None:
    with OpenAIServer(says("    return 1\n@cache\n" + "more\n" * 1000), faults=lambda _: Fault(hold=True)) as server:
        completion = await complete(server, CODE, stop=STOPS)
        assert await asyncio.to_thread(server.hung_up.wait, 10)
    assert completion.text.startswith("    return 1\n@") and len(completion.text) < 20
    assert (completion.finish_reason, completion.output_tokens) == ("stop", None)
    gc.collect()


async def test_generate_when_a_chat_holds_a_stop_then_it_is_not_cut() -> None:
    with OpenAIServer(says("a\n@cache\nb")) as server:
        assert (await complete(server, stop=STOPS)).text == "a\n@cache\nb"


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (408, 409, 429, 500, 503, 529)),
        Fault(cut=True),
        Fault(garbled='data: {"choices": [{"del\n\n'),
        Fault(garbled='data: {"choices": [{"delta": "oops", "text": ["oops"]}]}\n\n'),
        Fault(garbled='data: {"error": {"message": "overloaded", "code": 502}}\n\n'),
        Fault(garbled="data: [DONE]\n\n"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_a_request_fails_in_passing_then_asks_again_and_counts(
    prompt: Prompt, fault: Fault
) -> None:
    with OpenAIServer(says(TEXT), faults=once(fault)) as server:
        completion = await complete(server, prompt)
    assert (completion.text, completion.tries, len(server.requests)) == (TEXT, 2, 2)


@pytest.mark.parametrize("finish", [None, "error", "abort"])
async def test_generate_when_the_answer_is_never_finished_then_is_a_generation_error_with_the_count(
    finish: str | None,
) -> None:
    with OpenAIServer(says(Reply(TEXT, finish_reason=finish))) as server:
        error = await failing(server, GenerationError)
    assert "ended before the answer did" in str(error)
    assert isinstance(error, GenerationError) and error.tries == len(server.requests) == 4


async def test_generate_when_the_server_says_when_to_come_back_then_that_is_when() -> None:
    with OpenAIServer(says("x"), faults=once(Fault(status=429, retry_after="0.01"))) as server:
        async with asyncio.timeout(30), model_of(server) as model:
            line = Line(model, Allowance(first_s=3600))
            assert (await line.complete(request())).tries == 2


async def test_generate_when_the_server_would_have_one_wait_for_long_then_gives_up() -> None:
    with OpenAIServer(faults=lambda _: Fault(status=429, retry_after="86400")) as server:
        await failing(server, GenerationError)
    assert len(server.requests) == 1


async def test_generate_when_the_request_is_wrong_then_is_a_generation_error_at_once() -> None:
    with OpenAIServer(faults=lambda _: Fault(status=400, words="the prompt is too long")) as server:
        error = await failing(server, GenerationError)
    assert "the prompt is too long" in str(error) and len(server.requests) == 1


@pytest.mark.parametrize(
    ("fault", "mend"),
    [
        (Fault(status=401), "set OPENAI_API_KEY"),
        (Fault(status=403), "set OPENAI_API_KEY"),
        (Fault(status=404), "the model's name is right, and OPENAI_BASE_URL"),
        (Fault(status=429, error={"code": "insufficient_quota"}), "add credit"),
    ],
)
async def test_generate_when_no_request_can_succeed_then_is_a_usage_error_at_once(fault: Fault, mend: str) -> None:
    with OpenAIServer(faults=lambda _: fault) as server:
        error = await failing(server, UsageError)
        assert server.url in str(error)
    assert "out of order" in str(error) and mend in str(error)
    assert len(server.requests) == 1 and "\n" not in str(error)


async def test_generate_when_the_server_has_gone_then_is_a_generation_error() -> None:
    with OpenAIServer() as server:
        model = model_of(server)
    async with model:
        with pytest.raises(GenerationError, match=r"Connection error") as caught:
            await Line(model, Allowance(tries=4, first_s=0)).complete(request())
    assert caught.value.tries == 4


async def test_generate_when_cancelled_then_hangs_up() -> None:
    with OpenAIServer(says(TEXT), faults=lambda _: Fault(hold=True)) as server:
        async with model_of(server) as model:
            task = asyncio.create_task(model.generate(request()))
            assert await asyncio.to_thread(server.held.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.hung_up.wait, 10)


@pytest.mark.parametrize("prompt", [CHAT, CODE])
@pytest.mark.parametrize("kind", ["text/html", "text/event-stream"])
async def test_generate_when_something_else_than_an_answer_comes_then_its_beginning_is_quoted(
    prompt: Prompt, kind: str
) -> None:
    page = Fault(body=f"<html>\n <p>Log in, {KEY}</p>" + "x" * 5000, kind=kind)
    with OpenAIServer(faults=lambda _: page) as server, pytest.raises(Transient) as caught:
        async with model_of(server) as model:
            await model.generate(request(prompt))
    assert "something else than an answer: <html> <p>Log in," in str(caught.value)
    assert KEY not in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("error", "expected", "says"),
    [
        ('{"message": "overloaded", "code": "busy"}', Transient, "overloaded"),
        ('{"message": "slow down", "code": 429}', Transient, "slow down"),
        ('{"message": "none left", "code": "insufficient_quota"}', UsageError, "none left; add credit"),
        ('{"message": "no such key", "code": 401}', UsageError, "no such key; set OPENAI_API_KEY"),
        ('{"message": "odd", "code": ["x"]}', Transient, "odd"),
        ('"just words"', Transient, "just words"),
    ],
)
async def test_generate_when_an_error_comes_as_a_success_then_means_what_it_says(
    error: str, expected: type[TouchstoneError], says: str
) -> None:
    with OpenAIServer(faults=lambda _: Fault(body=f'{{"error": {error}}}')) as server:
        async with model_of(server) as model:
            with pytest.raises(expected, match=says) as caught:
                await model.generate(request())
    assert type(caught.value) is expected and caught.value.__context__ is None


async def test_generate_when_a_filter_declines_with_a_success_then_is_a_refusal() -> None:
    declined = Fault(body='{"error": {"message": "no", "code": "content_filter"}}')
    with OpenAIServer(faults=lambda _: declined) as server:
        assert (await complete(server)).finish_reason == "refusal"


@pytest.mark.parametrize("reason", ["{}", '{"a": 1}', "[]", "0", "7"])
async def test_generate_when_the_reason_is_no_word_then_is_another(reason: str) -> None:
    last = f'data: {{"choices": [{{"delta": {{}}, "text": "", "finish_reason": {reason}}}]}}\n\n'
    with OpenAIServer(says(Reply("", finish_reason=None)), faults=lambda _: Fault(garbled=last)) as server:
        assert (await complete(server)).finish_reason == "other"


async def test_generate_when_an_error_says_odd_things_then_is_a_generation_error_with_its_words() -> None:
    odd = Fault(status=400, error={"metadata": 5, "code": ["x"]})
    with OpenAIServer(faults=lambda _: odd) as server:
        assert "out of order" in str(await failing(server, GenerationError))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_generate_when_sent_elsewhere_then_is_a_usage_error_and_nothing_is_asked_there(status: int) -> None:
    with OpenAIServer(says("x")) as other:
        sent = Fault(status=status, location=f"{other.url}/chat/completions")
        with OpenAIServer(faults=lambda _: sent) as server:
            error = await failing(server, UsageError)
    assert "set OPENAI_BASE_URL" in str(error) and server.url in str(error)
    assert other.requests == []


# ── keys and addresses ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [OpenAI, VLLM, OpenRouter])
async def test_generate_when_there_is_a_key_then_only_the_server_sees_it(kind: type[OpenAI]) -> None:
    with OpenAIServer(says("x"), key=KEY) as server:
        async with model_of(server, kind) as model:
            completion = await model.generate(request())
            assert KEY not in repr(model) + repr(asdict(completion))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(server.requests)


@pytest.mark.parametrize("method", ["check", "generate"])
async def test_any_when_the_key_is_wrong_then_the_error_names_the_variable_and_shows_no_part_of_the_key(
    method: str,
) -> None:
    with OpenAIServer(key="another") as server:
        async with model_of(server) as model:
            with pytest.raises(UsageError, match=r"Incorrect API key.*set OPENAI_API_KEY") as caught:
                await (model.check() if method == "check" else model.generate(request()))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert KEY not in shown and KEY[:8] not in shown and KEY[-4:] not in shown
    assert caught.value.__context__ is None


@pytest.mark.parametrize(("kind", "variable"), [(OpenAI, "OPENAI_API_KEY"), (OpenRouter, "OPENROUTER_API_KEY")])
def test_model_when_a_key_is_missing_then_names_the_variable(kind: type[OpenAI], variable: str) -> None:
    with pytest.raises(UsageError, match=f"{kind.provider} needs a key: set {variable}"):
        kind("m")


async def test_model_when_the_settings_are_in_dotenv_then_takes_them_from_there() -> None:
    with OpenAIServer(says("x"), key=KEY) as server:
        Path(".env").write_text(f"OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL={server.url}\n")
        async with OpenAI("m") as model:
            assert (await model.generate(request())).text == "x"


@pytest.mark.parametrize("kind", [OpenAI, VLLM])
async def test_model_when_at_another_server_then_needs_no_key(
    kind: type[OpenAI], monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer(says("x")) as server:
        monkeypatch.setenv(kind.url_variable, server.url)
        async with kind("m") as model:
            assert (await model.generate(request())).text == "x"


@pytest.mark.parametrize("url", ["localhost:8000/v1", "ftp://x/v1", "https:///v1"])
def test_model_when_the_address_is_none_then_names_the_variable(url: str) -> None:
    with pytest.raises(UsageError, match="VLLM_BASE_URL is no address of a server"):
        model_of(url, VLLM)


async def test_model_when_the_address_holds_a_password_then_it_is_not_shown() -> None:
    with OpenAIServer(says("x")) as server:
        url = server.url.replace("://", "://someone:geheimnis@")
        async with model_of(url, VLLM) as model:
            completion = await model.generate(request())
            assert model.url == server.url
    assert "geheimnis" not in repr(completion)


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/v1",
        "http://h:geheim/v1",
        "http://h:99999/v1",
        "http://h\x01/v1",
        "http://a host/v1",
        "http://h/\u2028v1",
        "http://a..b/v1",
        "http://geheim:99/x@h/v1",
        "http://h/v1?api-key=geheim",
        "http://h/v1#geheim",
    ],
)
@pytest.mark.parametrize("kind", [OpenAI, VLLM])
def test_model_when_no_server_can_have_the_address_then_names_the_variable_and_not_the_address(
    kind: type[OpenAI], url: str
) -> None:
    with pytest.raises(UsageError, match=f"{kind.url_variable} (is no address|holds a)") as caught:
        model_of(url, kind)
    assert "geheim" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("user", "secrets"),
    [
        ("us%40er:p%40ss-w", ("p%40ss-w", "p@ss-w", "dXNAZXI6cEBzcy13")),
        ("t%2Fken-47", ("t%2Fken-47", "t/ken-47", "dC9rZW4tNDc6")),
    ],
)
async def test_generate_when_a_server_echoes_the_addresss_password_then_the_error_does_not(
    user: str, secrets: tuple[str, str, str]
) -> None:
    with OpenAIServer(faults=lambda _: Fault(status=400, words=f"no: {' '.join(secrets)}.")) as server:
        async with model_of(server.url.replace("://", f"://{user}@"), VLLM) as model:
            with pytest.raises(GenerationError) as caught:
                await model.generate(request())
        assert server.requests[0].headers["authorization"] == f"Basic {secrets[2]}"
    assert "no: [key] [key] [key]." in str(caught.value)


@pytest.mark.parametrize(("kind", "accounts"), [(OpenAI, {"ours", "theirs"}), (VLLM, set()), (OpenRouter, set())])
async def test_generate_when_the_machine_has_settings_for_openai_then_only_openai_sees_its_accounts(
    kind: type[OpenAI], accounts: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "ours")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "theirs")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "master")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway: gatekeeper\nAuthorization: Bearer another")
    with OpenAIServer(says("x"), key=KEY) as server:
        await complete(server, kind=kind)
    sent = set(server.requests[0].headers.values())
    assert sent & {"ours", "theirs", "master", "gatekeeper"} == accounts


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [OpenAI, VLLM, OpenRouter])
async def test_check_when_the_model_is_listed_then_passes_without_asking_it(kind: type[OpenAI]) -> None:
    with OpenAIServer(models=("other", "m")) as server:
        async with model_of(server, kind) as model:
            await model.check()
    assert server.requests == []


@pytest.mark.parametrize("kind", [OpenAI, VLLM, OpenRouter])
async def test_check_when_the_model_is_not_listed_then_names_the_closest(kind: type[OpenAI]) -> None:
    with OpenAIServer(models=("qwen2.5-coder", "other")) as server:
        async with model_of(server, kind, "qwen-coder") as model:
            with pytest.raises(UnknownName, match=r"'qwen-coder'; did you mean 'qwen2\.5-coder'"):
                await model.check()


async def test_check_when_an_openrouter_variant_only_routes_differently_then_passes() -> None:
    with OpenAIServer(models=("maker/m",)) as server:
        async with model_of(server, OpenRouter, "maker/m:nitro") as model:
            await model.check()


@pytest.mark.parametrize(
    ("pricing", "price"),
    [
        ({"prompt": "0.0000003", "completion": "0.00000125"}, (pytest.approx(0.3), pytest.approx(1.25))),
        ({"prompt": "0", "completion": "0"}, (0, 0)),
        ({"prompt": "-1", "completion": "-1"}, None),
        ({"prompt": "free"}, None),
        ({"prompt": 10**400, "completion": 0}, None),
        (None, None),
    ],
)
async def test_check_when_openrouter_lists_a_price_then_that_is_the_models(pricing: Any, price: Any) -> None:
    with OpenAIServer(models=("maker/m",)) as server:
        server.details = {"maker/m": {"pricing": pricing}}
        async with model_of(server, OpenRouter, "maker/m") as model:
            await model.check()
    assert (None if model.price is None else (model.price.input, model.price.output)) == price
    assert model.price is None or model.price.source == f"{server.url}/models"


@pytest.mark.parametrize(
    ("details", "revision"),
    [({"root": "/weights/7", "max_model_len": 4096}, "/weights/7, 4096"), ({"root": None}, None), ({}, None)],
)
async def test_check_when_the_server_tells_of_the_weights_then_that_is_their_revision(
    details: dict[str, Any], revision: str | None
) -> None:
    with OpenAIServer() as server:
        server.details = {"m": details}
        async with model_of(server, VLLM) as model:
            await model.check()
    assert model.revision == revision


async def test_generate_when_an_answer_breaks_off_then_the_failure_says_that_it_had_begun() -> None:
    for fault, begun in [(Fault(cut=True), True), (Fault(status=500), False)]:
        with OpenAIServer(says(TEXT), faults=once(fault)) as server:
            async with model_of(server) as model:
                with pytest.raises(GenerationError) as caught:
                    await model.generate(request())
        assert caught.value.begun is begun


@pytest.mark.parametrize("models", [None, ()])
async def test_check_when_the_server_lists_no_models_then_passes(models: tuple[str, ...] | None) -> None:
    with OpenAIServer(models=models) as server:
        async with model_of(server) as model:
            await model.check()


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        (OpenAI, "check the network, or set OPENAI_BASE_URL"),
        (VLLM, "start one with 'vllm serve NAME', or set VLLM_BASE_URL"),
        (OpenRouter, "check the network, or set OPENROUTER_BASE_URL"),
    ],
)
async def test_check_when_no_server_answers_then_names_the_address_and_the_mend(kind: type[OpenAI], mend: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        async with model_of(url, kind) as model:
            with pytest.raises(ServerUnreachable) as caught:
                await model.check()
    assert url in str(caught.value) and mend in str(caught.value)


@pytest.mark.parametrize("kind", [OpenAI, OpenRouter])
@pytest.mark.parametrize(
    "listing",
    [
        '[{"id": "other"}]',
        "[]",
        "null",
        "5",
        '"m"',
        "<html>",
        '{"data": ["other"]}',
        '{"data": 5}',
        '{"data": {"a": 1}}',
        '{"data": [null, {"name": "m"}, {"id": null}, {"id": 5}, {"id": ["m"]}]}',
    ],
)
async def test_check_when_the_list_is_of_no_known_form_then_passes(kind: type[OpenAI], listing: str) -> None:
    with OpenAIServer() as server:
        server.listing = listing
        async with model_of(server, kind) as model:
            await model.check()


async def test_check_when_some_of_the_list_is_odd_then_the_rest_counts() -> None:
    with OpenAIServer() as server:
        server.listing = '{"data": [null, {"id": 5}, "x", {"id": "other"}]}'
        async with model_of(server) as model:
            with pytest.raises(UnknownName, match="there is: other"):
                await model.check()
