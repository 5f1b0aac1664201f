"""Continuations that are scored: by OpenAI's protocol, against lm-eval's own client, and by what answers badly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

import models
from core.errors import GenerationError, UsageError
from core.types import Completion, Prompt, Request
from models.control import Control
from models.failures import Transient
from models.likelihood import parted, windows
from models.line import Line, characters
from models.openai import VLLM, OpenAI
from models.pace import Allowance
from tests.loopback import Fault, scoring
from tests.loopback.scoring import BOS, EOS, ScoringServer
from tests.models.asking import CHAT, request

CONTEXTS = (
    "Question: What is 2 + 2?\nAnswer:",
    "def añadir(a, b):\n    return (",
    "one two three ",
    "one two  \n\t ",
    "Größe – naïve 日本語、😀。",
    "x = f(",
)
CONTINUATIONS = (" four", "five", " añadir(b)\n", "日本 語😀", ")", " a b c d e f g")
PAIRS = tuple((context, continuation) for context in CONTEXTS for continuation in CONTINUATIONS)
TEXTS = (
    "one",
    "def add(a, b):\n    return a + b\n",
    " begins with a space, Größe 日本語 😀\n\n",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 3,
)


def asked(prompt: Prompt, continuation: str) -> Request:
    return replace(request(prompt), continuation=continuation)


def model_of(server: ScoringServer, kind: type[OpenAI] = VLLM, context: int | None = None) -> OpenAI:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(kind.url_variable, server.url)
        model = kind("m")
    model.capabilities = replace(model.capabilities, context=context)
    return model


async def scores(
    server: ScoringServer, pairs: Sequence[tuple[Prompt, str]], *, tries: int = 1, **made: Any
) -> list[Completion]:
    """How continuations are scored that are asked for at once."""
    async with asyncio.timeout(60), model_of(server, **made) as model:
        line = Line(model, Allowance(tries=tries, first_s=0))
        return await asyncio.gather(*(line.complete(asked(*pair)) for pair in pairs))


async def score(server: ScoringServer, prompt: Prompt, continuation: str, **made: Any) -> Completion:
    return (await scores(server, [(prompt, continuation)], **made))[0]


async def failing(server: ScoringServer, prompt: Prompt = "one two", continuation: str = " three") -> str:
    with pytest.raises(GenerationError) as caught:
        await score(server, prompt, continuation)
    assert "\n" not in str(caught.value) and server.url in str(caught.value)
    return str(caught.value)


def by_lm_eval(server: ScoringServer, kind: str, arguments: Sequence[tuple[str, ...]], context: int = 2048) -> Any:
    """The same by lm-eval's client, which has the server's tokenizer."""
    # Of the extra `slow`, with the packages that lm-eval's clients need.
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    client = LocalCompletionsAPI(
        base_url=f"{server.url}/completions", model="m", tokenizer_backend="remote", max_length=context
    )
    try:
        asks: Any = [Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments]  # type: ignore[arg-type]
        return getattr(client, kind)(asks, disable_tqdm=True)
    finally:
        client.tokenizer.session.close()


# ── against lm-eval ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.slow
async def test_score_when_a_context_goes_before_then_is_lm_evals_to_the_last_digit() -> None:
    with ScoringServer() as server:
        ours = await scores(server, PAIRS)
        theirs = await asyncio.to_thread(by_lm_eval, server, "loglikelihood", PAIRS)
    assert [(each.logprob, each.greedy) for each in ours] == theirs
    assert {each.greedy for each in ours} == {True, False}
    assert [each.text for each in ours] == [continuation for _, continuation in PAIRS]


@pytest.mark.slow
@pytest.mark.parametrize("bos", ["none", "counted", "uncounted"])
async def test_score_when_nothing_goes_before_then_is_lm_evals_to_the_last_digit(bos: Any) -> None:
    pairs = [("", continuation) for continuation in (*CONTINUATIONS, *TEXTS, f"{BOS}one two")]
    with ScoringServer(bos=bos) as server:
        ours = await scores(server, pairs)
        theirs = await asyncio.to_thread(by_lm_eval, server, "loglikelihood", pairs)
    assert [(each.logprob, each.greedy) for each in ours] == theirs


@pytest.mark.slow
@pytest.mark.parametrize("special", [(BOS, EOS), (None, EOS)])
@pytest.mark.parametrize("context", [4, 16, 17, 33, 2048])
async def test_score_when_a_text_is_longer_than_the_context_then_its_windows_are_lm_evals(
    context: int, special: Any
) -> None:
    with ScoringServer(context=context, special=special) as server:
        ours = await scores(server, [("", text) for text in TEXTS], context=context)
        arguments = [(text,) for text in TEXTS]
        theirs = await asyncio.to_thread(by_lm_eval, server, "loglikelihood_rolling", arguments, context)
    assert [each.logprob for each in ours] == theirs
    asks = [received.body for received in server.requests]
    by_each = [sorted(tuple(_flat(ask["prompt"])) for ask in asks if ("seed" in ask) is theirs) for theirs in (0, 1)]
    assert by_each[0] == by_each[1]
    assert all(ask["temperature"] == 0 and ask["max_tokens"] == 1 for ask in asks)


def _flat(prompt: Any) -> list[int]:
    return list(prompt[0] if isinstance(prompt[0], list) else prompt)


# ── the tokens of the continuation ───────────────────────────────────────────────────────────────────────────────────


def expected(server: ScoringServer, before: Sequence[str], tokens: Sequence[str]) -> tuple[float, bool]:
    """The score of tokens after others, straight from the server's function."""
    given = [token.encode() for token in (*before, *tokens)]
    each = [scoring.score(given[: i + 1]) for i in range(len(before), len(given))]
    return sum(own for own, _, _ in each), all(own == best for own, best, _ in each)


