"""The checks that a task makes of a solution's source: `core.checks` has their names. Pure, but for `types`.

What a check finds wrong is one line for a person; nothing wrong is an empty one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping

from core.types import Check
from quality.reading import complexity, functions, nesting, parsed, public, statements, unannotated, undocumented, uses

UNREADABLE = "it cannot be read as Python"
_OF_ANNOTATIONS = (ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.Constant, ast.BinOp, ast.BitOr, ast.Load)


def find(check: Check, code: str) -> str:
    """What one check but `types` finds wrong with a source, whatever that holds."""
    try:
        return _found(check, code)
    except Exception:  # of a parser or a tool, which the text was made for
        return UNREADABLE


def _found(check: Check, code: str) -> str:
    if check.name in ("uses", "avoids"):
        wanted = check.name == "uses"
        found = [word for word in check.value if uses(code, word) is not wanted]
        return f"{'without' if wanted else 'it uses'} {', '.join(found)}" if found else ""
    tree = parsed(code)
    if tree is None:
        return UNREADABLE
    return _OF_A_TREE[check.name](tree, check.value)


def _literal(tree: ast.Module, name: str) -> str:
    match tree.body:
        case [ast.Assign(targets=[ast.Name(id=target)], value=value)] if target == name:
            pass
        case [ast.AnnAssign(target=ast.Name(id=target), annotation=annotation, value=ast.expr() as value)] if (
            target == name and all(isinstance(node, _OF_ANNOTATIONS) for node in ast.walk(annotation))
        ):  # an annotation is evaluated
            pass
        case _:
            return f"more, or something else, than one assignment to {name}"
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, MemoryError, SyntaxError):
        return f"what is assigned to {name} is no literal"
    return ""


def _docstrings(tree: ast.Module, _: object) -> str:
    for name, node in public(tree):
        if ast.get_docstring(node) is None:
            return f"{name} has no docstring"
        if not isinstance(node, ast.ClassDef) and (lacking := undocumented(node)):
            return f"the docstring of {name} does not name {', '.join(lacking)}"
    return ""


def _annotations(tree: ast.Module, _: object) -> str:
    for name, node in public(tree):
        if not isinstance(node, ast.ClassDef) and (lacking := unannotated(node)):
            return f"{name} lacks annotations: {', '.join(lacking)}"
    return ""


def _complexity(tree: ast.Module, most: int) -> str:
    worst = complexity(tree)
    if worst is None or worst[1] <= most:
        return ""
    return f"{worst[0]} has a complexity of {worst[1]}, at most {most}"


def _nesting(tree: ast.Module, most: int) -> str:
    over = next(((each.name, deep) for each in functions(tree) if (deep := nesting(each)) > most), None)
    return f"{over[0]} is nested {over[1]} deep, at most {most}" if over else ""


def _statements(tree: ast.Module, most: int) -> str:
    there = statements(tree)
    return f"{there} statements, at most {most}" if there > most else ""


_OF_A_TREE: Mapping[str, Callable[[ast.Module, object], str]] = {
    "literal": _literal,  # type: ignore[dict-item]
    "docstrings": _docstrings,
    "annotations": _annotations,
    "complexity": _complexity,  # type: ignore[dict-item]
    "nesting": _nesting,  # type: ignore[dict-item]
    "statements": _statements,  # type: ignore[dict-item]
}
