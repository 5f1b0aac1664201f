"""The formulas of ratings: their ends, their middles, and that they are monotone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.types import CaseVerdict
from quality import scores
from quality.scores import Reading

SPOTLESS = Reading(10, 0, 0, 5, 60.0, 1.0, 1.0)


def test_weights_then_they_are_the_stated_ones_and_sum_to_one():
    assert scores.WEIGHTS == {"correctness": 0.40, "speed": 0.20, "quality": 0.25, "efficiency": 0.15}
    assert sum(scores.WEIGHTS.values()) == pytest.approx(1)
    assert sum(scores.QUALITY.values()) == pytest.approx(1)


def test_correctness_then_the_weighted_share():
    assert scores.correctness([CaseVerdict(True, 3.0), CaseVerdict(False, 1.0)]) == 75
    assert scores.correctness([]) == 0


@pytest.mark.parametrize(("total", "score"), [(None, None), (0.0, 100), (5.0, 100), (10.0, 50), (50.0, 10)])
def test_speed_then_baseline_over_time(total, score):
    assert scores.speed(total, 5.0) == score


def test_parts_when_nothing_is_wrong_then_all_are_a_hundred_and_so_is_quality():
    parts = scores.parts(SPOTLESS)
    assert set(parts.values()) == {100}
    assert scores.weighted(parts, scores.QUALITY) == pytest.approx(100)


def test_parts_then_each_falls_with_what_it_is_about():
    parts = scores.parts(Reading(10, 2, 4, 10, 30.0, 0.5, 0.25))
    assert parts == {
        "lint": 50,
        "idioms": pytest.approx(100 / 3),
        "complexity": 50,
        "maintainability": 50,
        "docstrings": 50,
        "annotations": 25,
    }


def test_parts_when_it_could_not_be_read_then_what_is_unknown_is_left_out_of_the_mean():
    parts = scores.parts(Reading(10, 0, 0))
    assert scores.weighted(parts, scores.QUALITY) == 100
    assert parts["complexity"] is None


def test_efficiency_then_reference_over_own_and_no_more_than_a_hundred():
    assert scores.efficiency(1.0, 100, 1.0, 100) == 100
    assert scores.efficiency(0.1, 50, 1.0, 100) == 100
    assert scores.efficiency(2.02, 100, 1.0, 100) == pytest.approx(100 * (0.7 * 1.02 / 2.04 + 0.3))
    assert scores.efficiency(1.0, 200, 1.0, 100) == pytest.approx(85)
    assert scores.efficiency(0.001, 0, 0.0, 0) == pytest.approx(100 * (0.7 * 0.02 / 0.021 + 0.3))


def test_completeness_then_the_mean_of_the_shares_that_there_are():
    assert scores.completeness([True, False], [True], 1.0) == pytest.approx(100 * 2.5 / 3)
    assert scores.completeness([], [], 0.5) == 50
    assert scores.completeness([], [], None) is None


def test_weighted_then_what_cannot_be_said_shares_its_weight():
    assert scores.weighted({"a": 100.0, "b": None, "c": 0.0, "other": 7.0}, {"a": 3, "b": 5, "c": 1}) == 75
    assert scores.weighted({"a": None}, {"a": 1}) is None
    assert scores.weighted({"a": 1.0}, {"a": 0}) is None


amounts = st.floats(0, 1e6)


@given(amounts, amounts, amounts)
def test_speed_and_efficiency_when_it_takes_longer_then_they_never_rise(first, more, reference):
    assert scores.speed(first + more, 5.0) <= scores.speed(first, 5.0)
    here, there = (scores.efficiency(cpu, 1, reference, 1) for cpu in (first, first + more))
    assert there <= here


@given(st.integers(1, 500), st.integers(0, 50), st.integers(0, 50), st.integers(1, 60), st.integers(0, 60))
def test_parts_when_there_is_more_of_what_is_bad_then_none_rises(size, findings, further, complexity, more):
    one = scores.parts(Reading(size, findings, findings, complexity))
    other = scores.parts(Reading(size, findings + further, findings + further, complexity + more))
    assert all(other[name] <= one[name] for name in ("lint", "idioms", "complexity"))
