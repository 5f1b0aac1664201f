"""The checks of a solution's source."""

from __future__ import annotations

import asyncio

import pytest

from core.types import Check
from quality.checks import UNREADABLE, find
from quality.typechecker import FAILED, TypeChecker

TANGLED = "def f(a):\n    if a:\n        for b in a:\n            if b: return b\n    return 0\n"
BARE = "class A:\n    '''A.'''\n    def go(self, far):\n        '''Go.'''\n        return far\n"


@pytest.mark.parametrize(
    ("code", "right"),
    [
        ("answers = {'a': [1, (2, None)], 'b': {3}}", True),
        ("# a note\nanswers: list[int] = [-1, 2.5]\n", True),
        ("answers = [len('ab')]", False),
        ("answers = [1] * 3", False),
        ("import os\nanswers = 1", False),
        ("answers = 1\nanswers = 2", False),
        ("other = 1", False),
        ("answers = more = 1", False),
        ("", False),
    ],
)
def test_literal_then_one_assignment_of_one_and_nothing_else(code, right):
    assert (find(Check("literal", "answers"), code) == "") is right


@pytest.mark.parametrize(
    ("check", "code", "found"),
    [
        (Check("docstrings"), BARE, "the docstring of A.go does not name far"),
        (Check("docstrings"), "def f(): ...", "f has no docstring"),
        (Check("docstrings"), "def _f(a): ...", ""),
        (Check("docstrings"), "@typing.overload\ndef f(a: int) -> int: ...\ndef f(a):\n    'Of a.'", ""),
        (Check("annotations"), BARE, "A.go lacks annotations: far, return"),
        (Check("annotations"), "def f(a: int) -> int: ...", ""),
        (Check("complexity", 3), TANGLED, "f has a complexity of 4, at most 3"),
        (Check("complexity", 4), TANGLED, ""),
        (Check("nesting", 2), TANGLED, "f is nested 3 deep, at most 2"),
        (Check("nesting", 3), TANGLED, ""),
        (Check("statements", 5), TANGLED, "6 statements, at most 5"),
        (Check("statements", 6), TANGLED, ""),
        (Check("uses", ("while", "for")), TANGLED, "without while"),
        (Check("avoids", ("while", "for", "if")), TANGLED, "it uses for, if"),
        (Check("nesting", 2), "def f(:", UNREADABLE),
    ],
)
def test_find_then_the_first_thing_wrong_in_a_line(check, code, found):
    assert find(check, code) == found


async def test_types_when_several_come_at_once_then_each_has_its_own_first_error():
    checker = TypeChecker()
    try:
        right = "def f(a: int) -> str:\n    return str(a)\n"
        wrong = "def f(a: int) -> str:\n    return a\n"
        bare = "def f(a):\n    return a\n"
        broken = "def f(:\n"
        hushed = "def f(a: int) -> str:\n    return a  # type: ignore[return-value]\n"
        found = await asyncio.gather(*map(checker.check, [right, wrong, bare, broken, right, hushed]))
    finally:
        checker.close()
    assert found[0] == found[4] == ""
    assert found[5] == "a comment silences the type checker"
    assert found[1].startswith("line 2: Incompatible return value type")
    assert found[2].startswith("line 1: Function is missing a type annotation")
    assert found[3].startswith("line 1: ") or found[3] == FAILED