@pytest.mark.parametrize(("bos", "first"), [("none", ()), ("counted", (BOS,)), ("uncounted", (BOS,))])
@pytest.mark.parametrize(
    ("prompt", "continuation", "before", "tokens"),
    [
        ("one two", " three four", ["one", " two"], [" three", " four"]),
        ("one two ", "three", ["one", " two"], [" three"]),
        ("one two\n\n ", "three", ["one", " two"], ["\n", "\n", " three"]),
        ("one re", "turn x", ["one"], [" return", " x"]),
        ("日", "本 語。", [], ["日本", " 語", "。"]),
        ("é. ", "😀", ["é", "."], [" ", "😀"]),
    ],
)
async def test_score_when_the_server_puts_a_bos_before_a_text_or_none_then_the_continuations_tokens_count(
    bos: Any, first: tuple[str, ...], prompt: str, continuation: str, before: list[str], tokens: list[str]
) -> None:
    with ScoringServer(bos=bos) as server:
        if not before and not first:
            assert "first token of a text has no probability" in await failing(server, prompt, continuation)
            return
        completion = await score(server, prompt, continuation)
        assert (completion.logprob, completion.greedy) == expected(server, [*first, *before], tokens)
    assert server.requests[0].body["prompt"] == prompt + continuation
    assert (completion.input_tokens, completion.output_tokens) == (len([*first, *before, *tokens]), 1)
    assert (completion.text, completion.finish_reason, completion.model_served) == (continuation, "stop", "m-served")
    assert server.got == []


@pytest.mark.parametrize("bos", ["none", "counted", "uncounted"])
async def test_score_when_a_text_begins_with_the_bos_itself_then_that_is_its_own_or_a_second(bos: Any) -> None:
    with ScoringServer(bos=bos) as server:
        completion = await score(server, f"{BOS}one", " two")
        before = [BOS] * (bos != "none") + [BOS, "one"]
        assert (completion.logprob, completion.greedy) == expected(server, before, [" two"])


