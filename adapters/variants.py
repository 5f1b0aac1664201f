"""Reference solutions made worse in one way and no other, by which scores are tried out."""

from __future__ import annotations

import ast

from adapters.extraction import parse

BURNT = "_ = sum(number * number % 7 for number in range(3_000_000))"
"""About a quarter of a second of CPU time, and no memory."""


def slow(code: str) -> str:
    """The same, with work for nothing at its end."""
    return f"{code.rstrip()}\n\n{BURNT}\n"


def ugly(code: str) -> str | None:
    """The same without documentation, with imports and expressions that are of no use. None where it cannot be read."""
    try:
        tree = parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            if not isinstance(node, ast.Module | ast.ClassDef):
                node.returns = None
    litter = "import os, sys, re, json, math, string\nl = lambda: None\nif l == None: l = 1\n"
    return _begun(ast.unparse(tree), litter.rstrip()) + "\ntry:\n    pass\nexcept:\n    pass\n"


def _begun(code: str, first: str) -> str:
    """Code with further lines where they may stand: after what must come first in a module."""
    lines = code.splitlines(keepends=True)
    try:
        body = parse(code).body
    except SyntaxError:
        return f"{first}\n{code}"
    at = 0
    for statement in body:
        documentation = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if not (documentation or future):
            break
        at = statement.end_lineno or 0
    return "".join([*lines[:at], f"{first}\n", *lines[at:]])
