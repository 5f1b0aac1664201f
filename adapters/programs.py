"""What harnesses execute, as candidates."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence

from core.types import Candidate, Limits, Solution, Tests

PYTHON = "python"
LIMITS = Limits(cpu_s=3.0)
"""Of Python, as the metric `code_eval` has it."""


def candidate(solution: str, tests: str, language: str = PYTHON) -> Candidate:
    """What harnesses run as one program: a solution, then its tests, which are code that calls it.

    Its last statement, where it is a call, is named as the test; else the code as a whole is.
    """
    if language != PYTHON:
        return Candidate(
            Solution(solution, "verbatim"), "", Tests(source=f"\n{tests}", calls=("tests",)), language=language
        )
    source, call = tests, "..."
    try:
        statements = ast.parse(tests).body
    except (SyntaxError, ValueError, RecursionError):
        statements = []
    last = statements[-1] if statements else None
    if isinstance(last, ast.Expr) and last.col_offset == 0 and (text := ast.get_source_segment(tests, last)):
        lines = tests.splitlines(keepends=True)
        source, call = "".join(lines[: last.lineno - 1]), text
    tested = Tests(source=source, calls=(call,), shared=None)
    return Candidate(Solution(solution, "verbatim"), _called(statements), tested, LIMITS)


def _called(statements: Sequence[ast.stmt]) -> str:
    """The function that test code is of: a name that it calls or hands on and does not define itself.

    One that Python has too, such as `sum`, is meant only where there is no other.
    """
    defined = {getattr(statement, "name", None) for statement in statements}
    calls = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call)]
    used = [node.id for call in calls for node in (call.func, *call.args) if isinstance(node, ast.Name)]
    names = [name for name in used if name not in defined]
    return next((name for name in names if not hasattr(builtins, name)), next(iter(names), ""))
