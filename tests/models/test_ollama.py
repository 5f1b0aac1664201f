from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import GenerationError, ServerUnreachable, UnknownName, UsageError
from core.types import Completion
from models.ollama import Ollama
from models.retry import Retry
from tests.loopback import Fault, OllamaServer, Reply
from tests.models.asking import request

KEY = "ollama-A1b2C3d4E5f6G7h8wxyz"
TEXT = "def añadir(a, b):\r\n\treturn a + b  # ∑ 😀 \u2028 e\u0301\n\n"


def model_of(server: OllamaServer | str, name: str = "m", key: str = KEY) -> Ollama:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OLLAMA_HOST", server if isinstance(server, str) else server.url)
        patch.setenv("OLLAMA_API_KEY", key)
        model = Ollama(name)
    model.retry = Retry(tries=4, first_s=0)
    return model


async def complete(server: OllamaServer, **asked: Any) -> Completion:
    async with asyncio.timeout(30), model_of(server) as model:
        return await model.generate(request(**asked))


def once(fault: Fault) -> Callable[[int], Fault | None]:
    """The fault, at the first request alone."""
    return lambda number: fault if number == 1 else None


def says(text: str | Reply) -> Callable[[dict[str, Any]], str | Reply]:
    return lambda _: text


async def test_generate_when_answered_then_has_the_text_to_the_last_byte_and_all_that_was_said_of_it() -> None:
    with OllamaServer(says(TEXT)) as server:
        completion = await complete(server)
    assert completion.text == TEXT
    assert (completion.finish_reason, completion.thinking, completion.tries) == ("stop", None, 1)
    assert (completion.input_tokens, completion.output_tokens, completion.model_served) == (7, 11, "m")
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


@pytest.mark.parametrize(("said", "meant"), [("stop", "stop"), ("length", "length"), ("load", "other")])
async def test_generate_when_finished_then_says_why(said: str, meant: str) -> None:
    with OllamaServer(says(Reply("x", finish_reason=said))) as server:
        assert (await complete(server)).finish_reason == meant


async def test_generate_when_the_model_thinks_apart_then_keeps_it_apart() -> None:
    with OllamaServer(says(Reply("answer", thinking="hm, ∑"))) as server:
        completion = await complete(server)
    assert (completion.text, completion.thinking) == ("answer", "hm, ∑")


async def test_generate_when_the_server_counts_no_tokens_then_they_are_none() -> None:
    with OllamaServer(says(Reply("", usage=None))) as server:
        completion = await complete(server)
    assert (completion.text, completion.input_tokens, completion.output_tokens) == ("", None, None)


async def test_generate_when_many_at_once_then_each_has_its_own_answer() -> None:
    with OllamaServer(lambda body: f"{body['options']['seed']} {TEXT}", latency_s=0.01) as server:
        async with model_of(server) as model:
            completions = await asyncio.gather(*(model.generate(request(index=i, seed=0)) for i in range(64)))
    assert [completion.text for completion in completions] == [f"{i} {TEXT}" for i in range(64)]


async def test_generate_when_parameters_are_given_then_sends_and_records_them() -> None:
    stops = tuple("abcdef")
    with OllamaServer() as server:
        completion = await complete(server, index=3, temperature=0.2, top_p=0.9, max_tokens=64, seed=40, stop=stops)
    options = {"temperature": 0.2, "top_p": 0.9, "num_predict": 64, "seed": 43, "stop": list(stops)}
    assert server.requests[0].body["options"] == options
    assert completion.effective == {"endpoint": f"{server.url}/api/chat", "model": "m", **options}
    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Write add."},
    ]


async def test_generate_when_parameters_are_left_to_the_server_then_sends_none() -> None:
    with OllamaServer() as server:
        await complete(server, temperature=None)
    assert server.requests[0].body["options"] == {}


