"""Source read for what it says of itself: its functions, documentation, annotations and words. Pure."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import unicodedata
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
    for node in _level(tree):
        if isinstance(node, DEFINITIONS) and not node.name.startswith("_") and not _is_overload(node):
            yield f"{prefix}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def _level(tree: ast.Module | ast.ClassDef) -> Iterator[ast.AST]:
    """The statements that bind names of a module or class, those within conditions and the like among them."""
    todo: list[ast.AST] = [*reversed(tree.body)]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, (*_NESTS, ast.ExceptHandler, ast.match_case)):
            todo += [child for child in reversed(list(ast.iter_child_nodes(node))) if not isinstance(child, ast.expr)]


def _is_overload(node: Function | ast.ClassDef) -> bool:
    """Whether it only states one of several signatures."""
    names = [getattr(each, "id", getattr(each, "attr", "")) for each in node.decorator_list]
    return "overload" in names


def silenced(code: str) -> bool:
    """Whether something keeps type checkers from speaking of a part: a comment, a decorator, or a condition that holds
    for them alone and is about more than imports."""
    try:
        tokens = [*tokenize.generate_tokens(io.StringIO(code).readline)]
    except (tokenize.TokenError, SyntaxError):  # what only the compiler reads may hide one
        return _SILENCE.search(code) is not None
    if any(token.type == tokenize.COMMENT and _SILENCE.match(token.string) for token in tokens):
        return True
    tree = parsed(code)
    imports = 0 if tree is None else sum(_imports_alone(node) for node in ast.walk(tree))
    names = [token.string for token in tokens if token.type == tokenize.NAME]
    asked = names.count("TYPE_CHECKING") - sum(_imported(node, "TYPE_CHECKING") for node in _walked(tree))
    return asked > imports or "no_type_check" in names or "MYPY" in names


def _imports_alone(node: ast.AST) -> bool:
    """Whether it is a condition for type checkers, under which there are imports and nothing else."""
    if not isinstance(node, ast.If) or node.orelse:
        return False
    name = getattr(node.test, "id", getattr(node.test, "attr", ""))
    return name == "TYPE_CHECKING" and all(isinstance(each, ast.Import | ast.ImportFrom) for each in node.body)


def _imported(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.ImportFrom) and any(alias.name == name for alias in node.names)


def _walked(tree: ast.AST | None) -> Iterator[ast.AST]:
    return iter(()) if tree is None else ast.walk(tree)


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


def complexity(tree: ast.Module) -> tuple[str, int] | None:
    """The function of the highest cyclomatic complexity, by radon, wherever it stands; None where there is none."""
    from radon.visitors import ComplexityVisitor

    found = [(each.name, ComplexityVisitor.from_ast(ast.Module([each], [])).functions) for each in functions(tree)]
    counted = [(name, int(of_one[0].complexity)) for name, of_one in found if of_one]
    return max(counted, key=lambda each: each[1], default=None)


def uses(code: str, word: str) -> bool:
    """Whether a word occurs in a source: a keyword, a name, an attribute, or several of these with dots or blanks
    between them. Comments and texts do not count."""
    tree = parsed(code)
    if tree is None:
        return _occurs(_tokens(code), word)
    if word in _SOFT:
        return any(isinstance(node, _SOFT[word]) for node in ast.walk(tree))
    # What is within the text of an f-string is in the tree; what the compiler reads otherwise than it looks, too.
    return any(_named(node, word) for node in ast.walk(tree)) or _occurs(_tokens(ast.unparse(tree)), word)


def _named(node: ast.AST, word: str) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=name):
            return name == word
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name == word
        case ast.alias(name=name):
            return word in (name, *name.split("."))
    return False


def _occurs(tokens: Sequence[str], word: str) -> bool:
    wanted = word.replace(".", " . ").split()
    places = range(len(tokens) - len(wanted) + 1)
    if word not in _SOFT:
        return any(tokens[i : i + len(wanted)] == wanted for i in places)
    # A statement begins with it: a name follows, or its line ends as such a statement's does.
    ends = [i for i, token in enumerate(tokens) if token == "\n"]
    for i in places:
        if tokens[i] == word and i and tokens[i - 1] == "\n" and i + 1 < len(tokens):
            last = tokens[next((end for end in ends if end > i), len(tokens)) - 1]
            if tokens[i + 1].isidentifier() or (word != "type" and last == ":" and tokens[i + 1] != "="):
                return True
    return False


def _tokens(code: str) -> list[str]:
    """The words of a source, a line's end as one; as far as it can be read."""
    found = ["\n"]
    line_ends = (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT, tokenize.DEDENT)
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type in line_ends:
                found.append("\n")
            elif token.type in (tokenize.NAME, tokenize.OP):
                found.append(unicodedata.normalize("NFKC", token.string))
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
