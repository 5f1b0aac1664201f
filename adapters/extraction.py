"""From a chat answer to a solution. Pure: code is parsed here, never executed.

Tried in this order: the fenced blocks that define the entry point; the regions of lines, outside any fence or inside a
broken one, that do; the best of the other blocks; the longest region that defines something else; the answer as it is.
What parses of a broken definition is no solution: it could pass where the answer as given could not.

Of several blocks that define it, the last closed one is meant: answers quote the faulty code, sketch or take a simple
way first and end on what they stand for, and an answer that is cut off has not said its last block. A block that only
uses or imports the entry point, or states its signature, does not define it. Names that the chosen block lacks and
another one has are joined to it, in the order of the answer. Of regions, the longest is meant.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from core.types import Solution

_INCOMPLETE = 0x4000
"""`codeop.PyCF_ALLOW_INCOMPLETE_INPUT`: tells code that lacks its end from code that is wrong."""

_THINKING = re.compile(r"(?:\s*<think>.*?(?:</think>|\Z))+", re.DOTALL)
_THOUGHT = re.compile(r"^[ \t]*</think>[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(`{3,}|~{3,})[ \t]*([^`]*)")
_MARKDOWN = re.compile(r"(markdown|md)\b", re.IGNORECASE)
_PYTHON = re.compile(r"\W*(py|$)", re.IGNORECASE)
_HEAD = re.compile(r"[ \t]*(?!#|(?:elif|else|except|finally)\b)\S")

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BUILTINS = frozenset(dir(builtins))


def extract(answer: str, entry_point: str, *, later: bool = False) -> Solution | None:
    """The solution in a chat answer, in time linear in its length.

    answer: the model's raw text; thinking at its start is left out.
    entry_point: the name that the solution should define.
    later: whether it may be of a later Python than this one, which cannot read it then: its fence is taken whole.
    Returns None only where nothing but white space (or thinking) is there. Raises nothing.
    """
    spoken = _spoken(answer)
    if not spoken.strip():
        return None
    if later and (whole := fenced(answer, entry_point)) is not None and not _readable(whole):
        return Solution(whole, "fence")
    text = _Text(spoken)
    fenced_ones = _blocks(text)
    defining = [(block.closed, i) for i, block in enumerate(fenced_ones) if entry_point in defined(block.body)]
    if defining:
        return Solution(_joined(max(defining)[1], fenced_ones, entry_point), "fence")
    regions = _regions(text)
    sizes = [(len(region.code), i) for i, region in enumerate(regions) if entry_point in defined(region.body)]
    if sizes:
        return Solution(_joined(max(sizes)[1], regions, entry_point), "region")
    named = re.compile(rf"(?:def|class)[ \t]+{re.escape(entry_point)}\b")
    if fenced_ones:
        best = max(fenced_ones, key=lambda b: (bool(named.search(b.code)), b.python, bool(b.body), len(b.code)))
        return Solution(best.code, "fence")
    others = [region for region in regions if any(isinstance(s, (*_FUNCTIONS, ast.ClassDef)) for s in region.body)]
    if others:
        best = max(others, key=lambda region: (bool(named.search(region.code)), len(region.code)))
        if named.search(best.code) or not named.search(spoken):
            return Solution(best.code, "region")
    return Solution(spoken, "raw")


def _readable(code: str) -> bool:
    try:
        parse(code)
    except SyntaxError:
        return False
    return True


def fenced(answer: str, entry_point: str) -> str | None:
    """The code of a chat answer in another language than Python: the last closed fence that holds the entry point, else
    the longest that does, else the longest; None where there is no fence.

    entry_point: empty where its name is not known.
    """
    found = _blocks(_Text(_spoken(answer)))
    best = max(
        enumerate(found),
        key=lambda each: (entry_point in each[1].code, each[1].closed, each[0] if entry_point else len(each[1].code)),
        default=None,
    )
    return None if best is None else best[1].code


def blocks(answer: str) -> list[str]:
    """The code of each fenced block, in order."""
    return [block.code for block in _blocks(_Text(_spoken(answer)))]


def parse(code: str, flags: int = 0) -> ast.Module:
    """The syntax tree of `code`.

    flags: of `compile`, beside the one that asks for a tree.
    Raises SyntaxError, whatever is wrong with it. Warnings about it are silenced.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree: ast.Module = compile(code, "<answer>", "exec", ast.PyCF_ONLY_AST | flags, dont_inherit=True)
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error) or type(error).__name__) from error
    return tree


