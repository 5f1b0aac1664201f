from __future__ import annotations

import asyncio
import gc
import socket
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import GenerationError, ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, Prompt
from models.failures import Transient
from models.ollama import Ollama
from tests.loopback import Fault, OllamaServer, Reply
from tests.loopback.ollama import digest
from tests.models.asking import CHAT, request

KEY = "ollama-A1b2C3d4E5f6G7h8wxyz"
TEXT = "def añadir(a, b):\r\n\treturn a + b  # ∑ 😀 \u2028 e\u0301\n\n"
CODE = "def add(a, b):\n"
LONG = "word " * 30
WHOLE = {"truncate": False, "shift": False}


def model_of(server: OllamaServer | str, name: str = "m", key: str = KEY, **can: Any) -> Ollama:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_HOST", server if isinstance(server, str) else server.url)
        patch.setenv("OLLAMA_API_KEY", key)
        model = Ollama(name)
    model.capabilities = replace(model.capabilities, **can)
    return model


async def complete(server: OllamaServer, prompt: Prompt = CHAT, **asked: Any) -> Completion:
    async with asyncio.timeout(30), model_of(server) as model:
        return await model.generate(request(prompt, **asked))


async def failing(
    fault: Fault, expected: type[TouchstoneError], prompt: Prompt = CHAT, said: str | Reply = TEXT
) -> TouchstoneError:
    broken = OllamaServer(says(said), faults=lambda _: fault)
    with broken as server, pytest.raises(expected) as caught:
        await complete(server, prompt)
    assert len(server.requests) == 1 and type(caught.value) is expected
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    return caught.value


def says(text: str | Reply) -> Callable[[dict[str, Any]], str | Reply]:
    return lambda _: text


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_answered_then_has_the_text_to_the_last_byte_and_all_that_was_said_of_it(
    prompt: Prompt,
) -> None:
    with OllamaServer(says(TEXT)) as server:
        completion = await complete(server, prompt)
    assert completion.text == TEXT
    assert (completion.finish_reason, completion.thinking, completion.answer_at) == ("stop", None, 0)
    assert (completion.input_tokens, completion.output_tokens, completion.model_served) == (7, 11, "m")
    assert completion.timings == {"load": 1.0, "prompt": 0.5, "generation": 2.5, "total": 4.0}
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


@pytest.mark.parametrize("prompt", [CHAT, CODE])
@pytest.mark.parametrize(("said", "meant"), [("stop", "stop"), ("length", "length"), ("load", "other")])
async def test_generate_when_finished_then_says_why(prompt: Prompt, said: str, meant: str) -> None:
    with OllamaServer(says(Reply("x", finish_reason=said))) as server:
        assert (await complete(server, prompt)).finish_reason == meant


async def test_generate_when_the_model_thinks_apart_then_keeps_it_apart() -> None:
    with OllamaServer(says(Reply("answer", thinking="hm, ∑"))) as server:
        completion = await complete(server)
    assert (completion.text, completion.thinking) == ("answer", "hm, ∑")


async def test_generate_when_the_model_thinks_within_the_answer_then_a_chats_answer_begins_after_it() -> None:
    with OllamaServer(says("<think>hm</think>answer")) as server:
        chat, continued = await complete(server), await complete(server, CODE)
    assert (chat.answer, chat.thinking) == ("answer", "hm")
    assert (continued.answer, continued.thinking) == ("<think>hm</think>answer", None)


async def test_generate_when_the_server_counts_no_tokens_then_they_are_none() -> None:
    with OllamaServer(says(Reply("", usage=None)), context=4) as server:
        completion = await complete(server, CODE)
    assert (completion.text, completion.input_tokens, completion.output_tokens) == ("", None, None)
    assert completion.timings == {}


async def test_generate_when_many_at_once_then_each_has_its_own_answer() -> None:
    with OllamaServer(lambda body: f"{body['options']['seed']} {TEXT}", latency_s=0.01) as server:
        async with model_of(server) as model:
            completions = await asyncio.gather(*(model.generate(request(index=i, seed=0)) for i in range(64)))
    assert [completion.text for completion in completions] == [f"{i} {TEXT}" for i in range(64)]


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_the_prompt_is_a_chat_then_sends_its_messages_and_as_they_are() -> None:
    with OllamaServer() as server:
        await complete(server)
    received = server.requests[0]
    assert received.path == "/api/chat"
    assert received.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Write add."},
    ]


