from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.transcript import Transcript


def test_add_when_a_stop_is_spread_over_pieces_then_says_so_at_its_last_piece() -> None:
    transcript = Transcript(("\ndef", "\nclass"))
    assert [transcript.add(piece) for piece in ("a\nd", "e", "f x", "y")] == [False, False, True, False]
    assert transcript.completion("stop").text == "a\ndef xy"


@pytest.mark.parametrize("stops", [("b",), ("ab",), ("abb",), ("aabb",), ("bb", "abba"), ("abb", ""), ("",), ()])
def test_add_when_the_text_is_cut_anywhere_then_finds_a_stop_exactly_where_it_has_one(stops: tuple[str, ...]) -> None:
    for text in map("".join, product("ab", repeat=5)):
        for cuts in product([False, True], repeat=len(text) - 1):
            pieces = "".join(letter + " " * cut for letter, cut in zip(text, (*cuts, False), strict=True)).split(" ")
            transcript = Transcript(stops)
            assert any(transcript.add(piece) for piece in pieces) == any(stop and stop in text for stop in stops)


@given(st.text())
def test_completion_when_characters_were_split_as_utf16_splits_them_then_they_are_whole_again(text: str) -> None:
    units = text.encode("utf-16-le")
    transcript = Transcript()
    for i in range(0, len(units), 2):
        transcript.add(units[i : i + 2].decode("utf-16-le", "surrogatepass"))
    assert transcript.completion("stop").text == text


def test_completion_when_half_a_character_is_left_then_it_can_be_written_to_a_file() -> None:
    transcript = Transcript()
    transcript.add("a\ud83d")
    assert transcript.completion("stop").text == "a\ufffd"


def test_completion_when_no_text_came_then_has_no_time_to_the_first_token() -> None:
    transcript = Transcript()
    transcript.add("")
    transcript.add(None)
    transcript.think("hm")
    completion = transcript.completion("length")
    assert (completion.text, completion.thinking, completion.ttft_s) == ("", "hm", None)


def test_add_when_the_piece_is_no_text_then_raises_value_error() -> None:
    with pytest.raises(ValueError, match="is list, not text"):
        Transcript().add([])  # type: ignore[arg-type]


THOUGHT = "Let me see. `f` it is.\n"
ANSWER = "\n```python\ndef f(s):\n    return s\n```\n"


@pytest.mark.parametrize(
    ("text", "answer", "thinking"),
    [
        (f"<think>{THOUGHT}</think>{ANSWER}", ANSWER, THOUGHT),
        (f" \n<think>{THOUGHT}</think>{ANSWER}", ANSWER, THOUGHT),
        (f"{THOUGHT}</think>\n{ANSWER}", f"\n{ANSWER}", THOUGHT),
        (f"{THOUGHT}{ANSWER}</think>\n{ANSWER}", f"\n{ANSWER}", THOUGHT + ANSWER),
        (ANSWER, ANSWER, None),
        ("Strip `</think>` from it.\n" + ANSWER, "Strip `</think>` from it.\n" + ANSWER, None),
        (ANSWER.replace("return s", 'return s.replace("</think>", "")'),) * 2 + (None,),
        ('```python\nx = """\n</think>\n"""\n```\n',) * 2 + (None,),
        ('def f(s):\n    return s.replace("</think>", "")\n',) * 2 + (None,),
    ],
)
def test_completion_of_a_chat_when_it_thinks_first_then_the_answer_begins_after_that(
    text: str, answer: str, thinking: str | None
) -> None:
    transcript = Transcript(chat=True)
    transcript.add(text)
    completion = transcript.completion("stop")
    assert (completion.text, completion.answer, completion.thinking) == (text, answer, thinking)
    assert completion.finish_reason == "stop"


@pytest.mark.parametrize(("text", "kept_apart"), [("<think>and so on", ""), ("", "and so on"), (" \n", "and so on")])
def test_completion_of_a_chat_when_it_ends_within_its_thinking_then_was_cut(text: str, kept_apart: str) -> None:
    transcript = Transcript(chat=True)
    transcript.add(text)
    transcript.think(kept_apart)
    completion = transcript.completion("stop")
    assert (completion.finish_reason, completion.answer.strip(), completion.thinking) == ("length", "", "and so on")


def test_completion_of_a_continuation_when_it_speaks_of_thinking_then_is_code_all_of_it() -> None:
    transcript = Transcript()
    transcript.add("<think>")
    assert transcript.completion("stop").answer == "<think>"
