"""The native task format: one YAML file a task. docs/tasks.md describes it for authors.

Reading is strict, since a slip in a task is a wrong figure: every key is known, every value has its type, all Python
in it compiles. None of it is executed.
"""

from __future__ import annotations

import ast
import inspect
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any, Literal

from adapters.extraction import defined
from adapters.yamlfile import File, Node
from core.errors import BadData
from core.types import Case, Limits, Problem, Tests, Turn, Wrong

TIERS = ("easy", "medium", "hard", "extreme")


def load(path: Path) -> Problem:
    """The problem in a task file.

    Raises BadData with file, line and field, for the fault that is found first: a misspelt key comes before what is
    missing for it.
    """
    problem, faults = _read(path)
    if faults:
        raise faults[0]
    return problem


def check(path: Path) -> list[BadData]:
    """Every fault of a task file, in the order of its lines; empty where `load` takes it."""
    return sorted(_read(path)[1], key=lambda fault: fault.line or 0)


def problems(paths: Iterable[Path]) -> tuple[Problem, ...]:
    """The problems of several task files, in their order. Raises BadData for the first fault."""
    return tuple(load(path) for path in paths)


_WORD = ("[a-z0-9]+(-[a-z0-9]+)*", "a lower-case word or kebab-case")
_NAME = (r"[^\W\d]\w*", "a single Python name")
_NONSTOP = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def _read(path: Path) -> tuple[Problem, list[BadData]]:
    """A task file's problem, without meaning where there are faults; and the faults."""
    file, problem = File(path), Problem("", (), "")
    try:
        problem = _problem(file, file.root())
    except RecursionError:
        file.fault(Node(None), "it is nested too deeply; state something flatter")
    return problem, file.faults


def _problem(file: File, root: Node | None) -> Problem:
    keys = ("id", "version", "tier", "category", "entry_point", "turns")
    fields = file.mapping(root, keys, ("tags", "metadata"))
    task_id, entry_point = file.text(fields.get("id")), file.text(fields.get("entry_point"), *_NAME)
    path = file.path.absolute()
    if task_id and f"{task_id}.yaml" != f"{path.parent.name}/{path.name}":
        file.fault(fields["id"], f"the file lies at {path.parent.name}/{path.name}; rename it or change the id")
    tier = file.text(fields.get("tier"), "|".join(TIERS), " or ".join(TIERS))
    if tier and task_id and tier != task_id.partition("/")[0]:
        file.fault(fields["tier"], f"the id '{task_id}' has another tier; change one of them")
    file.whole(fields.get("version"), 1)
    metadata = fields.get("metadata")
    if metadata and not isinstance(metadata.value, dict):
        file.fault(metadata, "a mapping was expected")
    return Problem(
        task_id=task_id,
        turns=tuple(_turn(file, node, entry_point) for node in file.items(fields.get("turns"))),
        entry_point=entry_point,
        tier=tier,
        category=file.text(fields.get("category"), *_WORD),
        tags=tuple(file.text(node, *_WORD) for node in file.items(fields.get("tags"))),
    )


def _turn(file: File, node: Node, entry_point: str) -> Turn:
    optional = ("timeout", "memory_mb", "tolerance", "cases", "code", "judging", "wrong")
    fields = file.mapping(node, ("prompt", "reference"), optional)
    if fields and not fields.keys() & {"cases", "code"}:
        file.fault(node, "nothing would be tested; give it cases, or code with test_ functions")
    tolerance = _tolerance(file, fields.get("tolerance"), (0.0, 0.0))
    cases = file.items(fields.get("cases"))
    source, calls = _test_code(file, fields.get("code"))
    judging = file.text(fields.get("judging"), "one-process", "one-process, or nothing,")
    if judging and "code" not in fields:
        file.fault(fields["judging"], "there is no test code that it would be about")
    reference, tree = _python(file, fields.get("reference"))
    if reference and entry_point and entry_point not in defined(ast.iter_child_nodes(tree)):
        file.fault(fields["reference"], f"it does not define the entry point '{entry_point}'")
    default = Limits()
    turn = Turn(
        prompt=file.text(fields.get("prompt")),
        tests=Tests(tuple(_case(file, case, tolerance) for case in cases), source, calls, bool(judging)),
        reference=reference,
        wrong=tuple(_wrong(file, wrong) for wrong in file.items(fields.get("wrong"))),
        limits=Limits(
            cpu_s=file.number(fields.get("timeout"), default.cpu_s),
            memory_bytes=file.whole(fields.get("memory_mb"), default.memory_bytes >> 20) << 20,
        ),
    )
    names = [case.name for case in turn.tests.cases]
    for i, name in enumerate(names):
        if name and name in names[:i]:
            file.fault(cases[i], f"another case is named '{name}' too; rename one")
    return turn


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
    if text:
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


def _wrong(file: File, node: Node) -> Wrong:
    fields = file.mapping(node, ("why", "code"))
    return Wrong(code=_python(file, fields.get("code"), warn="ignore")[0], why=file.text(fields.get("why")))


def _python(
    file: File, node: Node | None, mode: str = "exec", warn: Literal["error", "ignore"] = "error", hint: str = ""
) -> tuple[str, ast.AST]:
    """Python that compiles, and its tree. warn: what becomes of a warning, such as of an assertion always true."""
    text = file.text(node)
    if node and text:
        with warnings.catch_warnings():
            warnings.simplefilter(warn)
            try:
                tree: Any = compile(text, "<task>", mode, ast.PyCF_ONLY_AST, dont_inherit=True)
                compile(tree, "<task>", mode, dont_inherit=True)
                return text, tree
            except SyntaxError as error:
                file.fault(node, f"not Python: {error.msg}{hint}", node.first + (error.lineno or 1) - 1)
            except (ValueError, OverflowError, RecursionError, MemoryError) as error:
                file.fault(node, f"not Python: {error}{hint}")
    return "", ast.Module([], [])