async def test_generate_when_the_prompt_is_a_string_then_sends_it_to_be_continued_and_as_it_is() -> None:
    with OllamaServer() as server:
        await complete(server, CODE)
    received = server.requests[0]
    assert (received.path, received.body["prompt"], received.body["raw"]) == ("/api/generate", CODE, True)
    assert not {"template", "system", "suffix", "context"} & set(received.body)


@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_parameters_are_given_then_sends_and_records_them(prompt: Prompt) -> None:
    asked = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 64, "seed": 40, "stop": tuple("abcdef")}
    with OllamaServer() as server:
        await complete(server, prompt, index=3, **asked)
    options = {"temperature": 0.2, "top_p": 0.9, "num_predict": 64, "seed": 43, "stop": list("abcdef")}
    received = server.requests[0]
    assert received.body["options"] == options
    assert {name: received.body[name] for name in WHOLE} == WHOLE
    raw = {"raw": True} if prompt == CODE else {}
    async with model_of(server) as model:
        recorded = model.parameters(request(prompt, index=3, **asked))
    assert recorded == {"endpoint": server.url + received.path, "model": "m", **raw, **WHOLE, **options}


async def test_generate_when_parameters_are_left_to_the_server_then_sends_none() -> None:
    with OllamaServer() as server:
        await complete(server, temperature=None)
    assert server.requests[0].body["options"] == {}


async def test_generate_when_a_stop_comes_that_the_server_passed_over_then_reading_ends_and_the_text_keeps_it() -> None:
    passing = OllamaServer(says("    return 1\n@cache\n" + "more\n" * 1000), faults=lambda _: Fault(hold=True))
    with passing as server:
        completion = await complete(server, CODE, stop=("\ndef", "\n@"))
        assert await asyncio.to_thread(server.hung_up.wait, 10)
    assert completion.text.startswith("    return 1\n@") and len(completion.text) < 20
    assert (completion.finish_reason, completion.output_tokens, completion.timings) == ("stop", None, {})
    gc.collect()


async def test_generate_when_a_chat_holds_a_stop_then_it_is_not_cut() -> None:
    with OllamaServer(says("a\n@cache\nb")) as server:
        assert (await complete(server, stop=("\n@",))).text == "a\n@cache\nb"


# ── the context ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_the_users_configuration_has_a_context_then_the_model_is_loaded_with_it() -> None:
    with OllamaServer() as server:
        async with model_of(server, context=16384) as model:
            await model.generate(request())
            assert model.parameters(request())["num_ctx"] == 16384
    assert server.requests[0].body["options"]["num_ctx"] == 16384


@pytest.mark.parametrize("prompt", [(*CHAT, replace(CHAT[1], content=LONG)), LONG])
async def test_generate_when_the_prompt_does_not_fit_then_is_an_error_with_the_mend(prompt: Prompt) -> None:
    with OllamaServer(context=29) as server, pytest.raises(GenerationError) as caught:
        await complete(server, prompt)
    assert "exceeds the context length" in str(caught.value) and type(caught.value) is GenerationError
    assert "config.yaml, such as catalog: {ollama/m: {context: 32768}}" in str(caught.value)


@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_an_old_server_may_have_cut_the_prompt_then_is_an_error_with_limit_and_mend(
    prompt: Prompt,
) -> None:
    old = OllamaServer(says(Reply("x", usage=(2048, 1))), context=2048, strict=False)
    with old as server, pytest.raises(GenerationError, match=r"fills the 2048 tokens.*catalog: \{ollama/m:") as caught:
        await complete(server, prompt)
    assert type(caught.value) is GenerationError


@pytest.mark.parametrize(("usage", "meant"), [((2000, 48), "stop"), ((2000, 49), "length")])
async def test_generate_when_the_answer_outgrows_the_context_then_is_cut_by_its_length(
    usage: tuple[int, int], meant: str
) -> None:
    with OllamaServer(says(Reply("x", usage=usage)), context=2048) as server:
        assert (await complete(server)).finish_reason == meant


@pytest.mark.parametrize("context", [2048, None])
async def test_generate_when_there_are_many_then_the_context_is_asked_for_once(context: int | None) -> None:
    with OllamaServer(says("x"), context=context) as server:
        async with model_of(server) as model:
            await asyncio.gather(*(model.generate(request()) for _ in range(8)))
    assert server.looked_up == ["/api/ps"]


