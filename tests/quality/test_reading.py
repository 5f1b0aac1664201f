"""What is read in source: pure functions, against answers worked out by hand."""

from __future__ import annotations

import ast

import pytest

from quality.reading import decisions, functions, nesting, parsed, public, statements, unannotated, undocumented, uses


def only(code):
    [function] = functions(ast.parse(code))
    return function


def test_parsed_when_it_is_no_python_then_none():
    assert parsed("def f(:") is None
    assert parsed("x = 1\0") is None
    assert parsed("x = '\\d'") is not None  # which Python warns about


def test_public_then_functions_classes_and_public_methods_in_order():
    code = "def a(): ...\ndef _b(): ...\nclass C:\n    def d(self): ...\n    def _e(self): ...\n    class F: ...\n"
    assert [name for name, _ in public(ast.parse(code))] == ["a", "C", "C.d", "C.F"]


@pytest.mark.parametrize(
    ("code", "lacking"),
    [
        ("def f(a: int, *b: int, c: int = 1, **d: int) -> int: ...", []),
        ("def f(a, /, b, *c, d, **e): ...", ["a", "b", "c", "d", "e", "return"]),
        ("def f(self, a: int): ...", ["return"]),
        ("async def f() -> None: ...", []),
    ],
)
def test_unannotated_then_each_parameter_without_one_and_return(code, lacking):
    assert unannotated(only(code)) == lacking


@pytest.mark.parametrize(
    ("docstring", "lacking"),
    [
        ('"""Of first and second."""', []),
        ('"""Of `first`, of first_time."""', ["second"]),
        ('"""Seconds."""', ["first", "second"]),
        ("pass", None),
    ],
)
def test_undocumented_then_parameters_that_are_no_word_of_the_docstring(docstring, lacking):
    assert undocumented(only(f"def f(self, first, second):\n    {docstring}\n")) == lacking


@pytest.mark.parametrize(
    ("body", "deep"),
    [
        ("pass", 0),
        ("if a: pass", 1),
        ("if a: pass\n    elif b: pass\n    elif c: pass\n    else: pass", 1),
        ("if a:\n        for b in c: pass", 2),
        ("if a: pass\n    elif b:\n        while c: pass", 2),
        ("try:\n        with a: pass\n    except B:\n        if c:\n            if d: pass", 3),
        ("def g():\n        if a:\n            if b: pass", 0),
    ],
)
def test_nesting_then_an_elif_is_no_deeper_than_its_if_and_inner_functions_are_their_own(body, deep):
    function = ast.parse(f"def f():\n    {body}\n").body[0]
    assert nesting(function) == deep


def test_statements_then_all_but_docstrings():
    code = '"""M."""\nimport os\n\nclass A:\n    """A."""\n    def f(self):\n        """F."""\n        return 1\n'
    assert statements(ast.parse(code)) == 4


def test_decisions_then_forks_of_the_way():
    code = "def f(a, b, c):\n    if a and b or c:\n        return [x for x in a]\n    return 1 if c else 2\n"
    assert decisions(ast.parse(code)) == 1 + 2 + 1 + 1


@pytest.mark.parametrize(
    ("code", "word", "there"),
    [
        ("match x:\n    case 1: pass\n", "match", True),
        ("import re\nre.match('a', 'b')\n", "match", False),
        ("match = 1\n", "match", False),
        ("def f():\n    yield from g()\n", "yield from", True),
        ("def f():\n    yield g\n", "yield from", False),
        ("import itertools\nitertools.batched(x, 2)\n", "itertools.batched", True),
        ("from itertools import batched\n", "batched", True),
        ("# eval\nx = 'eval'\n", "eval", False),
        ("x = eval('1')\n", "eval", True),
        ("evaluate = 1\n", "eval", False),
        ("@dataclass\nclass A: ...\n", "dataclass", True),
        ("type Pair = tuple[int, int]\n", "type", True),
        ("x = type(3)\n", "type", False),
        ("def f[T](x: T) -> T:\n    return x\ntype A = int\nglobal y\n", "global", True),
    ],
)
def test_uses_then_words_of_the_code_alone_even_where_the_syntax_is_newer(code, word, there):
    assert uses(code, word) is there
