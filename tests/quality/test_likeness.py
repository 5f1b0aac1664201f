"""How alike texts are."""

from __future__ import annotations

from quality.likeness import alike

ONE = "write a function that counts the boats in the harbour by their length"
SAME = "Write a function that counts the BOATS in the harbour by their colour."
OTHER = "a list of prices is sorted by weight and then by name of each fruit"


def test_alike_then_pairs_of_own_texts_and_with_others_from_a_share_on():
    found = list(alike([("one", ONE), ("same", SAME), ("other", OTHER)], [("known", ONE)], 0.5))
    assert [(name, other) for name, other, _ in found] == [("one", "known"), ("same", "known"), ("same", "one")]
    assert found[0][2] == 1.0
    assert found[2][2] == 9 / 10  # of ten runs of four words, all but the last


def test_alike_when_texts_are_short_then_nothing_is_divided_by_zero():
    assert list(alike([("a", "one two"), ("b", "one two")], [], 0.1)) == []
