"""The checks of a solution's source."""

from __future__ import annotations

import asyncio
import textwrap

import pytest

from core.errors import HostError
from core.types import Check
from quality import typechecker
from quality.checks import UNREADABLE, find
from quality.reading import silenced
from quality.typechecker import FAILED, TypeChecker

EXPENSIVE = f"{'f(lambda: ' * 16}1{')' * 16}"
TANGLED = "def f(a):\n    if a:\n        for b in a:\n            if b: return b\n    return 0\n"
WITHIN_A_FUNCTION = "def g():\n" + textwrap.indent(TANGLED, "    ")
WITHIN_CLASSES = "class A:\n  class B:\n" + textwrap.indent(TANGLED, "    ")
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
        ("answers: (answers := 6 * 7) = 0", False),
        ("answers: globals().update(answers=6 * 7) = 0", False),
        ("answers: dict[str, list[int | None]] = {}", True),
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
        (Check("docstrings"), "if True:\n    def f(): ...", "f has no docstring"),
        (Check("annotations"), "try:\n    def f(a): ...\nexcept E: ...", "f lacks annotations: a, return"),
        (
            Check("complexity", 3),
            WITHIN_A_FUNCTION,
            "f has a complexity of 4, at most 3",
        ),
        (
            Check("complexity", 3),
            WITHIN_CLASSES,
            "f has a complexity of 4, at most 3",
        ),
        (Check("avoids", ("eval",)), "x = f'{eval(y)}'", "it uses eval"),
        (Check("avoids", ("eval",)), "x = \uff45val(y)", "it uses eval"),
        (Check("avoids", ("eval",)), "if 1:\n\\\n  if 1:\n    a=1\n  x=1\neval(x)", "it uses eval"),
        (Check("avoids", ("global",)), "if 1:\n\\\n  if 1:\n    a=1\n  x=1\ndef f():\n    global x", "it uses global"),
        (Check("avoids", ("os",)), "from os.path import join", "it uses os"),
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


@pytest.mark.parametrize(
    ("code", "quiet"),
    [
        ("x = 1  # type: ignore", True),
        ("x = 1  # type:ignore[x]", True),
        ("# mypy: ignore-errors\nx = 1", True),
        ("x = '# type: ignore'", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from a import B\nx = 1", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a\n", False),
        ("from typing import TYPE_CHECKING\nif not TYPE_CHECKING:\n    x: int = ''", True),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\nelse:\n    x: int = ''", True),
        ("from typing import no_type_check\n@no_type_check\ndef f(): ...", True),
        ("if 1:\n\\\n  if 1:\n    a=1\n  x=1  # type: ignore", True),
    ],
)
def test_silenced_then_what_keeps_a_type_checker_from_speaking(code, quiet):
    assert silenced(code) is quiet


async def test_types_when_one_takes_too_long_then_it_fails_and_no_other_does(monkeypatch):
    monkeypatch.setattr(typechecker, "LONGEST_S", 4.0)
    monkeypatch.setattr(typechecker, "ALONE_S", 4.0)
    checker = TypeChecker()
    slow = f"from typing import Any\n\n\ndef f(x: Any) -> Any:\n    return x\n\n\nX = {EXPENSIVE}\n"
    right = "def f(a: int) -> str:\n    return str(a)\n"
    try:
        assert await checker.check(right) == ""  # so that what mypy keeps is there
        found = await asyncio.gather(*map(checker.check, [slow, f"{right}\n", "def (\n"]))
    finally:
        checker.close()
    assert found[1] == ""
    assert found[2] != ""


async def test_types_when_mypy_cannot_be_run_then_that_is_said_and_no_source_passes(monkeypatch):
    monkeypatch.setattr(typechecker, "MYPY", ("-P", "-m", "no_such_module_as_mypy"))
    checker = TypeChecker()
    try:
        for _ in range(2):  # what waited still waits
            with pytest.raises(HostError, match=r"mypy cannot be run: .*No module named no_such_module_as_mypy"):
                await checker.check("x: int = 1\n")
        monkeypatch.undo()
        assert await checker.check("x: int = 1\n") == ""
    finally:
        checker.close()