def defined(nodes: Iterable[ast.AST]) -> set[str]:
    """The names that statements define at module level: classes, functions that have a body, and what is assigned."""
    names: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.ClassDef) or (isinstance(node, _FUNCTIONS) and not _is_stub(node)):
            names.add(node.name)
        elif isinstance(node, ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        elif isinstance(node, ast.If | ast.Try | ast.ExceptHandler | ast.With):
            todo += ast.iter_child_nodes(node)
    return names


# ── the answer's parts ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of an answer that may be code."""

    code: str
    body: Sequence[ast.stmt]
    """Its statements; empty where it does not parse."""
    closed: bool = True
    python: bool = False
    """Whether it is said, or at least not denied, to be Python."""


class _Text:
    """An answer's lines, and a parser that gives up when it has been asked to read them several times over."""

    def __init__(self, text: str) -> None:
        self.lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.budget = 8 * len(text) + 1_000_000

    def grow(self, start: int, ends: Iterable[int]) -> tuple[int, str, list[ast.stmt]]:
        """The lines from `start` to the nearest of `ends` at which they parse, dedented; and their statements.

        A fence or a new line of text inside an open string or bracket ends nothing. Where they parse at none, it is
        the nearest end, and there are no statements.
        """
        nearest: tuple[int, str, list[ast.stmt]] | None = None
        for end in ends:
            code = _dedented(self.lines[start:end])
            nearest = nearest or (end, code, [])
            self.budget -= len(code) + 50
            if self.budget < 0:
                break
            try:
                return end, code, parse(code, _INCOMPLETE).body
            except SyntaxError as error:
                if error.msg != "incomplete input":
                    break
        assert nearest is not None, "there is always the last line"
        return nearest


def _spoken(answer: str) -> str:
    """The answer without the thinking before it, whose opening tag may be the chat template's."""
    if thinking := _THINKING.match(answer):
        return answer[thinking.end() :]
    thought = _THOUGHT.search(answer)
    if thought and "<think>" not in answer[: thought.start()]:
        return answer[thought.end() :]
    return answer


def _blocks(text: _Text) -> list[_Piece]:
    """The fenced blocks that hold anything, in order. One of Markdown is looked into."""
    fences = [(i, m[1], m[2]) for i, line in enumerate(text.lines) if (m := _FENCE.fullmatch(line))]
    blocks = []
    at = 0
    while at < len(fences):
        line, marks, label = fences[at]
        at += 1
        if _MARKDOWN.match(label):
            continue
        closers = (fences[k][0] for k in range(at, len(fences)) if not fences[k][2] and fences[k][1].startswith(marks))
        first = next(closers, None)
        ends = [len(text.lines)] if first is None else chain([first], closers)
        end, code, body = text.grow(line + 1, ends)
        while at < len(fences) and fences[at][0] <= end:
            at += 1
        if code.strip():
            blocks.append(_Piece(code, body, first is not None, _PYTHON.match(label) is not None))
    return blocks


def _regions(text: _Text) -> list[_Piece]:
    """The longest runs of statements, in order.

    Statements of one margin parse one by one, so that no line is read more often than its nesting is deep.
    """
    heads = [i for i, line in enumerate(text.lines) if _HEAD.match(line)]
    regions: list[_Piece] = []
    run: list[str] = []
    body: list[ast.stmt] = []
    known: set[str] = set()
    margin = at = 0
    while at < len(heads) and text.budget > 0:
        indent = _indent(text.lines[heads[at]])
        ends = (heads[k] for k in range(at + 1, len(heads)) if _indent(text.lines[heads[k]]) <= indent)
        end, code, statements = text.grow(heads[at], chain(ends, [len(text.lines)]))
        prose = _is_prose(statements, known)
        if body and (not statements or prose or indent != margin):
            regions.append(_Piece("".join(run), body))
            run, body, known = [], [], set()
        if statements and not prose:
            run.append(code)
            body += statements
            known |= defined(statements) | _imported(statements)
            margin = indent
        at = bisect_left(heads, end) if statements else at + 1
    if body:
        regions.append(_Piece("".join(run), body))
    return regions


def _joined(chosen: int, pieces: Sequence[_Piece], entry_point: str) -> str:
    """The chosen piece with those that have the names that it lacks. What is defined outranks what is imported."""
    owners: dict[str, int] = {}
    for names in (_imported, defined):
        for i, piece in enumerate(pieces):
            if i <= chosen or entry_point not in defined(piece.body):
                owners.update(dict.fromkeys(names(piece.body), i))
    taken = {chosen}
    lacking = _missing(pieces[chosen].body)
    while lacking:
        owner = owners.get(lacking.pop())
        if owner is not None and owner not in taken:
            taken.add(owner)
            lacking |= _missing(pieces[owner].body)
    return "\n\n".join(pieces[i].code for i in sorted(taken))


# ── reading code ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _is_stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether it has a signature and a docstring alone."""
    return all(
        isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in function.body
    )


def _is_prose(statements: Iterable[ast.stmt], known: set[str]) -> bool:
    """Whether words happen to parse, as `Explanation` or `Note: this` do: expressions over names that nobody knows."""
    return any(isinstance(s, ast.Expr | ast.AnnAssign) and _missing([s]) - known for s in statements)


def _imported(body: Iterable[ast.stmt]) -> set[str]:
    imports = (s for s in body if isinstance(s, ast.Import | ast.ImportFrom))
    return {(alias.asname or alias.name).partition(".")[0] for statement in imports for alias in statement.names}


def _missing(body: Iterable[ast.stmt]) -> set[str]:
    """The names that statements use and bind nowhere, but for the builtins."""
    used: set[str] = set()
    bound: set[str] = set()
    for node in chain.from_iterable(map(ast.walk, body)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=asname):
                bound.add((asname or name).partition(".")[0])
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                bound.add(name)
    return used - bound - _BUILTINS


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" \t"))


def _dedented(lines: Sequence[str]) -> str:
    """The lines without the first one's margin, each with its end; nothing where all are blank."""
    margin = next((_indent(line) for line in lines if line.strip()), 0)
    return "".join(line[min(margin, _indent(line)) :] + "\n" for line in lines)
