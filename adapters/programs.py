"""What harnesses execute, as candidates."""

from __future__ import annotations

import ast
import builtins
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from core.types import Candidate, Limits, Solution, Tests

PYTHON = "python"
_CLASS = re.compile(r"_*[A-Z]\w*[a-z]\w*")
LIMITS = Limits(cpu_s=3.0)
"""Of Python, as the metric `code_eval` has it."""


def candidate(solution: str, tests: str, language: str = PYTHON, timeout_s: float | None = None) -> Candidate:
    """What harnesses run as one program: a solution, then its tests, which are code that calls it.

    Its last statement, where it is a call, is named as the test; else the code as a whole is. timeout_s: of CPU time;
    None: as `code_eval` has it, and in other languages than Python as the sandbox has it.
    """
    if language != PYTHON:
        return Candidate(
            Solution(solution, "verbatim"), "", Tests(source=f"\n{tests}", calls=("tests",)), language=language
        )
    called, tested = _read(tests)
    return Candidate(Solution(solution, "verbatim"), called, tested, replace(LIMITS, cpu_s=timeout_s or LIMITS.cpu_s))


@lru_cache(maxsize=256)
def _read(tests: str) -> tuple[str, Tests]:
    """The function that test code is of, and the tests. Of a problem's samples it is the same each time."""
    source, call = tests, "..."
    try:
        statements = ast.parse(tests).body
    except (SyntaxError, ValueError, RecursionError):
        statements = []
    last = statements[-1] if statements else None
    if isinstance(last, ast.Expr) and last.col_offset == 0 and (text := ast.get_source_segment(tests, last)):
        lines = list(io.StringIO(tests, newline=""))  # as Python counts them
        source, call = "".join(lines[: last.lineno - 1]), text
    return _called(statements), Tests(source=source, calls=(call,), shared=True if _makes_objects(statements) else None)


def _called(statements: Sequence[ast.stmt]) -> str:
    """The function that test code is of: a name that it calls or hands on and does not bind itself.

    What runs at once comes before what it defines. A name that Python has too, such as `sum`, is meant only where there
    is no other.
    """
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    at_once = [statement for statement in statements if not isinstance(statement, definitions)]
    # What a definition binds within itself means nothing outside of it.
    outside = {name for statement in statements for name in _bound(statement)}
    outside |= {name for statement in at_once for node in ast.walk(statement) for name in _bound(node)}
    inside = {name for statement in statements for node in ast.walk(statement) for name in _bound(node)}
    for part, bound in ((at_once, outside), (statements, inside)):
        calls = [node for statement in part for node in ast.walk(statement) if isinstance(node, ast.Call)]
        used = [node.id for call in calls for node in (call.func, *call.args) if isinstance(node, ast.Name)]
        if names := [name for name in used if name not in bound]:
            return next((name for name in names if not hasattr(builtins, name)), names[0])
    return ""


def _makes_objects(statements: Sequence[ast.stmt]) -> bool:
    """Whether test code makes objects of the solution's classes, as names in CapWords are, keeps them or hands them on,
    or hands on what the solution has made itself: these cannot cross."""
    nodes = [node for statement in statements for node in ast.walk(statement)]
    bound = {name for node in nodes for name in _bound(node)} | set(dir(builtins))

    def makes(node: ast.AST) -> bool:
        name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        return bool(_CLASS.fullmatch(name)) and name not in bound

    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    for node in nodes:
        if isinstance(node, ast.Assign) and makes(node.value):
            return True
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in bound):
            parts = (*node.args, *(keyword.value for keyword in node.keywords))
            if any(makes(inner) for part in parts for inner in ast.walk(part)):
                return True
            if any(isinstance(part, ast.Name) and part.id not in bound | called for part in parts):
                return True
    return False


def _bound(node: ast.AST) -> Sequence[str]:
    """The names that a node gives a meaning to."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return [node.name]
        case ast.arg():
            return [node.arg]
        case ast.Name(ctx=ast.Store()):
            return [node.id]
        case ast.alias():
            return [(node.asname or node.name).partition(".")[0]]
    return []
