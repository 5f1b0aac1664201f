"""Ratings as figures: means over problems, by suite and by dimension."""

from __future__ import annotations

import pytest

from core.types import Rating, SampleKey
from results.ratings import by_dimension, dimensions_table, means


def rated(task, index=0, turn=0, passed=1.0, dimensions=("writing",), **scores):
    return Rating(SampleKey("easy", task, index, turn), scores, {"passed": passed, "lint": 50.0}, dimensions)


def test_means_then_each_problem_counts_once_whatever_its_samples_and_turns():
    found = means([rated("a", overall=100.0), rated("a", 1, overall=50.0), rated("b", overall=0.0, quality=None)])
    assert found == {"overall": 37.5, "quality": None, "lint": 50.0}
    assert means([]) == {}


def test_means_when_something_cannot_be_said_of_a_problem_then_it_is_of_the_others():
    assert means([rated("a", quality=None), rated("b", quality=80.0)])["quality"] == 80


def test_by_dimension_then_a_problem_is_in_each_of_its_own_and_passes_if_all_turns_do():
    found = by_dimension(
        [
            rated("a", overall=100.0),
            rated("b", 0, 0, dimensions=("debugging", "writing"), overall=50.0),
            rated("b", 0, 1, passed=0.0, dimensions=("debugging", "writing"), overall=0.0),
            rated("b", 1, 0, dimensions=("debugging", "writing"), overall=50.0),
            rated("b", 1, 1, dimensions=("debugging", "writing"), overall=100.0),
        ]
    )
    assert list(found) == ["debugging", "writing"]
    assert (found["debugging"].n_problems, found["debugging"].pass_at_1) == (1, 0.5)
    assert (found["writing"].n_problems, found["writing"].pass_at_1) == (2, 0.75)
    assert found["writing"].ratings["overall"] == pytest.approx(75)
    assert "| debugging |        1 |" in dimensions_table(found)
    assert dimensions_table({}) == ""
