"""Source read for what it says of itself: its functions, documentation, annotations and words. Pure."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
_NESTS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_SOFT: Mapping[str, Any] = {"match": ast.Match, "case": ast.match_case, "type": getattr(ast, "TypeAlias", ())}
"""Words that are names too, and what they begin where they are keywords."""
_SILENCE = re.compile(r"#\s*(type:\s*ignore|mypy:|pyright:)", re.IGNORECASE)
_SELF = ("self", "cls", "_")


def parsed(code: str) -> ast.Module | None:
    """The tree of a source; None where this Python cannot read it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
            return None


def functions(tree: ast.AST) -> Iterator[Function]:
    """All of them, however deep."""
    return (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def public(tree: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """The public functions and classes of a module, with their public methods: dotted name and node."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_") and not _is_overload(node):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def _is_overload(node: Function | ast.ClassDef) -> bool:
    """Whether it only states one of several signatures."""
    return any(ast.unparse(each).rpartition(".")[2] == "overload" for each in node.decorator_list)


def silenced(code: str) -> bool:
    """Whether a comment keeps type checkers from speaking."""
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(code).readline)]
    except (tokenize.TokenError, SyntaxError):
        return False
    return any(token.type == tokenize.COMMENT and _SILENCE.match(token.string) for token in tokens)


def parameters(function: Function) -> list[ast.arg]:
    """Its parameters, but for that of the object or class that a method is of."""
    given = function.args
    plain = [*given.posonlyargs, *given.args]
    if plain and plain[0].arg in _SELF[:2]:
        plain = plain[1:]
    return [
        *plain,
        *([given.vararg] if given.vararg else []),
        *given.kwonlyargs,
        *([given.kwarg] if given.kwarg else []),
    ]


def unannotated(function: Function) -> list[str]:
    """Its parameters without an annotation, and `return`."""
    lacking = [each.arg for each in parameters(function) if each.annotation is None]
    return lacking if function.returns is not None else [*lacking, "return"]


def undocumented(function: Function) -> list[str] | None:
    """Its parameters that its docstring does not name; None where it has none."""
    text = ast.get_docstring(function)
    if text is None:
        return None
    words = set(_words(text))
    return [each.arg for each in parameters(function) if each.arg not in (*_SELF, *words)]


def nesting(function: Function) -> int:
    """How deep its statements that branch, loop or guard stand in each other; an `elif` is no deeper than its `if`."""
    return _depth(function.body)


def _depth(nodes: Sequence[ast.AST]) -> int:
    deepest = 0
    for node in nodes:
        inner = list(ast.iter_child_nodes(node))
        if isinstance(node, DEFINITIONS):  # it has a depth of its own
            continue
        if isinstance(node, ast.If) and len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
            inner.remove(node.orelse[0])
            deepest = max(deepest, _depth(node.orelse))
        deepest = max(deepest, isinstance(node, _NESTS) + _depth(inner))
    return deepest


def statements(tree: ast.AST) -> int:
    """How many there are, docstrings left out."""
    documented = sum(
        ast.get_docstring(node, clean=False) is not None
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, *DEFINITIONS))
    )
    return sum(isinstance(node, ast.stmt) for node in ast.walk(tree)) - documented


def decisions(tree: ast.AST) -> int:
    """How often its way forks: conditions, loops, handlers, and further operands of `and` and `or`."""
    kinds = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.IfExp, ast.ExceptHandler, ast.match_case, ast.comprehension)
    forks = sum(isinstance(node, kinds) for node in ast.walk(tree))
    return forks + sum(len(node.values) - 1 for node in ast.walk(tree) if isinstance(node, ast.BoolOp))


def uses(code: str, word: str) -> bool:
    """Whether a word occurs in a source: a keyword, a name, an attribute, or several of these with dots or blanks
    between them. Comments and texts do not count."""
    tree = parsed(code)
    soft = word in _SOFT
    if tree is not None and soft:
        return any(isinstance(node, _SOFT[word]) for node in ast.walk(tree))
    wanted = word.replace(".", " . ").split()
    tokens = _tokens(code)
    places = range(len(tokens) - len(wanted) + 1)
    if soft:  # a statement begins with it, and its name follows
        return any(tokens[i] == word and tokens[i - 1] == "\n" and tokens[i + 1].isidentifier() for i in places[:-1])
    return any(tokens[i : i + len(wanted)] == wanted for i in places)


def _tokens(code: str) -> list[str]:
    """The words of a source, a line's end as one; as far as it can be read."""
    found = ["\n"]
    line_ends = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type in line_ends:
                found.append("\n")
            elif token.type in (tokenize.NAME, tokenize.OP):
                found.append(token.string)
    except (tokenize.TokenError, SyntaxError):
        pass
    return [word for i, word in enumerate(found) if word != "\n" or i == 0 or found[i - 1] != "\n"]


def _words(text: str) -> Iterator[str]:
    word = ""
    for character in f"{text} ":
        if character.isidentifier() or (word and character.isalnum()):
            word += character
        elif word:
            yield word
            word = ""