async def test_generate_when_the_server_cannot_tell_what_is_loaded_then_answers_all_the_same() -> None:
    with OllamaServer(says("x"), models=None) as server:
        assert (await complete(server)).text == "x"


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("prompt", [CHAT, CODE])
@pytest.mark.parametrize(
    ("fault", "throttled"),
    [
        *((Fault(status=status), False) for status in (408, 500, 503)),
        (Fault(status=429), True),
        (Fault(cut=True), False),
        (Fault(garbled='{"message": {"conte\n'), False),
        (Fault(garbled='{"message": "oops", "response": ["oops"]}\n'), False),
        (Fault(garbled='["oops"]\n'), False),
        (Fault(garbled='{"error": "the runner has ended"}\n'), False),
    ],
    ids=repr,
)
async def test_generate_when_a_request_fails_in_passing_then_is_transient(
    prompt: Prompt, fault: Fault, throttled: bool
) -> None:
    error = await failing(fault, Transient, prompt)
    assert isinstance(error, Transient) and (error.throttled, error.retry_after_s) == (throttled, None)


@pytest.mark.parametrize("status", [429, 503])
async def test_generate_when_the_server_says_when_to_come_back_then_the_failure_does(status: int) -> None:
    error = await failing(Fault(status=status, retry_after="86400"), Transient)
    assert isinstance(error, Transient) and error.retry_after_s == 86400


@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_the_answer_is_never_finished_then_is_transient(prompt: Prompt) -> None:
    error = await failing(Fault(), Transient, prompt, Reply(TEXT, finish_reason=None))
    assert "ended before the answer did" in str(error)


async def test_generate_when_the_request_is_wrong_then_is_a_generation_error_with_the_servers_words() -> None:
    error = await failing(Fault(status=400, words="does not chat"), GenerationError)
    assert str(error).endswith(": does not chat (status code: 400)")


async def test_generate_when_the_model_is_gone_then_is_a_usage_error() -> None:
    gone = pytest.raises(UsageError, match=r"model 'm' not found.*`ollama pull m`")
    with OllamaServer(models=("other:latest",)) as server, gone:
        await complete(server)
    assert len(server.requests) == 1


async def test_generate_when_the_server_has_gone_then_is_transient() -> None:
    with OllamaServer() as server:
        model = model_of(server)
    async with model:
        with pytest.raises(Transient, match=server.url):
            await model.generate(request())


async def test_generate_when_cancelled_then_hangs_up() -> None:
    with OllamaServer(says(TEXT), faults=lambda _: Fault(hold=True)) as server:
        async with model_of(server) as model:
            task = asyncio.create_task(model.generate(request()))
            assert await asyncio.to_thread(server.held.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.hung_up.wait, 10)


@pytest.mark.parametrize("prompt", [CHAT, CODE])
async def test_generate_when_something_else_than_an_answer_comes_then_its_beginning_is_quoted(prompt: Prompt) -> None:
    error = await failing(Fault(body=f"<html>\n <p>Log in, {KEY}</p>", kind="text/html"), Transient, prompt)
    assert "something else than an answer: <html> <p>Log in, [key]</p>" in str(error)


async def test_generate_when_an_error_comes_as_a_success_then_is_transient_with_its_words() -> None:
    assert "the runner has ended" in str(await failing(Fault(body='{"error": "the runner has ended"}'), Transient))


async def test_generate_when_sent_elsewhere_then_is_a_usage_error_and_nothing_is_asked_there() -> None:
    with OllamaServer(says("x")) as other:
        error = await failing(Fault(status=307, location=f"{other.url}/api/chat"), UsageError)
    assert "set OLLAMA_HOST" in str(error) and other.requests == []


# ── keys and addresses ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("method", ["check", "generate"])
async def test_any_when_the_key_is_wrong_then_the_error_names_the_variable_and_shows_no_part_of_the_key(
    method: str,
) -> None:
    with OllamaServer(key="another") as server:
        async with model_of(server) as model:
            with pytest.raises(UsageError, match=r"Incorrect API key.*set OLLAMA_API_KEY") as caught:
                await (model.check() if method == "check" else model.generate(request()))
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(model)
    assert KEY not in shown and KEY[:8] not in shown and KEY[-4:] not in shown
    assert caught.value.__context__ is None


