from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

import models
from core.errors import GenerationError, UsageError
from core.types import Completion, Message, Prompt
from tests.models import tiny
from tests.models.asking import CHAT, request

pytestmark = pytest.mark.slow

PROMPTS = ("a", "def add(a, b):\n    return", "for i in range(10):\n    print(", "é", "x = [1, 2, 3]\n" * 4)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose tokenizer keeps every byte, with a chat template."""
    return tiny.checkpoint(tmp_path_factory.mktemp("tiny"), chat_template=tiny.WITH_BOS)


@pytest.fixture(scope="session")
def words_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One whose tokenizer normalises, and drops the space at a text's beginning."""
    return tiny.checkpoint(tmp_path_factory.mktemp("words"), tokenizer="words", chat_template=tiny.WITHOUT_BOS)


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DEVICE", "cpu")
    monkeypatch.delenv("HF_BATCH", raising=False)


def model_of(folder: Path) -> Any:
    return models.make(f"hf/{folder}")


async def together(folder: Path, prompts: tuple[Prompt, ...], **asked: Any) -> list[Completion]:
    """The answers to prompts that are asked for at once, each with its place as its index."""
    async with asyncio.timeout(120), model_of(folder) as model:
        await model.check()
        batches = batches_of(model)
        asks = (model.generate(request(prompt, index=i, **asked)) for i, prompt in enumerate(prompts))
        completions = await asyncio.gather(*asks)
    assert [len(batch) for batch in batches] == [len(prompts)]
    return completions


async def alone(folder: Path, prompts: tuple[Prompt, ...], **asked: Any) -> list[Completion]:
    """The same, one after another."""
    async with asyncio.timeout(120), model_of(folder) as model:
        return [await model.generate(request(prompt, index=i, **asked)) for i, prompt in enumerate(prompts)]


async def complete(folder: Path, prompt: Prompt = "def add(", **asked: Any) -> Completion:
    return (await alone(folder, (prompt,), **asked))[0]


def batches_of(model: Any) -> list[list[list[int]]]:
    """What the model will have been given: for each batch the token ids of each prompt."""
    batches: list[list[list[int]]] = []
    work = model._batcher._work

    def watched(batch: Any) -> None:
        run = model._decoder.run
        model._decoder.run = lambda rows, ended: (batches.append([row.prompt for row in rows]), run(rows, ended))
        try:
            work(batch)
        finally:
            model._decoder.run = run

    model._batcher._work = watched
    return batches


