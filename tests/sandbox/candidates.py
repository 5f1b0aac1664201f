"""Candidates for the sandbox's tests: a function `add` to define, tests of it as data and as code."""

from __future__ import annotations

from typing import Any

from core.types import Candidate, Case, Tests
from sandbox import corpus
from sandbox.corpus import BESIDE, CODE, DATA

__all__ = ["BESIDE", "CODE", "CORRECT", "DATA", "candidate", "case"]

CORRECT = "def add(a, b):\n    return a + b\n"


def candidate(code: str = CORRECT, tests: Tests = DATA, **limits: Any) -> Candidate:
    """A candidate with short limits, but for those given."""
    return corpus.candidate(code, tests, **limits)


def case(call: str, output: Any = None, **kwargs: Any) -> Tests:
    """Tests of one case."""
    return Tests(cases=(Case(call, output, **kwargs),))
