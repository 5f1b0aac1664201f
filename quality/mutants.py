"""Small faults put into a source, one at a time: tests that are worth something notice nearly all of them. Pure.

The kinds are the usual ones of mutation testing (DeMillo, Lipton and Sayward, 1978): an operator, a constant or a
condition is another, a statement or a value is gone.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

from quality.reading import parsed

_OTHER: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.Break: ast.Continue,
    ast.Continue: ast.Break,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A source with one fault."""

    line: int
    what: str
    """The faulty part, as it is and as it was."""
    code: str


def mutants(code: str) -> Iterator[Mutant]:
    """Every mutant of a source, in its order; none where this Python cannot read it."""
    tree = parsed(code)
    if tree is None:
        return
    places = list(_places(tree))
    for number, (node, kind) in enumerate(places):
        changed = copy.deepcopy(tree)
        target = list(_places(changed))[number][0]
        before = ast.unparse(node)
        after = _change(changed, target, kind)
        if after is not None and after != before:
            yield Mutant(getattr(node, "lineno", 0), f"{_short(after)}, was {_short(before)}", ast.unparse(changed))


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """What can be changed, and how. Not what says nothing of behaviour: annotations, documentation, messages."""
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        yield from ((node, kind) for kind in _kinds(node))
        todo += [child for name, child in reversed(list(_children(node))) if not _silent(node, name, child)]


def _children(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    for name, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield name, child


def _silent(node: ast.AST, name: str, child: ast.AST) -> bool:
    if name in ("annotation", "returns", "decorator_list", "type_params", "type_comment"):
        return True
    if isinstance(node, ast.Raise) or isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom | ast.Assert):
        return True
    return isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)


def _kinds(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Compare() | ast.BinOp() | ast.BoolOp() | ast.AugAssign():
            yield "operator"
        case ast.Constant(value=bool() | int() | float()):
            yield "constant"
        case ast.UnaryOp(op=ast.Not()):
            yield "without not"
        case ast.If() | ast.While() | ast.IfExp():
            yield "condition"
        case ast.Return(value=ast.expr()):
            yield "value"
        case ast.Break() | ast.Continue():
            yield "statement"
    if isinstance(node, ast.Assign | ast.AugAssign) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "gone"


def _change(tree: ast.AST, node: ast.AST, kind: str) -> str | None:
    """Change a node of a tree: what it is now; None where it is left as it is."""
    match kind, node:
        case "operator", ast.Compare():
            node.ops[0] = _OTHER[type(node.ops[0])]()  # type: ignore[call-overload]
        case "operator", (ast.BinOp() | ast.BoolOp() | ast.AugAssign()):
            other = _OTHER.get(type(node.op))
            if other is None:
                return None
            node.op = other()  # type: ignore[assignment]
        case "constant", ast.Constant():
            node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[operator]
        case "condition", (ast.If() | ast.While() | ast.IfExp()):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        case "value", ast.Return():
            node.value = ast.Constant(None)
        case "without not", ast.UnaryOp():
            return _replaced(tree, node, node.operand)
        case "statement", _:
            return _replaced(tree, node, _OTHER[type(node)]())
        case _:
            return _replaced(tree, node, ast.Pass())
    return ast.unparse(node)


def _replaced(tree: ast.AST, old: ast.AST, new: ast.AST) -> str:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is old for item in value):
                setattr(parent, name, [new if item is old else item for item in value])
    return ast.unparse(new)


def _short(text: str) -> str:
    line = text.splitlines()[0] if text else text
    return f"`{line if len(line) <= 60 else f'{line[:57]}...'}`"
