"""A turn of a native task, as its file has it."""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Sequence
from dataclasses import replace
from types import CodeType
from typing import Any, Literal

from adapters import project
from adapters.extraction import defined
from adapters.yamlfile import File, Node
from core.checks import CHECKS, LITERAL
from core.errors import UnknownName
from core.types import Case, Check, Limits, Tests, Turn, Wrong

_NAME = (r"[^\W\d]\w*", "a single Python name")
_NONSTOP = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_PROJECT = (r"(?s:.*^#[ \t]*file:[ \t]*\S+.*)", "files of a project, each after a line `# file: PATH`,")


def turn(file: File, node: Node, entry_point: str) -> Turn:
    """One turn. What is wrong with it becomes a fault of the file."""
    optional = ("timeout", "memory_mb", "tolerance", "cases", "code", "judging", "wrong", "answer", "checks", "files")
    fields = file.mapping(node, ("prompt", "reference"), optional)
    if fields and not fields.keys() & {"cases", "code"}:
        file.fault(node, "nothing would be tested; give it cases, or code with test_ functions")
    tolerance = _tolerance(file, fields.get("tolerance"), (0.0, 0.0))
    cases = file.items(fields.get("cases"))
    source, calls = _test_code(file, fields.get("code"))
    judging = file.text(fields.get("judging"), "one-process", "one-process, or nothing,")
    if judging and "code" not in fields:
        file.fault(fields["judging"], "there is no test code that it would be about")
    files = _files(file, fields["files"]) if "files" in fields else None
    if (":" in entry_point) != (files is not None):
        file.fault(node, "a turn has files where the entry point is MODULE:NAME, and only there")
    reference, tree = _solution(file, fields.get("reference"), files is not None)
    if tree is not None and entry_point and entry_point not in defined(ast.iter_child_nodes(tree)):
        file.fault(fields["reference"], f"it does not define the entry point '{entry_point}'")
    checks = tuple(_check(file, item) for item in file.items(fields.get("checks")))
    if "answer" in fields and file.text(fields["answer"], LITERAL, f"'{LITERAL}'"):
        checks = (Check(LITERAL, entry_point), *checks)
    default = Limits()
    made = Turn(
        prompt=file.text(fields.get("prompt")),
        tests=Tests(tuple(_case(file, case, tolerance) for case in cases), source, calls, bool(judging), checks),
        reference=reference,
        wrong=tuple(_wrong(file, wrong, files is not None, reference) for wrong in file.items(fields.get("wrong"))),
        limits=Limits(
            cpu_s=file.number(fields.get("timeout"), default.cpu_s),
            memory_bytes=file.whole(fields.get("memory_mb"), default.memory_bytes >> 20) << 20,
        ),
        files=files,
    )
    names = [*(case.name for case in made.tests.cases), *(call.removesuffix("()") for call in calls)]
    for i, name in enumerate(names[: len(cases)]):
        if name and name in names[:i]:
            file.fault(cases[i], f"another case is named '{name}' too; rename one")
    known = [*filter(None, names), *(check.name for check in checks)]
    for wrong, told in zip(made.wrong, file.items(fields.get("wrong")), strict=True):
        if wrong.fails and wrong.fails not in known:
            file.fault(told, str(UnknownName("case, test or check", wrong.fails, known)))
    return made


def _case(file: File, node: Node, default: tuple[float, float]) -> Case:
    """A case. default: the turn's tolerance, which one of the case's own replaces whole."""
    optional = ("output", "raises", "name", "setup", "timeout", "weight", "tolerance")
    fields = file.mapping(node, ("call",), optional)
    if fields and ("output" in fields) == ("raises" in fields):
        file.fault(node, "it needs either output or raises (`output: null` expects None)")
    rel_tol, abs_tol = _tolerance(file, fields.get("tolerance"), default)
    return Case(
        call=_python(file, fields.get("call"), "eval")[0],
        output=_output(file, fields["output"]) if "output" in fields else None,
        raises=file.text(fields["raises"], *_NAME) if "raises" in fields else None,
        setup=_python(file, fields.get("setup"))[0],
        cpu_s=file.number(fields["timeout"], 1.0) if "timeout" in fields else None,
        weight=file.number(fields.get("weight"), 1.0),
        rel_tol=rel_tol,
        abs_tol=abs_tol,
        name=file.text(fields.get("name")),
    )


def _tolerance(file: File, node: Node | None, default: tuple[float, float]) -> tuple[float, float]:
    """The relative and the absolute tolerance."""
    if node is None:
        return default
    fields = file.mapping(node, (), ("rel", "abs"))
    return file.number(fields.get("rel"), 0.0, zero=True), file.number(fields.get("abs"), 0.0, zero=True)


def _output(file: File, node: Node) -> Any:
    """The expected value: text is a Python literal, in which nan and inf stand for themselves; the rest is itself."""
    if not isinstance(node.value, str):
        return _plain(node)
    hint = "; text is quoted for Python too, as in \"'abc'\""
    text, tree = _python(file, node, "eval", hint=hint)
    if text and tree is not None:
        try:
            return ast.literal_eval(_Constants().visit(tree))
        except (ValueError, TypeError) as error:
            file.fault(node, f"not a Python literal: {str(error).partition(' on line')[0]}{hint}")
    return None