async def fed(folder: Path, prompt: Prompt) -> list[int]:
    """The token ids that a prompt becomes."""
    async with asyncio.timeout(60), model_of(folder) as model:
        batches = batches_of(model)
        await model.generate(request(prompt, max_tokens=1))
    return batches[0][0]


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def likeliest(folder: Path, prompt: str, count: int) -> list[int]:
    """The token ids that continue a prompt at temperature 0, by nothing but the model's own forward pass."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = tokenizer_of(folder)(prompt)["input_ids"]
    start = len(ids)
    model: Any = AutoModelForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for _ in range(count):
            ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_greedy_then_is_what_the_forward_pass_says_and_the_ids_decode_to(folder: Path) -> None:
    completion = await complete(folder, max_tokens=24)
    ids = likeliest(folder, "def add(", 24)
    assert completion.text == tokenizer_of(folder).decode(ids, clean_up_tokenization_spaces=False)
    assert (completion.finish_reason, completion.input_tokens, completion.output_tokens) == ("length", 4, 24)
    assert completion.ttft_s is not None and completion.total_s is not None
    assert 0 < completion.ttft_s < completion.total_s
    assert set(completion.timings) == {"prompt", "generation"} and min(completion.timings.values()) > 0


async def test_generate_when_greedy_then_a_batch_answers_as_each_alone(folder: Path) -> None:
    batch = await together(folder, PROMPTS, max_tokens=40)
    single = await alone(folder, PROMPTS, max_tokens=40)
    assert [completion.text for completion in batch] == [completion.text for completion in single]
    assert len({completion.text for completion in batch}) == len(PROMPTS)
    assert [completion.input_tokens for completion in batch] == [completion.input_tokens for completion in single]


async def test_generate_when_more_ask_than_fit_then_they_go_in_batches(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_BATCH", "3")
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        batches = batches_of(model)
        await asyncio.gather(*(model.generate(request("a", max_tokens=2)) for _ in range(7)))
    assert [len(batch) for batch in batches] == [3, 3, 1]


async def test_generate_when_rows_end_apart_then_the_first_to_end_is_answered_first(folder: Path) -> None:
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        long = asyncio.create_task(model.generate(request("a", max_tokens=100)))
        short = asyncio.create_task(model.generate(request("a", max_tokens=2)))
        await asyncio.wait((long, short), return_when=asyncio.FIRST_COMPLETED)
        assert short.done() and not long.done()
        assert (await long).text.startswith((await short).text)
        assert (await long).total_s > (await short).total_s


async def test_generate_when_it_begins_with_a_space_that_decoders_drop_then_keeps_it(words_folder: Path) -> None:
    from models.decoding import Decoder

    tokenizer = tokenizer_of(words_folder)
    async with asyncio.timeout(60), model_of(words_folder) as model:
        await model.check()
        decoder: Decoder = model._decoder
    whole = "def f():\n    return x"
    ids = tokenizer.encode(whole, add_special_tokens=False)
    cut = next(i for i in range(len(ids)) if tokenizer.decode(ids[:i]) == "def f():\n")
    assert decoder.text(ids[cut:]) == "    return x"
    assert tokenizer.decode(ids[cut:]) != "    return x"


@pytest.mark.parametrize("prompt", ["ﬁne = 'ａｂｃ'\n", "  x =  1 ,  2 . ", "e\u0301 = '\u212b'"])
async def test_generate_when_the_tokenizer_normalises_the_prompt_then_the_text_is_that_of_the_new_tokens_alone(
    words_folder: Path, prompt: str
) -> None:
    ids = likeliest(words_folder, prompt, 16)
    tokenizer = tokenizer_of(words_folder)
    assert tokenizer.decode(tokenizer(prompt)["input_ids"], skip_special_tokens=True) != prompt
    text = (await complete(words_folder, prompt, max_tokens=16)).text
    assert text.lstrip(" ") == tokenizer.decode(ids, skip_special_tokens=True).lstrip(" ")


async def test_generate_when_the_model_writes_special_tokens_then_the_text_is_without(folder: Path) -> None:
    from models.decoding import Decoder

    tokenizer = tokenizer_of(folder)
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        decoder: Decoder = model._decoder
    marks = tokenizer.convert_tokens_to_ids(["<|user|>", tiny.BOS])
    ids = tokenizer.encode("a , b .", add_special_tokens=False)
    assert decoder.text([marks[0], *ids, marks[1]]) == "a , b ."


async def test_generate_when_a_chat_begins_with_reasoning_then_the_answer_is_what_follows(folder: Path) -> None:
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        model._decoder.text = lambda ids: "<think>hm</think>yes"
        chat, raw = [await model.generate(request(prompt, max_tokens=2)) for prompt in (CHAT, "a")]
    assert (chat.answer, chat.thinking) == ("yes", "hm")
    assert (raw.answer, raw.thinking) == ("<think>hm</think>yes", None)


# ── ends ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_the_model_ends_it_then_says_so_and_counts_the_token_that_did(
    folder: Path, tmp_path: Path
) -> None:
    ids = likeliest(folder, "def add(", 8)
    assert ids[5] not in ids[:5]
    ending = tiny.checkpoint(tmp_path / "ending", eos_token_id=[1, ids[5]])
    completion = await complete(ending, max_tokens=24)
    assert (completion.finish_reason, completion.output_tokens) == ("stop", 6)
    assert completion.text == tokenizer_of(folder).decode(ids[:5], clean_up_tokenization_spaces=False)


def plain(text: str, start: int) -> str:
    """Three characters of a text, each a byte of its own, that stand nowhere before `start`."""
    return next(found for found in re.findall(r"(?=([!-~]{3}))", text[start:]) if found not in text[: start + 2])


async def test_generate_when_a_stop_comes_then_ends_there_however_tokens_split_it(folder: Path) -> None:
    asked: dict[str, Any] = {"max_tokens": 100, "temperature": 0.7, "seed": 5}
    prompts = ("for i in", "a")
    free = await together(folder, prompts, **asked)
    stop = plain(free[0].text, 10)
    assert stop not in free[1].text
    stopped = await together(folder, prompts, stop=("never in it", stop), **asked)
    text = stopped[0].text
    assert free[0].text.startswith(text) and stop in text and stop not in text[:-3]
    assert (stopped[0].finish_reason, stopped[1].text) == ("stop", free[1].text)
    shown = tokenizer_of(folder).encode(text, add_special_tokens=False)
    assert len(tokenizer_of(folder).decode(shown[-1:])) < 3


async def test_generate_when_several_stops_would_come_then_the_earliest_ends_it(folder: Path) -> None:
    asked: dict[str, Any] = {"max_tokens": 100, "temperature": 0.7, "seed": 5}
    text = (await complete(folder, "for i in", **asked)).text
    early, late = plain(text, 10), plain(text, 40)
    stopped = await complete(folder, "for i in", stop=(late, early), **asked)
    assert early in stopped.text and late not in stopped.text


async def test_generate_when_the_prompt_holds_the_stop_then_it_does_not_end_it(folder: Path) -> None:
    prompt = "\ndef add("
    completion = await complete(folder, prompt, max_tokens=12, stop=("\ndef",))
    assert (completion.finish_reason, completion.output_tokens) == ("length", 12)


# ── sampling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_generate_when_seeded_then_each_sample_is_its_own_and_the_same_in_a_batch_as_alone(folder: Path) -> None:
    asked: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95, "seed": 7, "max_tokens": 30}
    prompts = ("def add(",) * 6
    batch = [completion.text for completion in await together(folder, prompts, **asked)]
    assert batch == [completion.text for completion in await alone(folder, prompts, **asked)]
    assert len(set(batch)) == len(prompts)
    assert batch != [completion.text for completion in await together(folder, prompts, **{**asked, "seed": 70})]


async def test_generate_when_not_seeded_then_draws_anew(folder: Path) -> None:
    texts = {c.text for c in await together(folder, ("a",) * 4, temperature=1.0, max_tokens=20)}
    assert len(texts) == 4


async def test_generate_when_greedy_and_sampled_share_a_batch_then_the_greedy_is_as_alone(folder: Path) -> None:
    async with asyncio.timeout(60), model_of(folder) as model:
        greedy = await model.generate(request("a", max_tokens=20))
        asks = [model.generate(request("a", max_tokens=20, temperature=t, seed=1)) for t in (0.0, 1.5, None)]
        mixed = await asyncio.gather(*asks)
    assert mixed[0].text == mixed[2].text == greedy.text != mixed[1].text


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.3, 1.0), (0.5, 0.8), (1.0, 0.3)])
async def test_generate_when_sampling_then_draws_from_the_tempered_nucleus(
    folder: Path, temperature: float, top_p: float
) -> None:
    import torch

    from models.decoding import Row

    draws = 4000
    async with asyncio.timeout(120), model_of(folder) as model:
        await model.check()
        prompt = tokenizer_of(folder)("def add(")["input_ids"]
        with torch.no_grad():
            logits = model._decoder._model(torch.tensor([prompt])).logits[0, -1].double()
        rows = [Row(prompt, 1, temperature=temperature, top_p=top_p, seed=i) for i in range(draws)]
        model._decoder.run(rows, lambda row: None)
    drawn = torch.bincount(torch.tensor([row.ids[0] for row in rows]), minlength=len(logits)).double()

    shares = (logits / temperature).softmax(-1)
    nucleus, reached = set(), 0.0
    for token in shares.argsort(descending=True).tolist():
        if reached >= top_p:
            break
        nucleus.add(token)
        reached += float(shares[token])
    outside = [token not in nucleus for token in range(len(shares))]
    assert drawn[outside].sum() == 0
    shares[outside] = 0
    expected = shares / shares.sum() * draws
    # Pearson's, over the tokens that are expected often enough and the rest as one: 5 standard deviations.
    often = expected >= 10
    pairs = [(drawn[often], expected[often]), (drawn[~often].sum(), expected[~often].sum().clamp_min(1e-9))]
    chi_square = sum(float(((seen - due) ** 2 / due).sum()) for seen, due in pairs)
    freedom = int(often.sum())
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


def test_noisy_when_hardly_warm_then_takes_the_likeliest() -> None:
    import torch

    from models.decoding import noisy

    scores = torch.tensor([1.0, 3.0, -torch.inf, 2.999])
    for seed in range(50):
        generator = torch.Generator().manual_seed(seed)
        assert int(noisy(scores, 1e-30, 1.0, generator).argmax()) == 1
        assert int(noisy(scores, 1.0, 1e-9, generator).argmax()) == 1
        assert int(noisy(scores, 100.0, 1.0, generator).argmax()) != 2


async def test_generate_when_the_checkpoint_has_settings_of_its_own_then_they_decide_nothing(
    folder: Path, tmp_path: Path
) -> None:
    plain = await complete(folder, max_tokens=40)
    settings = {
        "do_sample": True,
        "temperature": 5.0,
        "top_k": 3,
        "repetition_penalty": 9.0,
        "no_repeat_ngram_size": 1,
        "max_length": 7,
        "min_new_tokens": 60,
        "suppress_tokens": likeliest(folder, "def add(", 3),
    }
    leaky = tiny.checkpoint(tmp_path / "leaky", chat_template=tiny.WITH_BOS, **settings)
    assert (await complete(leaky, max_tokens=40)).text == plain.text
    asked: dict[str, Any] = {"temperature": 1.0, "seed": 3, "max_tokens": 40}
    assert (await complete(leaky, **asked)).text == (await complete(folder, **asked)).text


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("template", "prompt", "count", "text"),
    [
        (tiny.WITH_BOS, CHAT, 1, "<s><|system|>Be brief.</s><|user|>Write add.</s><|assistant|>"),
        (tiny.WITHOUT_BOS, CHAT, 0, "<|system|>Be brief.</s><|user|>Write add.</s><|assistant|>"),
        (tiny.WITH_BOS, "def add(a, b):\n", 1, "<s>def add(a, b):\n"),
        (tiny.WITHOUT_BOS, "def add(a, b):\n", 1, "<s>def add(a, b):\n"),
        (None, "<s>def add(a, b):\n", 1, "<s>def add(a, b):\n"),
        (tiny.WITH_BOS, (*CHAT, Message("assistant", "def ")), 1, "<|user|>Write add.</s><|assistant|>def "),
    ],
)
async def test_generate_when_a_prompt_is_encoded_then_is_what_the_template_or_the_tokenizer_writes_and_has_one_bos(
    tmp_path: Path, template: str | None, prompt: Prompt, count: int, text: str
) -> None:
    folder = tiny.checkpoint(tmp_path / "m", chat_template=template)
    tokenizer = tokenizer_of(folder)
    ids = await fed(folder, prompt)
    assert ids.count(tokenizer.bos_token_id) == count
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False).endswith(text)


async def test_generate_when_the_template_refuses_the_chat_then_says_what_it_says(tmp_path: Path) -> None:
    folder = tiny.checkpoint(tmp_path / "m", chat_template="{{ raise_exception('no system role') }}")
    with pytest.raises(GenerationError, match="no system role"):
        await complete(folder, CHAT)


async def test_generate_when_there_is_no_template_then_takes_strings_alone(tmp_path: Path, folder: Path) -> None:
    bare = tiny.checkpoint(tmp_path / "m")
    assert model_of(folder).capabilities.styles == ("instruct", "completion")
    assert model_of(bare).capabilities.styles == ("completion",)
    with pytest.raises(UsageError, match="--prompt-style completion"):
        await complete(bare, CHAT)


async def test_generate_when_the_context_is_too_small_then_names_it_and_the_counts_and_others_are_answered(
    folder: Path,
) -> None:
    async with asyncio.timeout(60), model_of(folder) as model:
        assert model.capabilities.context == 128
        asks = [request("é" * 130), request("éa", max_tokens=126), request("éa", max_tokens=125), request("éa")]
        long, wide, full, free = await asyncio.gather(*map(model.generate, asks), return_exceptions=True)
    for error, counts in ((long, ("131", "1024")), (wide, ("3", "126"))):
        assert isinstance(error, GenerationError)
        assert all(f" {count}" in str(error) for count in ("128", *counts))
    assert isinstance(full, Completion) and isinstance(free, Completion)
    assert (full.input_tokens, full.output_tokens, free.output_tokens) == (3, 125, 125)


def test_parameters_when_little_is_asked_then_say_what_is_used_all_the_same(folder: Path) -> None:
    model = model_of(folder)
    used = {"endpoint": "in process", "model": str(folder), "device": "cpu", "dtype": "float32"}
    assert model.parameters(request(temperature=None)) == {**used, "temperature": 0.0, "max_tokens": 1024}
    asked = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "stop": ("a", "b", "c", "d", "e")}
    assert model.parameters(request(index=2, seed=40, **asked)) == {**used, **asked, "seed": 42, "stop": [*"abcde"]}


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def failing(model: Any, fails: Callable[[Any], bool]) -> Iterator[list[int]]:
    """The loaded model, whose forward pass runs out of memory for some inputs; the sizes of the batches."""
    import torch

    inner = model._decoder._model
    forward, sizes = inner.forward, []

    def faulty(input_ids: Any, **rest: Any) -> Any:
        sizes.append(len(input_ids))
        if fails(input_ids):
            raise torch.OutOfMemoryError("out of memory, tried to allocate 3 GiB")
        return forward(input_ids=input_ids, **rest)

    inner.forward = faulty
    try:
        yield sizes
    finally:
        inner.forward = forward


async def test_generate_when_a_batch_needs_too_much_memory_then_each_is_answered_alone_and_batches_shrink(
    folder: Path,
) -> None:
    expected = [completion.text for completion in await alone(folder, PROMPTS, max_tokens=20, temperature=1.0, seed=1)]
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        asks = [request(p, index=i, max_tokens=20, temperature=1.0, seed=1) for i, p in enumerate(PROMPTS)]
        with failing(model, lambda ids: len(ids) > 2) as sizes:
            completions = await asyncio.gather(*map(model.generate, asks))
            assert sizes.count(5) == 1
            assert [completion.text for completion in completions] == expected
            sizes.clear()
            await asyncio.gather(*map(model.generate, asks))
            assert max(sizes) == 2


async def test_generate_when_it_fails_alone_then_says_why_and_others_are_answered(folder: Path) -> None:
    poison = tokenizer_of(folder).convert_tokens_to_ids("%")
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        with failing(model, lambda ids: ids.shape[1] > 1 and bool((ids == poison).any())):
            asks = [request(prompt, max_tokens=3) for prompt in ("a", "%", "b")]
            first, bad, last = await asyncio.gather(*map(model.generate, asks), return_exceptions=True)
            with pytest.raises(GenerationError):
                await model.generate(request("%"))
    assert isinstance(first, Completion) and isinstance(last, Completion)
    assert isinstance(bad, GenerationError) and "tried to allocate 3 GiB" in str(bad)


async def test_generate_when_the_logits_are_no_numbers_then_fails_rather_than_answer(folder: Path) -> None:
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        model._decoder._model.lm_head.weight.data.fill_(float("nan"))
        with pytest.raises(GenerationError, match="not numbers"):
            await model.generate(request("a"))


async def test_generate_when_some_are_given_up_then_the_others_are_answered_and_the_device_is_free(
    folder: Path,
) -> None:
    expected = [completion.text for completion in await alone(folder, PROMPTS, max_tokens=60)]
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        running, cancelled = asyncio.Event(), Event()
        loop = asyncio.get_running_loop()

        def hold(_: Any) -> bool:
            loop.call_soon_threadsafe(running.set)
            cancelled.wait(30)
            return False

        with failing(model, hold) as sizes:
            tasks = [asyncio.create_task(model.generate(request(p, max_tokens=60))) for p in PROMPTS]
            await running.wait()
            late = asyncio.create_task(model.generate(request("late", max_tokens=60)))
            tasks[1].cancel()
            late.cancel()
            await asyncio.gather(tasks[1], late, return_exceptions=True)
            cancelled.set()
            kept = [await task for i, task in enumerate(tasks) if i != 1]
            assert [completion.text for completion in kept] == [text for i, text in enumerate(expected) if i != 1]
            assert set(sizes) == {len(PROMPTS)}
            await model.generate(request("b", max_tokens=1))
            assert sizes.count(1) == 1


async def test_aclose_when_requests_run_and_wait_then_ends_them_and_the_thread(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_BATCH", "1")
    async with asyncio.timeout(60):
        model = model_of(folder)
        await model.check()
        running, cancelled = asyncio.Event(), Event()
        loop = asyncio.get_running_loop()

        def hold(_: Any) -> bool:
            loop.call_soon_threadsafe(running.set)
            cancelled.wait(30)
            return False

        with failing(model, hold) as sizes:
            tasks = [asyncio.create_task(model.generate(request("a", max_tokens=120))) for _ in range(3)]
            await running.wait()
            closing = asyncio.create_task(model.aclose())
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            cancelled.set()
            await closing
        assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        assert sizes == [1]
        assert not any(thread.is_alive() for thread in model._batcher._thread._threads)


# ── what is there ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_check_when_loaded_then_the_revision_is_that_of_the_files_that_decide(tmp_path: Path) -> None:
    async def revision() -> str:
        async with asyncio.timeout(60), model_of(tmp_path) as model:
            await model.check()
            await model.check()
            return str(model.revision)

    tiny.checkpoint(tmp_path)
    first = await revision()
    assert len(first) == 64
    (tmp_path / "README.md").write_text("news")
    assert await revision() == first
    config = tmp_path / "generation_config.json"
    config.write_text(config.read_text() + "\n")
    second = await revision()
    assert second != first
    tiny.checkpoint(tmp_path, seed=1)
    assert await revision() not in (first, second)


async def test_check_when_named_by_a_relative_path_then_is_that_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    for name in (folder.name, f"./{folder.name}"):
        async with asyncio.timeout(60), models.make(f"hf/{name}") as model:
            await model.check()
            assert model.revision


async def test_check_when_kept_in_half_precision_then_a_cpu_computes_with_its_numbers_in_float32(
    tmp_path: Path,
) -> None:
    import torch

    folder = tiny.checkpoint(tmp_path / "half", dtype="bfloat16")
    async with asyncio.timeout(60), model_of(folder) as model:
        await model.check()
        weight = model._decoder._model.lm_head.weight
    assert model._checkpoint.dtype == "bfloat16"
    assert weight.dtype == torch.float32 and torch.equal(weight, weight.bfloat16().float())
    assert model.parameters(request())["dtype"] == "float32"


def spoil_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def spoil_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def ask_for_code(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}))
    (folder / "own.py").write_text("raise SystemExit(7)")


def take_a_weight(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in tensors.items() if "layers.1.mlp" not in k}, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (spoil_weights, "model.safetensors"),
        (spoil_config, "config.json"),
        (ask_for_code, "without code of its own"),
        (take_a_weight, "layers.1.mlp"),
    ],
)
async def test_check_when_the_folder_holds_no_whole_model_then_says_what_is_wrong(
    tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(tiny.checkpoint(tmp_path))
    with pytest.raises(UsageError) as caught:
        async with asyncio.timeout(60), model_of(tmp_path) as model:
            await model.check()
    assert said in str(caught.value) and str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_make_when_the_folder_is_missing_then_says_so() -> None:
    for name in ("/no/such/folder", "./gone", "~nobody-at-all/x", "/" + "x" * 5000):
        with pytest.raises(UsageError, match=f"there is no folder '{name}'"):
            models.make(f"hf/{name}")


@pytest.mark.parametrize(("variable", "value"), [("HF_DEVICE", "abacus"), ("HF_DEVICE", "cuda:77"), ("HF_BATCH", "0")])
def test_make_when_a_setting_is_none_then_names_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable):
        model_of(folder)


@pytest.mark.parametrize("package", ["torch", "transformers", "accelerate"])
def test_get_when_a_package_is_missing_then_says_what_to_install(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.delitem(sys.modules, "models.huggingface", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    with pytest.raises(UsageError, match=rf"'{package}': pip install 'touchstone\[hf\]'"):
        models.registry.get("hf")


def test_get_when_the_module_is_imported_then_torch_is_not() -> None:
    code = "import sys, models.huggingface; print({'torch', 'transformers'} & set(sys.modules))"
    root = Path(models.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


# ── the hub ──────────────────────────────────────────────────────────────────────────────────────────────────────────

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub(folder: Path) -> Iterator[str]:
    """A hub on loopback with one model, `maker/tiny`; `maker/closed` is for some alone. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            start, _, name = path.partition("/resolve/")
            file = folder / name.partition("/")[2]
            if "maker/closed" in path:
                self.reply(403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask"})
            elif "maker/tiny" not in path:
                self.reply(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            elif start != "/maker/tiny" or not file.is_file():
                self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            else:
                content = file.read_bytes()
                self.reply(200, {"ETag": f'"{file.name}-{len(content)}"', "X-Repo-Commit": COMMIT}, content)

        def reply(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
            self.send_response(status)
            for header in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(*header)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ASK = """
import asyncio, sys
from core.errors import TouchstoneError
import models
from tests.models.asking import request
async def ask():
    async with models.make("hf/" + sys.argv[1]) as model:
        await model.check()
        print(model.revision, (await model.generate(request("def add(", max_tokens=5))).output_tokens)
try:
    asyncio.run(ask())
except TouchstoneError as error:
    print(type(error).__name__, error)
"""


def ask_of_hub(name: str, cache: Path, **environment: str) -> str:
    """What asking a model of the hub ends in. In a process of its own, because the hub's address is read once."""
    import os

    root = Path(models.__file__).parents[1]
    outer = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    ran = subprocess.run(
        [sys.executable, "-c", ASK, name],
        cwd=root,
        env={**outer, "HF_HOME": str(cache), "HF_DEVICE": "cpu", **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return ran.stdout.strip()


def test_check_when_the_model_is_of_the_hub_then_fetches_it_once_and_the_revision_is_its_commit(
    folder: Path, tmp_path: Path
) -> None:
    with hub(folder) as url:
        assert ask_of_hub("maker/tiny", tmp_path, HF_ENDPOINT=url) == f"{COMMIT} 5"
        unknown = ask_of_hub("maker/typo", tmp_path, HF_ENDPOINT=url)
        closed = ask_of_hub("maker/closed", tmp_path, HF_ENDPOINT=url, HF_TOKEN="hf_A1b2C3d4E5f6G7h8wxyz")
    assert ask_of_hub("maker/tiny", tmp_path, HF_HUB_OFFLINE="1") == f"{COMMIT} 5"
    absent = ask_of_hub("maker/other", tmp_path, HF_HUB_OFFLINE="1")
    assert unknown.startswith("UsageError") and "no model of that name on the hub" in unknown
    assert closed.startswith("UsageError") and "HF_TOKEN" in closed and "hf_A1" not in closed
    assert absent.startswith("HostError") and "name the folder of a model" in absent
    assert all("\n" not in said for said in (unknown, closed, absent))