@pytest.mark.parametrize("bos", ["none", "counted", "uncounted"])
@pytest.mark.parametrize(("split", "spaces"), [(True, True), (False, False), (True, False)])
async def test_score_when_offsets_are_wrong_then_the_servers_tokenizer_tells_which_tokens_count(
    bos: Any, split: bool, spaces: bool
) -> None:
    with ScoringServer(bos=bos, split=split, spaces=spaces) as server:
        ours = await scores(server, PAIRS)
        for (prompt, continuation), completion in zip(PAIRS, ours, strict=True):
            context, text = parted(prompt, continuation)
            whole, before = server.encode(context + text), server.encode(context)
            assert whole[: len(before)] == before
            given = [BOS.encode()] * (bos != "none") + [server._token(each) for each in whole]
            count = len(whole) - len(before)
            each = [scoring.score(given[: i + 1]) for i in range(len(given) - count, len(given))]
            assert completion.logprob == sum(own for own, _, _ in each)
            assert completion.greedy == all(own == best for own, best, _ in each)
    assert "/tokenize" in server.got


async def test_score_when_wrong_offsets_cancel_out_then_they_are_not_believed() -> None:
    # Each byte of "é" is shown as a character, and the space after it is not shown: from there on they are right again.
    with ScoringServer(bos="counted", split=True, spaces=False) as server:
        completion = await score(server, "é", " one two")
        assert completion.logprob == expected(server, [BOS], [])[0] + sum(
            scoring.score([BOS.encode(), b"\xc3", b"\xa9", *tokens])[0] for tokens in ([b" one"], [b" one", b" two"])
        )


async def test_score_when_offsets_are_wrong_and_no_page_tells_then_fails_and_says_so() -> None:
    with ScoringServer(split=True, pages=()) as server:
        assert "not those of the text" in await failing(server, "naïve", " 日本")


# ── whole texts ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("pages", [(), ("/tokenize",)])
async def test_score_when_a_whole_text_is_put_behind_the_servers_own_bos_then_no_page_is_needed(pages: Any) -> None:
    with ScoringServer(bos="counted", pages=pages) as server:
        completion = await score(server, "", "one two\n")
        assert (completion.logprob, completion.greedy) == expected(server, [BOS], ["one", " two", "\n"])


@pytest.mark.parametrize(("pages", "special"), [((), (BOS, EOS)), (("/tokenizer_info",), (BOS, EOS))])
async def test_score_when_nothing_can_be_put_before_a_whole_text_then_fails_and_says_what_it_takes(
    pages: Any, special: Any
) -> None:
    with ScoringServer(pages=pages, special=special) as server:
        said = await failing(server, "", "one two")
    assert "the first token of a text has no probability" in said and "/tokenizer_info and /tokenize" in said


async def test_score_when_there_is_white_space_alone_before_a_text_then_is_scored_with_it_as_a_whole() -> None:
    with ScoringServer() as server:
        completion = await score(server, " \n", "one")
        assert (completion.logprob, completion.greedy) == expected(server, [BOS], [" ", "\n", "one"])


async def test_score_when_there_is_nothing_to_score_then_its_probability_is_one_and_nobody_is_asked() -> None:
    with ScoringServer() as server:
        for prompt in ("", "one"):
            completion = await score(server, prompt, "")
            assert (completion.text, completion.logprob, completion.greedy) == ("", 0.0, True)
    assert server.requests == []


async def test_score_when_many_whole_texts_are_asked_for_then_the_prefix_is_asked_for_once() -> None:
    with ScoringServer() as server:
        await scores(server, [("", f"text {i}") for i in range(5)])
    assert server.got.count("/tokenizer_info") == 1
    assert server.got.count("/tokenize") == 1 + 5


async def test_score_when_the_list_of_models_has_a_length_then_windows_are_of_it() -> None:
    with ScoringServer(context=12) as server:
        server.details = {"m": {"max_model_len": 12}}
        async with asyncio.timeout(30), model_of(server) as model:
            await model.check()
            completion = await model.generate(asked("", "a b c d e f g h i j k l m n"))
    assert [len(received.body["prompt"]) for received in server.requests] == [11, 11]
    assert completion.input_tokens == 22


# ── what is sent, and who is asked ───────────────────────────────────────────────────────────────────────────────────


