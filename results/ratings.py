"""Ratings as figures of suites and dimensions, and as tables of a report. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from core.types import Rating, Score
from results.markdown import percent, table

SHOWN = ("overall", "correctness", "speed", "quality", "efficiency", "completeness")
PARTS = ("lint", "idioms", "complexity", "maintainability", "docstrings", "annotations")


def means(ratings: Iterable[Rating]) -> dict[str, float | None]:
    """Component and part of quality → its mean over problems, of each the mean over its turns and samples.

    None where it cannot be said of any; empty where there are no ratings.
    """
    by_problem: defaultdict[str, defaultdict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, None] = {}
    for rating in ratings:
        parts = {name: rating.parts[name] for name in PARTS if name in rating.parts}
        for name, value in {**rating.scores, **parts}.items():
            names[name] = None
            if value is not None:
                by_problem[name][rating.key.suite, rating.key.task_id].append(value)
    return {name: fmean(map(fmean, by_problem[name].values())) if by_problem[name] else None for name in names}


@dataclass(frozen=True, slots=True)
class Dimension:
    """The figures of the problems that measure one thing."""

    n_problems: int
    pass_at_1: float
    """The mean over problems of the share of their graded samples that passed in all turns."""
    ratings: Mapping[str, float | None]


def by_dimension(ratings: Iterable[Rating]) -> dict[str, Dimension]:
    """Dimension → its figures."""
    found: defaultdict[str, list[Rating]] = defaultdict(list)
    for rating in ratings:
        for dimension in rating.dimensions:
            found[dimension].append(rating)
    return {dimension: _dimension(of_one) for dimension, of_one in sorted(found.items())}


def _dimension(ratings: Sequence[Rating]) -> Dimension:
    passed: defaultdict[tuple[str, str], dict[int, bool]] = defaultdict(dict)
    for rating in ratings:
        of_problem = passed[rating.key.suite, rating.key.task_id]
        of_problem[rating.key.index] = of_problem.get(rating.key.index, True) and rating.parts["passed"] == 1
    return Dimension(len(passed), fmean(fmean(each.values()) for each in passed.values()), means(ratings))


def suites_table(scores: Sequence[Score]) -> str:
    """The components of each suite that is rated; empty where none is."""
    rated = [score for score in scores if score.ratings]
    names = _names(score.ratings for score in rated)
    rows = [(score.suite, *(_figure(score.ratings.get(name)) for name in names)) for score in rated]
    return table(("suite", *names), rows, "l" + "r" * len(names)) if rows else ""


def parts_table(scores: Sequence[Score]) -> str:
    """The parts of quality of each suite that is rated."""
    rows = [(s.suite, *(_figure(s.ratings.get(name)) for name in PARTS)) for s in scores if s.ratings]
    return table(("suite", *PARTS), rows, "l" + "r" * len(PARTS)) if rows else ""


def dimensions_table(dimensions: Mapping[str, Dimension]) -> str:
    """The figures of each dimension; empty where there is none."""
    names = _names(found.ratings for found in dimensions.values())
    rows = [
        (name, f"{found.n_problems:,}", percent(found.pass_at_1), *(_figure(found.ratings.get(n)) for n in names))
        for name, found in dimensions.items()
    ]
    return table(("dimension", "problems", "pass@1", *names), rows, "lrr" + "r" * len(names)) if rows else ""


def _names(found: Iterable[Mapping[str, float | None]]) -> list[str]:
    """The components that occur: the usual ones, then further scorers'."""
    there = dict.fromkeys(name for of_one in found for name in of_one if name not in PARTS)
    return [*(name for name in SHOWN if name in there), *(name for name in there if name not in SHOWN)]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
