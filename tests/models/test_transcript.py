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