async def test_generate_when_the_prompt_is_to_be_continued_then_says_that_it_takes_chats_alone() -> None:
    async with model_of("127.0.0.1:1") as model:
        with pytest.raises(UsageError, match="--prompt-style instruct"):
            await model.generate(request("def add(a, b):\n"))


@pytest.mark.parametrize(
    "fault",
    [
        *(Fault(status=status) for status in (408, 429, 500, 503)),
        Fault(cut=True),
        Fault(garbled='{"message": {"conte\n'),
        Fault(garbled='{"message": "oops"}\n'),
        Fault(garbled='{"error": "the runner has ended"}\n'),
    ],
    ids=repr,
)
async def test_generate_when_a_request_fails_in_passing_then_asks_again_and_counts(fault: Fault) -> None:
    with OllamaServer(says(TEXT), faults=once(fault)) as server:
        completion = await complete(server)
    assert (completion.text, completion.tries, len(server.requests)) == (TEXT, 2, 2)


async def test_generate_when_the_answer_is_never_finished_then_is_a_generation_error_with_the_count() -> None:
    never = OllamaServer(says(Reply(TEXT, finish_reason=None)))
    with never as server, pytest.raises(GenerationError, match="ended before the answer did") as caught:
        await complete(server)
    assert caught.value.tries == len(server.requests) == 4


async def test_generate_when_the_request_is_wrong_then_is_a_generation_error_at_once() -> None:
    declining = OllamaServer(faults=lambda _: Fault(status=400, words="does not chat"))
    with declining as server, pytest.raises(GenerationError, match="does not chat"):
        await complete(server)
    assert len(server.requests) == 1


async def test_generate_when_the_model_is_gone_then_is_a_usage_error_at_once() -> None:
    gone = pytest.raises(UsageError, match=r"model 'm' not found.*`ollama pull m`")
    with OllamaServer(models=("other:latest",)) as server, gone:
        await complete(server)
    assert len(server.requests) == 1


async def test_generate_when_the_server_has_gone_then_is_a_generation_error() -> None:
    with OllamaServer() as server:
        model = model_of(server)
    async with model:
        with pytest.raises(GenerationError) as caught:
            await model.generate(request())
    assert server.url in str(caught.value) and caught.value.tries == 4


async def test_generate_when_cancelled_then_hangs_up() -> None:
    with OllamaServer(says(TEXT), faults=lambda _: Fault(hold=True)) as server:
        async with model_of(server) as model:
            task = asyncio.create_task(model.generate(request()))
            assert await asyncio.to_thread(server.held.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.hung_up.wait, 10)


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


async def test_model_when_the_settings_are_in_dotenv_then_takes_them_from_there() -> None:
    with OllamaServer(says("x"), key=KEY) as server:
        Path(".env").write_text(f"OLLAMA_API_KEY={KEY}\nOLLAMA_HOST={server.url}\n")
        async with Ollama("m") as model:
            assert (await model.generate(request())).text == "x"


@pytest.mark.parametrize("host", ["http://h:port", "http://h\x00st"])
def test_model_when_the_address_is_none_then_names_the_variable(host: str) -> None:
    Path(".env").write_text(f"OLLAMA_HOST={host}\n")
    with pytest.raises(UsageError, match="OLLAMA_HOST is no address of a server"):
        Ollama("m")


@pytest.mark.parametrize("name", ["qwen", "qwen:latest", "Qwen", "coder:7b", "host:1/someone/coder"])
async def test_check_when_ollama_would_find_the_model_then_passes(name: str) -> None:
    with OllamaServer(models=("qwen:latest", "coder:7b", "host:1/someone/coder:latest")) as server:
        async with model_of(server, name) as model:
            await model.check()
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


async def test_check_when_no_server_answers_then_names_the_address_and_the_mend() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with model_of(url) as model:
            with pytest.raises(ServerUnreachable, match="start it with `ollama serve` or set OLLAMA_HOST") as caught:
                await model.check()
    assert url in str(caught.value)
