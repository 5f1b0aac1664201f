"""Continuations that a model in this process scores, against lm-eval's own model of the transformers library."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models
from core.errors import GenerationError
from core.types import Completion, Message, Prompt, Request
from models.line import Line
from tests.models import tiny
from tests.models.asking import CHAT, request
from tests.models.test_huggingface import failing, tokenizer_of

pytestmark = pytest.mark.slow

PAIRS = [
    (context, continuation)
    for context in (
        "def add(a, b):\n    return",
        "for i in range(10):\n  ",
        "añadir é",
        "<s>a + b = ",
        "x = [1, 2]\n" * 3,
    )
    for continuation in (" a + b", "print(i)\n", " é", "x")
]
TEXTS = ("a", "def add(a, b):\n    return a + b\n", " é añadir\n\n", "x = [1, 2, 3]\n" * 30)
CLOSE = pytest.approx


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("scored"), chat_template=tiny.WITH_BOS)


@pytest.fixture(scope="session")
def words_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.checkpoint(tmp_path_factory.mktemp("words"), tokenizer="words", chat_template=tiny.WITHOUT_BOS)


@pytest.fixture(scope="session")
def bare_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer has no BOS."""
    folder = tiny.checkpoint(tmp_path_factory.mktemp("bare"))
    tokenizer = tokenizer_of(folder)
    from tokenizers import processors

    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.bos_token = None
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DEVICE", "cpu")
    monkeypatch.delenv("HF_BATCH", raising=False)


def asked(prompt: Prompt, continuation: str | None) -> Request:
    return replace(request(prompt, max_tokens=8), continuation=continuation)


async def scores(folder: Path, pairs: Sequence[tuple[Prompt, str | None]]) -> list[Completion]:
    """How continuations are scored that are asked for at once; None: an answer is."""
    async with asyncio.timeout(120), models.make(f"hf/{folder}") as model:
        await model.check()
        line = Line(model)
        return await asyncio.gather(*(line.complete(asked(*pair)) for pair in pairs))


async def score(folder: Path, prompt: Prompt, continuation: str) -> Completion:
    return (await scores(folder, [(prompt, continuation)]))[0]


def by_lm_eval(folder: Path, kind: str, arguments: Sequence[tuple[str, ...]], **settings: Any) -> Any:
    """The same by lm-eval's own model."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    model = HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4, **settings)
    asks: Any = [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]  # type: ignore[arg-type]
    return getattr(model, kind)(asks, disable_tqdm=True)


def token_by_token(folder: Path, before: list[int], tokens: list[int]) -> tuple[float, bool]:
    """The score of token ids after others, by nothing but the model's forward pass."""
    import torch
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        shares = model(torch.tensor([before + tokens])).logits[0].log_softmax(-1)
    places = [(len(before) - 1 + i, token) for i, token in enumerate(tokens)]
    return sum(float(shares[at, token]) for at, token in places), all(int(shares[at].argmax()) == t for at, t in places)


