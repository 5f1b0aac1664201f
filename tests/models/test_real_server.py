"""The OpenAI provider against a server that is not ours: the one that comes with the transformers library."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import UnknownName
from core.types import Completion, Prompt
from models.openai import OpenAI
from tests.models.asking import CHAT, request
from tests.models.serving import NAME, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("home")) as address:
        yield address


def model_at(address: str, name: str = NAME) -> OpenAI:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_BASE_URL", address)
        return OpenAI(name)


async def complete(address: str, prompt: Prompt, **asked: Any) -> Completion:
    async with asyncio.timeout(120), model_at(address) as model:
        return await model.generate(request(prompt, **asked))


async def test_check_when_the_server_has_the_model_then_passes_and_else_names_those_it_has(address: str) -> None:
    async with asyncio.timeout(120), model_at(address) as model:
        await model.check()
    async with asyncio.timeout(120), model_at(address, "maker/tinny") as model:
        with pytest.raises(UnknownName, match="did you mean 'maker/tiny'"):
            await model.check()


@pytest.mark.parametrize(("prompt", "read"), [(CHAT, 21), ("def add(", 4)])
async def test_generate_when_answered_then_text_tokens_and_times_are_recorded(
    address: str, prompt: Prompt, read: int
) -> None:
    completion = await complete(address, prompt, max_tokens=12, temperature=0.0)
    assert completion.text and completion.finish_reason == "length"
    assert (completion.input_tokens, completion.output_tokens) == (read, 12)
    assert completion.model_served == f"{NAME}@main"
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s <= completion.total_s


async def test_generate_when_asked_twice_at_temperature_0_then_answers_the_same(address: str) -> None:
    first, second = [await complete(address, "def add(", max_tokens=12, temperature=0.0) for _ in range(2)]
    assert first.text == second.text


async def test_generate_when_many_ask_at_once_then_each_is_answered(address: str) -> None:
    async with asyncio.timeout(120), model_at(address) as model:
        asks = (model.generate(request(prompt, max_tokens=8, temperature=0.0)) for prompt in (CHAT, "a") * 4)
        completions = await asyncio.gather(*asks)
    assert [completion.output_tokens for completion in completions] == [8] * 8
    assert len({completion.text for completion in completions}) == 2
