"""Mutants: each has one fault, and what says nothing of behaviour has none."""

from __future__ import annotations

import ast

from quality.mutants import mutants


def made(code):
    return {mutant.code for mutant in mutants(code)}


def test_mutants_then_operators_constants_conditions_and_values_are_others():
    code = "def f(a):\n    if a < 1:\n        return a + 2\n    return a"
    assert made(code) == {
        ast.unparse(ast.parse(each))
        for each in (
            code.replace("a < 1", "a <= 1"),
            code.replace("a < 1", "a < 2"),
            code.replace("a < 1", "not a < 1"),
            code.replace("a + 2", "a - 2"),
            code.replace("a + 2", "a + 3"),
            code.replace("return a + 2", "return None"),
            code.replace("    return a", "    return None").replace("return None + 2", "return a + 2"),
        )
    }


def test_mutants_then_statements_are_gone_and_loops_go_otherwise():
    code = "for x in y:\n    n += x\n    go(x)\n    if not x:\n        break"
    assert {m.what for m in mutants(code)} == {
        "`n -= x`, was `n += x`",
        "`pass`, was `n += x`",
        "`pass`, was `go(x)`",
        "`if not not x:`, was `if not x:`",
        "`x`, was `not x`",
        "`continue`, was `break`",
    }


def test_mutants_then_documentation_annotations_messages_and_imports_are_left_alone():
    code = (
        '"""Text."""\nimport os\nx: list[3]\n\n@cached(1)\ndef f(a: "1") -> 2:\n    """More."""\n    raise E(1 + 2)\n'
    )
    assert made(code) == set()


def test_mutants_when_it_cannot_be_read_then_there_are_none():
    assert made("def f(:") == set()