async def test_score_when_asked_then_sends_what_its_parameters_say_and_no_sampling() -> None:
    ask = replace(request("one", temperature=0.7, max_tokens=99, seed=3, stop=("x",)), continuation=" two")
    with ScoringServer() as server:
        async with asyncio.timeout(30), model_of(server) as model:
            completion = await Line(model).complete(ask)
            parameters = model.parameters(ask)
    (received,) = server.requests
    sent = {"model": "m", "echo": True, "logprobs": 1, "max_tokens": 1, "temperature": 0}
    assert received.body == {"prompt": "one two", **sent}
    assert parameters == {"endpoint": f"{server.url}/completions", **sent} == completion.effective


async def test_generate_when_nothing_is_to_be_scored_then_answers_as_ever() -> None:
    with ScoringServer(lambda body: f"after {body['prompt']}") as server:
        async with asyncio.timeout(30), model_of(server) as model:
            completion = await model.generate(request("one"))
    assert (completion.text, completion.logprob, completion.greedy) == ("after one", None, None)


async def test_score_when_a_key_is_needed_then_the_tokenizers_pages_get_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "secret-A1b2C3d4E5f6")
    with ScoringServer(key="secret-A1b2C3d4E5f6") as server:
        completion = await score(server, "", "one")
        assert completion.logprob == expected(server, [BOS], ["one"])[0]


async def test_score_when_the_prompt_is_a_chat_then_fails_and_says_so() -> None:
    with ScoringServer() as server, pytest.raises(GenerationError, match="this is a chat"):
        await score(server, CHAT, "Yes")


@pytest.mark.parametrize(
    ("name", "elsewhere", "given", "can"),
    [
        ("vllm/m", False, {}, True),
        ("vllm/m", True, {}, True),
        ("vllm/m", True, {"vllm": {"logprobs": False}}, False),
        ("vllm/m", True, {"vllm/m": {"styles": ["instruct"]}}, False),
        ("openai/m", True, {}, True),
        ("openai/gpt-4o", True, {}, False),
        ("openai/m", True, {"openai/m": {"logprobs": False}}, False),
        ("openai/gpt-3.5-turbo-instruct", False, {}, False),
        ("openai/davinci-002", False, {"openai/davinci-002": {"logprobs": True}}, True),
        ("openai/m", False, {}, False),
        ("openrouter/maker/m", True, {}, False),
        ("openrouter/maker/m", False, {}, False),
        ("anthropic/m", False, {}, False),
        ("ollama/m", False, {}, False),
        ("control/reference", False, {}, True),
    ],
)
def test_make_when_a_model_scores_continuations_then_its_capabilities_say_so(
    monkeypatch: pytest.MonkeyPatch, name: str, elsewhere: bool, given: Any, can: bool
) -> None:
    provider = name.partition("/")[0].upper()
    monkeypatch.setenv(f"{provider}_API_KEY", "k")
    if elsewhere:
        monkeypatch.setenv(f"{provider}_BASE_URL", "http://127.0.0.1:1/v1")
    assert models.make(name, given).capabilities.logprobs is can


async def test_complete_when_the_model_gives_no_probabilities_then_says_so_and_asks_nobody() -> None:
    with ScoringServer() as server:
        async with asyncio.timeout(30), model_of(server) as model:
            model.capabilities = replace(model.capabilities, logprobs=False)
            with pytest.raises(UsageError, match="vllm/m does not say how likely a given text is"):
                await Line(model).complete(asked("one", " two"))
    assert server.requests == []


def test_characters_when_a_continuation_is_scored_then_counts_it() -> None:
    assert characters(asked("one", " two")) == 7
    assert characters(asked(CHAT, "Yes")) == characters(request(CHAT)) + 3


async def test_limit_when_a_continuation_is_scored_then_is_what_is_asked_for_beside_it() -> None:
    with ScoringServer() as server:
        async with model_of(server) as model:
            line = Line(model)
            assert line.limit(asked("one", " two")) == 1
            await line.complete(asked("one", " two"))
            assert line.expected_tokens(request("one"))[1] == 300
    assert Line(Control("reference")).limit(asked("one", " two")) == 0


