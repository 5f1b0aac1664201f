"""Completions that exist already, read from a file and judged as they are.

Two forms are known, each as it is or compressed (`.gz`):

- JSON Lines, a record a line: `{"task_id": "HumanEval/0", "completion": "..."}`. Other fields are ignored; the order of
  a task's lines is the order of its samples.
- A JSON list with a list of strings for each problem, in the data set's order: what the BigCode evaluation harness
  saves. It names no problem, so the first list is the first problem's, whatever the run is limited to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from core.errors import BadData, GenerationError
from core.types import Completion, Request
from models.base import Capabilities, Model


@dataclass(frozen=True, slots=True)
class Generations:
    """A file of completions. `load` makes it."""

    path: str
    """As the user named it."""
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    by_task: Mapping[str, Sequence[str]] | None
    """Task id → completions; None for a list of lists."""
    in_order: Sequence[Sequence[str]]
    """Problem by problem, in the data set's order, where it is a list of lists."""
    lines: Mapping[str, int]
    """Task id → the line that names it first, counted from 1."""

    @classmethod
    def load(cls, path: str) -> Self:
        """Read and validate a file. Raises BadData, with the line and the field, where it is not what it should be."""
        from hashlib import sha256

        data = _read(path)
        text = _decode(path, data)
        digest = sha256(data).hexdigest()
        if not text.strip():
            raise BadData(path, 'is empty: it should hold a line {"task_id": ..., "completion": ...} for each sample')
        if text.lstrip().startswith("["):
            return cls(path, digest, None, _lists(path, text), {})
        by_task, lines = _records(path, text)
        return cls(path, digest, by_task, (), lines)

    def counts(self, task_ids: Sequence[str], known: Sequence[str]) -> list[int]:
        """How many completions each of `task_ids` has.

        task_ids: the problems to be run. known: every problem of the suite, in the data set's order.
        Raises BadData where one of `task_ids` has none, and where the file is of more than `known`.
        """
        if self.by_task is None:
            if len(self.in_order) > len(known):
                raise BadData(
                    self.path, f"has {len(self.in_order)} lists for {len(known)} problems: is it this suite's?"
                )
        else:
            self._refuse_strangers(self.by_task, known)
        by_task = self.completions(known)
        lacking = [task_id for task_id in task_ids if not by_task.get(task_id)]
        if lacking:
            raise BadData(
                self.path,
                f"has no completion for {len(lacking)} of {len(task_ids)} problems ({_some(lacking)}): add them, "
                "or leave the problems out with --limit",
            )
        return [len(by_task[task_id]) for task_id in task_ids]

    def completions(self, known: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Task id → completions. known: every problem of the suite, in the data set's order."""
        return dict(zip(known, self.in_order, strict=False)) if self.by_task is None else self.by_task

    def _refuse_strangers(self, task_ids: Mapping[str, Any], known: Sequence[str]) -> None:
        from difflib import get_close_matches

        there = set(known)
        for task_id in task_ids:
            if task_id not in there:
                close = get_close_matches(task_id, known, n=3) or known[:3]
                raise BadData(
                    self.path,
                    f"no problem of the suite is called '{task_id}'; its names are like {_some(close)}",
                    line=self.lines[task_id],
                    field="task_id",
                )


class Recorded(Model):
    """Answers with the completions of a file, verbatim: sample i of a problem is its i-th completion.

    name: whose completions they are. known: every problem of the suite, in the data set's order.
    """

    provider = "recorded"
    capabilities = Capabilities(styles=("completion", "instruct"))
    answers_anew = False

    def __init__(self, name: str, generations: Generations, known: Sequence[str]) -> None:
        super().__init__(name)
        self._path = generations.path
        self._completions = generations.completions(known)

    def parameters(self, _: Request) -> dict[str, Any]:
        """None: it is asked nothing."""
        return {}

    async def generate(self, request: Request) -> Completion:
        """The recorded completion. Raises GenerationError where the file has none: it answers first turns alone."""
        completions = self._completions.get(request.task_id, ())
        if request.turn > 0 or request.index >= len(completions):
            raise GenerationError(
                f"{self._path} has no completion {request.index} for turn {request.turn} of {request.task_id}: add it",
                tries=0,
            )
        return Completion(completions[request.index])


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise BadData(path, f"cannot be read: {error.strerror or error}") from error


def _decode(path: str, data: bytes) -> str:
    import gzip
    import zlib

    if path.endswith(".gz"):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise BadData(path, f"is not a whole gzip file ({error}): compress it again, or drop the .gz") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadData(path, "is not UTF-8: convert it, or name it .gz if it is compressed", line=line) from error


def _lists(path: str, text: str) -> list[list[str]]:
    lists = _json(path, text)
    for i, completions in enumerate(lists):
        if not isinstance(completions, list):
            raise BadData(path, f"should be a list of strings, is {_kind(completions)}", field=f"[{i}]")
        for j, completion in enumerate(completions):
            _check(path, completion, field=f"[{i}][{j}]")
    return list(lists)


def _records(path: str, text: str) -> tuple[dict[str, list[str]], dict[str, int]]:
    by_task: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    # Not splitlines: JSON strings may hold the other line separators of Unicode as they are.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        record = _json(path, line, number)
        if not isinstance(record, dict):
            raise BadData(path, f"should be an object, is {_kind(record)}", line=number)
        for name in ("task_id", "completion"):
            if name not in record:
                raise BadData(path, f"is missing; there is: {', '.join(record) or 'nothing'}", line=number, field=name)
            _check(path, record[name], line=number, field=name)
        by_task.setdefault(record["task_id"], []).append(record["completion"])
        lines.setdefault(record["task_id"], number)
    return by_task, lines


def _json(path: str, text: str, line: int = 1) -> Any:
    """Parse text that begins at `line` of the file."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        message = f"is not JSON: {error.msg} at column {error.colno}"
        raise BadData(path, message, line=line + error.lineno - 1) from error
    except (ValueError, RecursionError) as error:
        raise BadData(path, f"holds a number or a nesting out of all bounds ({error})", line=line) from error


def _check(path: str, value: object, *, field: str, line: int | None = None) -> None:
    if not isinstance(value, str):
        raise BadData(path, f"should be a string, is {_kind(value)}", line=line, field=field)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        message = f"holds half a character (\\u{ord(value[error.start]):x} alone), which no program file can hold"
        raise BadData(path, message, line=line, field=field) from error


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
