"""Candidates for the sandbox's tests: a function `add` to define, tests of it as data and as code."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent
from typing import Any

from core.types import Candidate, Case, Limits, Solution, Tests

CORRECT = "def add(a, b):\n    return a + b\n"
DATA = Tests(
    cases=(
        Case("add(1, 2)", 3),
        Case("add('ab', 'c')", "abc"),
        Case("add(None, 1)", raises="TypeError"),
    )
)
CODE = Tests(
    source=dedent(
        """
        def check(candidate):
            assert candidate(1, 2) == 3
            assert candidate('ab', 'c') == 'abc'
            try:
                candidate(None, 1)
            except TypeError:
                pass
            else:
                assert False, "add(None, 1) raised nothing"
        """
    ),
    calls=("check(add)",),
)
BESIDE = replace(CODE, shared=True)


def candidate(code: str = CORRECT, tests: Tests = DATA, **limits: Any) -> Candidate:
    """A candidate with short limits, but for those given."""
    return Candidate(
        Solution(dedent(code), "verbatim"), "add", tests, Limits(**{"cpu_s": 1.0, "wall_margin_s": 1.0, **limits})
    )


def case(call: str, output: Any = None, **kwargs: Any) -> Tests:
    """Tests of one case."""
    return Tests(cases=(Case(call, output, **kwargs),))