# ── against lm-eval ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", ["folder", "words_folder", "bare_folder"])
async def test_generate_when_a_context_goes_before_then_the_continuations_score_is_lm_evals(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    tokenizer = tokenizer_of(folder)
    # Where all of a continuation's tokens are the prompt's too, lm-eval scores nothing, or fails.
    pairs = [
        (prompt, continuation)
        for prompt, continuation in PAIRS
        if len(tokenizer.encode(prompt.rstrip())) < len(tokenizer.encode(prompt + continuation))
    ]
    assert len(pairs) >= len(PAIRS) - 1
    ours = await scores(folder, pairs)
    theirs = await asyncio.to_thread(by_lm_eval, folder, "loglikelihood", pairs)
    assert [each.logprob for each in ours] == CLOSE([logprob for logprob, _ in theirs], abs=1e-4, rel=0)
    assert [each.greedy for each in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("kind", ["folder", "words_folder", "bare_folder"])
async def test_generate_when_nothing_goes_before_then_the_continuations_score_is_lm_evals(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    pairs = [("", text) for text in (*TEXTS[:3], "<s>a + b")]
    ours = await scores(folder, pairs)
    theirs = await asyncio.to_thread(by_lm_eval, folder, "loglikelihood", pairs)
    assert [each.logprob for each in ours] == CLOSE([logprob for logprob, _ in theirs], abs=1e-4, rel=0)
    assert [each.greedy for each in ours] == [greedy for _, greedy in theirs]


@pytest.mark.parametrize("kind", ["folder", "words_folder", "bare_folder"])
async def test_generate_when_a_text_is_longer_than_the_context_then_its_windows_are_lm_evals(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    # Left to itself, lm-eval's model puts a tokenizer's BOS behind the one that is the prefix already.
    settings = {} if kind == "bare_folder" else {"add_bos_token": False}
    ours = await scores(folder, [("", text) for text in TEXTS])
    theirs = await asyncio.to_thread(
        by_lm_eval, folder, "loglikelihood_rolling", [(text,) for text in TEXTS], **settings
    )
    assert [each.logprob for each in ours] == CLOSE(theirs, abs=1e-4, rel=0)
    assert max(each.input_tokens or 0 for each in ours) > 128


# ── what is scored, and what is not ──────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_the_greedy_answer_is_scored_then_each_of_its_tokens_is_the_likeliest(folder: Path) -> None:
    prompt = "def add(a, b):\n    return"
    (answer,) = await scores(folder, [(prompt, None)])
    tokenizer = tokenizer_of(folder)
    before, whole = tokenizer.encode(prompt), tokenizer.encode(prompt + answer.text)
    completion = await score(folder, prompt, answer.text)
    assert completion.text == answer.text and completion.finish_reason == "stop"
    assert (completion.logprob, completion.greedy) == (
        CLOSE(token_by_token(folder, before, whole[len(before) :])[0], abs=1e-4),
        token_by_token(folder, before, whole[len(before) :])[1],
    )
    assert (completion.input_tokens, completion.output_tokens) == (len(whole), 0)


@pytest.mark.parametrize("kind", ["folder", "words_folder"])
async def test_generate_when_the_prompt_is_a_chat_then_scores_what_comes_after_it_as_its_template_has_it(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    tokenizer = tokenizer_of(folder)
    begun = (*CHAT, Message("assistant", "Well:"))
    for chat, start in ((CHAT, "<|assistant|>"), (begun, "<|assistant|>Well:")):
        bos = "<s>" if kind == "folder" else ""
        written = f"{bos}<|system|>Be brief.</s><|user|>Write add.</s>{start}"
        before, whole = (tokenizer.encode(each, add_special_tokens=False) for each in (written, f"{written} a + b"))
        completion = await score(folder, chat, " a + b")
        logprob, greedy = token_by_token(folder, before, whole[len(before) :])
        assert (completion.logprob, completion.greedy) == (CLOSE(logprob, abs=1e-4), greedy)


async def test_generate_when_answers_and_scores_are_asked_for_together_then_each_is_as_alone(folder: Path) -> None:
    pairs: list[tuple[Prompt, str | None]] = [
        *PAIRS[:3],
        ("def add(", None),
        ("", TEXTS[3]),
        (CHAT, " é"),
        (CHAT, None),
    ]
    together = await scores(folder, pairs)
    for pair, completion in zip(pairs, together, strict=True):
        (alone,) = await scores(folder, [pair])
        assert completion.text == alone.text and completion.greedy == alone.greedy
        assert completion.logprob == (None if alone.logprob is None else CLOSE(alone.logprob, abs=1e-4))


async def test_generate_when_a_token_is_of_prompt_and_continuation_then_counts_as_the_continuations(
    folder: Path,
) -> None:
    tokenizer = tokenizer_of(folder)
    before, whole = tokenizer.encode("a retu"), tokenizer.encode("a return")
    assert len(whole) <= len(before)
    shared = next(i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b)
    completion = await score(folder, "a retu", "rn")
    assert completion.logprob == CLOSE(token_by_token(folder, whole[:shared], whole[shared:])[0], abs=1e-4)


async def test_generate_when_prompt_and_continuation_are_too_long_then_fails_and_names_the_limit(folder: Path) -> None:
    tokenizer = tokenizer_of(folder)
    prompt = next(text for i in range(200) if len(tokenizer.encode(text := "é;" * i + "x")) >= 127)
    room = 129 - len(tokenizer.encode(prompt))
    completion = await score(folder, prompt, "%" * room)
    assert completion.input_tokens == 129
    with pytest.raises(GenerationError, match="takes 128 tokens: the prompt and the continuation have 130"):
        await score(folder, prompt, "%" * (room + 1))


async def test_generate_when_there_is_nothing_to_score_then_its_probability_is_one(folder: Path) -> None:
    for prompt in ("", "a", CHAT):
        completion = await score(folder, prompt, "")
        assert (completion.logprob, completion.greedy, completion.text) == (0.0, True, "")


async def test_parameters_when_a_continuation_is_scored_then_have_no_sampling(folder: Path) -> None:
    async with models.make(f"hf/{folder}") as model:
        used = {"endpoint": "in process", "model": str(folder), "device": "cpu", "dtype": "float32"}
        assert model.parameters(asked("a", "b")) == used
        assert model.capabilities.logprobs


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("fails", [lambda ids: len(ids) > 2, lambda ids: len(ids) > 1])
async def test_generate_when_pieces_need_too_much_memory_together_then_they_are_scored_alone(
    folder: Path, fails: Callable[[Any], bool]
) -> None:
    pairs: list[tuple[Prompt, str | None]] = [*PAIRS[:4], ("", TEXTS[3])]
    expected = [completion.logprob for completion in await scores(folder, pairs)]
    async with asyncio.timeout(60), models.make(f"hf/{folder}") as model:
        await model.check()
        with failing(model, fails) as sizes:
            completions = await asyncio.gather(*(model.generate(asked(*pair)) for pair in pairs))
    assert [completion.logprob for completion in completions] == CLOSE(expected, abs=1e-4)
    assert max(sizes) == 8


async def test_generate_when_one_cannot_be_scored_then_says_why_and_the_others_are(folder: Path) -> None:
    poison = tokenizer_of(folder).convert_tokens_to_ids("%")
    async with asyncio.timeout(60), models.make(f"hf/{folder}") as model:
        await model.check()
        with failing(model, lambda ids: bool((ids == poison).any())):
            asks = [asked("a", " b"), asked("% b", " c"), asked("c", " d")]
            first, bad, last = await asyncio.gather(*map(model.generate, asks), return_exceptions=True)
    assert isinstance(first, Completion) and isinstance(last, Completion)
    assert isinstance(bad, GenerationError) and "tried to allocate 3 GiB" in str(bad)


async def test_generate_when_the_logits_are_no_numbers_then_fails_rather_than_score(folder: Path) -> None:
    async with asyncio.timeout(60), models.make(f"hf/{folder}") as model:
        await model.check()
        model._decoder._model.lm_head.weight.data.fill_(float("nan"))  # type: ignore[attr-defined]
        with pytest.raises(GenerationError, match="not numbers"):
            await model.generate(asked("a", " b"))