async def test_generate_when_a_failing_server_echoes_the_key_then_the_error_does_not() -> None:
    error = await failing(Fault(status=500, words=f"no {KEY} here\nor there"), Transient)
    assert "no [key] here or there" in str(error)


async def test_model_when_the_settings_are_in_dotenv_then_takes_them_from_there() -> None:
    with OllamaServer(says("x"), key=KEY) as server:
        Path(".env").write_text(f"OLLAMA_API_KEY={KEY}\nOLLAMA_HOST={server.url}\n")
        async with Ollama("m") as model:
            assert (await model.generate(request())).text == "x"


@pytest.mark.parametrize(
    "host",
    ["http://h:port", "http://h\x00st", "http://[::1", "h:99999", "ftp://h", "a b", "h?key=geheim", "u:9/geheim@h"],
)
def test_model_when_no_server_can_have_the_address_then_names_the_variable_and_not_the_address(host: str) -> None:
    Path(".env").write_text(f"OLLAMA_HOST='{host}'\n")
    with pytest.raises(UsageError, match=r"OLLAMA_HOST (is no address of a server|holds a)") as caught:
        Ollama("m")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("host", [":56789", "example.com", "[::1]:11434", "https://example.com/path/"])
async def test_model_when_ollama_knows_the_form_of_the_address_then_takes_it(host: str) -> None:
    async with model_of(host) as model:
        assert model.url == host


@pytest.mark.parametrize("scheme", ["", "http://"])
async def test_model_when_the_address_holds_a_password_then_it_is_not_shown(scheme: str) -> None:
    with OllamaServer(says("x"), faults=lambda _: Fault(status=500, words="geheimnis")) as server:
        host = server.url.removeprefix("http://")
        async with model_of(f"{scheme}someone:geheimnis@{host}") as model:
            with pytest.raises(Transient) as caught:
                await model.generate(request())
    assert model.url == f"{scheme}{host}" and "geheimnis" not in str(caught.value)
    # Of someone:geheimnis.
    assert server.requests[0].headers["authorization"] == "Basic c29tZW9uZTpnZWhlaW1uaXM="


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("qwen", "qwen:latest"),
        ("qwen:latest", "qwen:latest"),
        ("Qwen", "qwen:latest"),
        ("coder:7b", "coder:7b"),
        ("host:1/someone/coder", "host:1/someone/coder:latest"),
    ],
)
async def test_check_when_ollama_would_find_the_model_then_passes_and_knows_its_weights(name: str, meant: str) -> None:
    with OllamaServer(models=("qwen:latest", "coder:7b", "host:1/someone/coder:latest")) as server:
        async with model_of(server, name) as model:
            await model.check()
            assert model.revision == digest(meant)
    assert server.requests == []


@pytest.mark.parametrize("name", ["coder", "qwen:7b"])
async def test_check_when_ollama_would_not_find_the_model_then_names_those_there_are_and_how_to_get_it(
    name: str,
) -> None:
    with OllamaServer(models=("qwen:latest", "coder:7b")) as server:
        async with model_of(server, name) as model:
            with pytest.raises(UnknownName, match=rf"'{name}'.*coder:7b, qwen:latest.*`ollama pull {name}`"):
                await model.check()


async def test_check_when_the_server_lists_no_models_then_passes() -> None:
    with OllamaServer(models=None) as server:
        async with model_of(server) as model:
            await model.check()
            assert model.revision is None


async def test_check_when_no_server_answers_then_names_the_address_and_the_mend() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with model_of(url) as model:
            with pytest.raises(ServerUnreachable, match="start it with `ollama serve`, or set OLLAMA_HOST") as caught:
                await model.check()
    assert url in str(caught.value)


@pytest.mark.parametrize(
    "listing", ['{"models": ["m"]}', '{"models": [{"name": "x"}]}', '{"models": 5}', "[]", "<html>"]
)
async def test_check_when_the_list_is_of_no_known_form_then_passes(listing: str) -> None:
    with OllamaServer() as server:
        server.listing = listing
        async with model_of(server) as model:
            await model.check()
            assert model.revision is None


async def test_check_when_nothing_is_installed_then_says_how_to_get_it() -> None:
    with OllamaServer(models=()) as server:
        async with model_of(server) as model:
            with pytest.raises(UnknownName, match="`ollama pull m`"):
                await model.check()