# ── servers that answer badly ────────────────────────────────────────────────────────────────────────────────────────


def spoiled(**fields: Any) -> Callable[[dict[str, Any]], Any]:
    """Answers whose log-probabilities have other fields; None: lack them."""

    def spoil(answer: dict[str, Any]) -> dict[str, Any]:
        found = answer["choices"][0]["logprobs"]
        found |= {name: make(found[name]) for name, make in fields.items() if make is not None}
        for name in [name for name, make in fields.items() if make is None]:
            del found[name]
        return answer

    return spoil


def with_null(answer: dict[str, Any]) -> Any:
    answer["choices"][0]["logprobs"] = None
    return answer


def with_nothing(answer: dict[str, Any]) -> Any:
    del answer["choices"][0]["logprobs"]
    return answer


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_null, "token_logprobs is missing"),
        (with_nothing, "token_logprobs is missing"),
        (spoiled(token_logprobs=lambda _: None), "token_logprobs is missing"),
        (spoiled(top_logprobs=None), "top_logprobs is missing"),
        (spoiled(top_logprobs=lambda _: None), "top_logprobs is missing"),
        (spoiled(top_logprobs=lambda tops: [None] * len(tops)), "likeliest tokens are missing"),
        (spoiled(top_logprobs=lambda tops: [{} for _ in tops]), "likeliest tokens are missing"),
        (spoiled(top_logprobs=lambda tops: [{"a": None} for _ in tops]), "likeliest tokens are missing"),
        (spoiled(top_logprobs=lambda tops: tops[1:]), "not of one length"),
        (spoiled(token_logprobs=lambda each: [None] * len(each)), "is not a number"),
        (spoiled(token_logprobs=lambda each: ["-1"] * len(each)), "is not a number"),
        (spoiled(token_logprobs=lambda each: [float("nan")] * len(each)), "is not a number"),
    ],
)
async def test_score_when_an_answer_lacks_probabilities_then_fails_and_says_which(spoil: Any, said: str) -> None:
    with ScoringServer(spoil=spoil) as server:
        assert said in await failing(server)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        spoiled(text_offset=None),
        spoiled(tokens=None),
        spoiled(tokens=lambda tokens: tokens[1:]),
        spoiled(text_offset=lambda starts: [-1] * len(starts)),
        spoiled(text_offset=lambda starts: [0] * len(starts)),
        spoiled(text_offset=lambda starts: starts[::-1]),
        spoiled(text_offset=lambda starts: [start + (start > 0) for start in starts]),
        spoiled(text_offset=lambda starts: [str(start) for start in starts]),
        spoiled(text_offset=lambda starts: [None for _ in starts]),
        spoiled(tokens=lambda tokens: [f"token_id:{i}" for i, _ in enumerate(tokens)]),
        spoiled(tokens=lambda tokens: ["x" for _ in tokens]),
    ],
)
@pytest.mark.parametrize("pages", [(), ("/tokenize",)])
async def test_score_when_offsets_make_no_sense_then_tokens_are_counted_where_they_can_be_and_never_guessed(
    spoil: Any, pages: Any
) -> None:
    with ScoringServer(spoil=spoil, pages=pages) as server:
        if pages:
            completion = await score(server, "one two", " three")
            assert (completion.logprob, completion.greedy) == expected(server, ["one", " two"], [" three"])
        else:
            assert "not those of the text" in await failing(server)


@pytest.mark.parametrize(("prompt", "continuation"), [("one", " two"), ("", "one two")])
async def test_score_when_an_answer_has_more_tokens_than_were_sent_then_fails(prompt: str, continuation: str) -> None:
    longer = {
        name: lambda each: [each[0], *each] for name in ("token_logprobs", "top_logprobs", "tokens", "text_offset")
    }
    with ScoringServer(spoil=spoiled(**{**longer, "text_offset": lambda _: []})) as server:
        await failing(server, prompt, continuation)


