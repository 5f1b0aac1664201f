"""From what was measured of a solution to scores from 0 to 100. docs/scores.md has the formulas for people. Pure.

Every formula is monotone: less of what is bad never scores lower. What cannot be said is None, and left out of the
mean, whose weights then share what is left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.types import CaseVerdict

WEIGHTS: Mapping[str, float] = {"correctness": 0.40, "speed": 0.20, "quality": 0.25, "efficiency": 0.15}
"""Of the components in the overall score."""
BASELINES: Mapping[str, float] = {"easy": 5.0, "medium": 10.0, "hard": 20.0, "extreme": 30.0}
"""Seconds up to which a response is as fast as can be, by tier."""
QUALITY: Mapping[str, float] = {
    "lint": 0.25,
    "idioms": 0.15,
    "complexity": 0.20,
    "maintainability": 0.10,
    "docstrings": 0.15,
    "annotations": 0.15,
}
"""Of the parts of quality."""
CPU_WEIGHT = 0.7
"""Of CPU time in efficiency; the rest is memory's."""
NOISE_S = 0.02
"""CPU seconds that do not matter: added to both sides."""
SIMPLE = 5
"""A function of this cyclomatic complexity is as simple as can be."""
MAINTAINABLE = 60.0
"""A maintainability index from which a text is as good as can be."""
DENSITY = 5.0
"""At one finding in so many statements half of the score is gone."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read in a solution's source; None: that could not be read in it."""

    statements: int
    lint: int | None
    """Findings of ruff's rules about errors."""
    idioms: int | None
    """Findings of its rules about better ways to say it."""
    complexity: int | None = None
    """The highest of its functions."""
    maintainability: float | None = None
    """radon's index, from 0 to 100."""
    documented: float | None = None
    """Share of its public functions and classes with a docstring."""
    annotated: float | None = None
    """Share of their parameters and returns with an annotation."""
    readable: bool = True
    """Whether it is Python at all, of a size that can be read: what is not has no quality."""


def correctness(cases: Sequence[CaseVerdict]) -> float:
    """The weighted share of the cases that passed; 0 where there are none."""
    whole = sum(case.weight for case in cases)
    return 100 * sum(case.weight for case in cases if case.passed) / whole if whole else 0.0


def speed(total_s: float | None, baseline_s: float) -> float | None:
    """100 up to the baseline, then baseline / time of it."""
    if total_s is None:
        return None
    return 100 * min(1.0, baseline_s / total_s) if total_s > 0 else 100.0


def parts(reading: Reading) -> dict[str, float | None]:
    """The parts of quality, each from 0 to 100."""
    if not reading.readable:
        return dict.fromkeys(QUALITY, 0.0)
    complexity = None if reading.complexity is None else 100 * min(1.0, SIMPLE / max(reading.complexity, 1))
    index = reading.maintainability
    return {
        "lint": _density(reading.lint, reading.statements),
        "idioms": _density(reading.idioms, reading.statements),
        "complexity": complexity,
        "maintainability": None if index is None else 100 * min(1.0, index / MAINTAINABLE),
        "docstrings": None if reading.documented is None else 100 * reading.documented,
        "annotations": None if reading.annotated is None else 100 * reading.annotated,
    }


def efficiency(cpu_s: float, peak_bytes: int, reference_cpu_s: float, reference_peak_bytes: int) -> float:
    """How close CPU time and peak memory are to the reference's, or below: 100 there, then reference / own of it."""
    cpu = min(1.0, (reference_cpu_s + NOISE_S) / (cpu_s + NOISE_S))
    memory = min(1.0, reference_peak_bytes / peak_bytes) if peak_bytes else 1.0
    return 100 * (CPU_WEIGHT * cpu + (1 - CPU_WEIGHT) * memory)


def completeness(edges: Sequence[bool], errors: Sequence[bool], documented: float | None) -> float | None:
    """The mean of three shares: of the cases after the first that passed, of those that expect an exception, and of
    the public functions and classes with a docstring."""
    shares = [sum(found) / len(found) for found in (edges, errors) if found]
    shares += [] if documented is None else [documented]
    return 100 * sum(shares) / len(shares) if shares else None


def weighted(scores: Mapping[str, float | None], weights: Mapping[str, float]) -> float | None:
    """The weighted mean of those that can be said."""
    known = [(score, weights[name]) for name, score in scores.items() if score is not None and name in weights]
    whole = sum(weight for _, weight in known)
    return sum(score * weight for score, weight in known) / whole if whole else None


def _density(findings: int | None, statements: int) -> float | None:
    return None if findings is None else 100 / (1 + DENSITY * findings / max(statements, 1))