class _Constants(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(float(node.id)) if node.id in ("nan", "inf") else node


def _plain(node: Node) -> Any:
    if isinstance(node.value, list):
        return [_plain(item) for item in node.value]
    if isinstance(node.value, dict):
        return {key: _plain(item) for key, item in node.value.items()}
    return node.value


def _test_code(file: File, node: Node | None) -> tuple[str, tuple[str, ...]]:
    """Test code and the calls of its test functions. One that would not run, or not to its end, is a fault."""
    source, tree = _python(file, node)
    if not node or not source:
        return "", ()
    if tree is None:
        file.fault(node, "not Python of the version that reads this; write it without what is newer")
        return "", ()
    code: CodeType = compile(source, "<task>", "exec", dont_inherit=True)
    nonstop = {const.co_name for const in code.co_consts if isinstance(const, CodeType) and const.co_flags & _NONSTOP}
    top = list(ast.iter_child_nodes(tree))
    names: list[str] = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name.startswith("test_"):
            line = node.first + function.lineno - 1
            name, arguments = function.name, function.args
            if function not in top:
                file.fault(node, f"{name} would not be called; define it at the top level", line)
            elif name in names:
                file.fault(node, f"{name} is defined twice; rename one", line)
            elif name in nonstop:
                file.fault(node, f"calling {name} would run nothing; make it a plain function", line)
            elif ast.unparse(arguments):
                file.fault(node, f"{name} takes arguments; nothing would give them", line)
            names.append(name)
    if not names:
        file.fault(node, "it defines no function test_…, so nothing would be tested")
    return source, tuple(f"{name}()" for name in names)


def _wrong(file: File, node: Node, several: bool, reference: str) -> Wrong:
    """A wrong solution: its code, or the reference with some edits."""
    fields = file.mapping(node, ("why",), ("fails", "code", "edits"))
    why = file.text(fields.get("why"))
    fails = file.text(fields["fails"]) if "fails" in fields else ""
    if fields and ("code" in fields) == ("edits" in fields):
        file.fault(node, "it needs either code, or edits of the reference")
    if "edits" not in fields:
        return Wrong(_solution(file, fields.get("code"), several, warn="ignore")[0], why, fails)
    code = _edited(file, reference, file.items(fields["edits"]))
    if not several:
        _compiled(file, fields["edits"], code, "exec", "ignore", " after its edits")
    return Wrong(code, why, fails)


def _edited(file: File, code: str, edits: Sequence[Node]) -> str:
    """Code in which each edit's `old` text, which stands there once, is `new`."""
    for edit in edits:
        fields = file.mapping(edit, ("old", "new"))
        old, new = (fields[name].value if name in fields else "" for name in ("old", "new"))
        if not (isinstance(old, str) and isinstance(new, str) and old):
            file.fault(edit, "old and new are texts")
        elif (times := code.count(old)) != 1:
            file.fault(edit, f"its old text stands {times} times in the reference; it must be there once")
        else:
            code = code.replace(old, new)
    return code


def _check(file: File, node: Node) -> Check:
    """A check: its name alone, or with a number or words."""
    name, value = node.value, Node(None)
    if isinstance(name, dict) and len(name) == 1:
        [(name, value)] = name.items()
    if name not in CHECKS or name == LITERAL:
        file.fault(node, str(UnknownName("check", str(name), [known for known in CHECKS if known != LITERAL])))
        return Check("")
    match CHECKS[name]:
        case "a number":
            return Check(name, file.whole(value, 0))
        case "words":
            return Check(name, tuple(file.text(word) for word in file.items(value)))
    if value.value is not None:
        file.fault(node, f"nothing goes with '{name}'")
    return Check(name)


def _files(file: File, node: Node) -> tuple[tuple[str, str], ...]:
    """The files of a project, by their paths."""
    if not isinstance(node.value, dict):
        file.fault(node, "a mapping of paths to texts was expected")
        return ()
    for path, content in node.value.items():
        if not project.safe(str(path)):
            file.fault(content, "a path within the project was expected")
        if not isinstance(content.value, str):
            file.fault(content, "text was expected")
    return tuple((str(path), str(content.value)) for path, content in node.value.items())


def _solution(
    file: File, node: Node | None, several: bool, warn: Literal["error", "ignore"] = "error"
) -> tuple[str, ast.AST | None]:
    """A solution and its tree: Python; or several files, of which those in Python are, without a tree."""
    if not several:
        return _python(file, node, warn=warn)
    text = file.text(node, *_PROJECT)
    for path, content in project.split(text).items():
        if node and path.endswith(".py"):
            _compiled(file, replace(node, first=node.line), content, "exec", warn, f" in {path}")
    return text, None


def _python(
    file: File, node: Node | None, mode: str = "exec", warn: Literal["error", "ignore"] = "error", hint: str = ""
) -> tuple[str, ast.AST | None]:
    """Python that compiles, and its tree; None where that cannot be known. warn: what becomes of a warning, such as of
    an assertion always true."""
    text = file.text(node)
    tree = _compiled(file, node, text, mode, warn, hint) if node and text else None
    return (text, tree) if tree or file.later else ("", None)


def _compiled(file: File, node: Node, text: str, mode: str, warn: Literal["error", "ignore"], hint: str) -> Any:
    """The tree of a text of Python; None, with a fault, where it does not compile."""
    with warnings.catch_warnings():
        warnings.simplefilter(warn)
        try:
            tree: Any = compile(text, "<task>", mode, ast.PyCF_ONLY_AST, dont_inherit=True)
            compile(tree, "<task>", mode, dont_inherit=True)
            return tree
        except SyntaxError as error:
            if not file.later:  # it may be of a Python that is not this one
                file.fault(node, f"not Python: {error.msg}{hint}", node.first + (error.lineno or 1) - 1)
        except (ValueError, OverflowError, RecursionError, MemoryError) as error:
            file.fault(node, f"not Python: {error}{hint}")
    return None