async def test_score_when_the_server_does_not_go_on_from_a_text_then_what_it_echoes_is_enough() -> None:
    names = ("token_logprobs", "top_logprobs", "tokens", "text_offset")
    with ScoringServer(spoil=spoiled(**{name: lambda each: each[:-1] for name in names})) as server:
        for prompt, before in (("one", ["one"]), ("", [BOS])):
            completion = await score(server, prompt, " two")
            assert (completion.logprob, completion.greedy) == expected(server, before, [" two"])


async def test_score_when_a_text_is_too_long_then_fails_with_the_servers_words_and_once() -> None:
    with ScoringServer(context=8) as server:
        said = await failing(server, "a b c d e", " f g h i")
    assert "maximum context length is 8 tokens" in said
    assert not isinstance(said, Transient) and server.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(body="<html>busy</html>"),
        Fault(body="[]"),
        Fault(body='{"choices": []}'),
        Fault(body='{"choices": null}'),
        Fault(body='{"choices": [7]}'),
        Fault(body='{"error": {"message": "busy", "code": "503"}}'),
        Fault(body='{"choices": [{"text": "'),
    ],
)
async def test_score_when_a_request_fails_that_the_next_may_not_then_it_is_made_again(fault: Fault) -> None:
    with ScoringServer(faults=lambda number: fault if number == 1 else None) as server:
        completion = await score(server, "one", " two", tries=2)
        assert (completion.logprob, completion.tries) == (expected(server, ["one"], [" two"])[0], 2)


async def test_score_when_a_window_fails_at_first_then_the_text_is_scored_whole_again() -> None:
    with ScoringServer(faults=lambda number: Fault(status=503) if number == 2 else None) as server:
        once = await score(server, "", "a b c d e f g h i j", tries=2, context=6)
        again = await score(server, "", "a b c d e f g h i j", context=6)
    assert (once.logprob, once.greedy, once.tries) == (again.logprob, again.greedy, 2)


async def test_score_when_pages_answer_with_something_else_then_there_are_none() -> None:
    with ScoringServer(bos="counted") as server:
        server.listing = "<html>home</html>"
        completion = await score(server, "", "one two")
        assert (completion.logprob, completion.greedy) == expected(server, [BOS], ["one", " two"])


# ── definitions ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_parted_when_white_space_ends_the_prompt_then_it_is_scored() -> None:
    assert parted("one  ", "two") == ("one", "  two")
    assert parted("one\n\t", " two") == ("one", "\n\t two")
    assert parted(" \n", "two") == ("", " \ntwo")
    assert parted("", " two ") == ("", " two ")


@pytest.mark.parametrize("longest", [1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("count", range(9))
def test_windows_when_made_then_they_are_lm_evals(longest: int, count: int) -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    ids = list(range(1, count + 1))
    theirs = map(make_disjoint_window, get_rolling_token_windows(ids, 99, longest, 1))
    assert windows(ids, 99, longest) == [(list(before), list(tokens)) for before, tokens in theirs]
    assert windows([99, *ids], 99, longest) == windows(ids, 99, longest)


# ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "continuation", "expected"),
    [
        ("reference", "right", (-0.5, True)),
        ("reference", "wrong 0", (-50.0, False)),
        ("broken", "right", (-50.0, False)),
        ("broken", "wrong 0", (-0.5, True)),
    ],
)
@pytest.mark.parametrize("prompt", ["one", CHAT])
async def test_control_when_a_continuation_is_scored_then_the_reference_tells(
    name: str, continuation: str, expected: tuple[float, bool], prompt: Prompt
) -> None:
    completion = await Line(Control(name)).complete(asked(prompt, continuation))
    assert (completion.logprob, completion.greedy, completion.text) == (*expected, continuation)


@pytest.mark.parametrize("name", ["reference", "broken"])
async def test_control_when_a_whole_text_is_scored_then_its_length_tells(name: str) -> None:
    completion = await Line(Control(name)).complete(asked("", "añadir"))
    assert completion.logprob == -6.0
