"""Reads the files of hostile programs, strictly: every error names the file and the field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from core.errors import BadData


@dataclass(frozen=True, slots=True)
class Entry:
    """One program."""

    name: str
    code: str
    slow: bool = False
    undefended: str = ""


@dataclass(frozen=True, slots=True)
class PythonFile:
    """Programs in Python that are hostile in one way."""

    entries: tuple[Entry, ...]
    judge: bool
    """Whether they aim at what judges."""


@dataclass(frozen=True, slots=True)
class ProgramsFile:
    """Programs in another language."""

    entries: tuple[Entry, ...]
    tests: str
    neighbour: str


def python(path: Path) -> PythonFile:
    """A file of programs in Python. Raises BadData.

    A program is its source, or `generated`: an expression that gives it. `prelude` stands before each of them; `judge`
    is true where they aim at what judges; `slow` lists the names of those that a quick check leaves out; `undefended`
    lists, by the reason, those that pass where test code shares their process.
    """
    record = _read(path)
    settings = {name: record.pop(name) for name in ("prelude", "judge", "slow", "undefended") if name in record}
    prelude = _text(path, settings.get("prelude", ""), "prelude", empty=True)
    slow = _names(path, settings.get("slow", []), "slow", record)
    undefended: dict[str, str] = {}
    for why, names in _mapping(path, settings.get("undefended", {}), "undefended").items():
        undefended |= dict.fromkeys(_names(path, names, f"undefended.{why}", record), why)
    entries = [
        Entry(name, prelude + _source(path, source, name), name in slow, undefended.get(name, ""))
        for name, source in record.items()
    ]
    return PythonFile(_some(path, entries), _flag(path, settings.get("judge", False), "judge"))


def programs(path: Path) -> ProgramsFile:
    """A file of programs in another language. Raises BadData.

    `tests` is the text that all of them are judged by, `neighbour` a correct solution; each other field is a program:
    `solution`, `why` (what it tries, on one line), and where they are so, `undefended` (why it passes) and `slow`.
    """
    record = _read(path)
    tests, neighbour = (_text(path, record.pop(field, None), field) for field in ("tests", "neighbour"))
    return ProgramsFile(_some(path, [_program(path, name, found) for name, found in record.items()]), tests, neighbour)


def _program(path: Path, name: str, found: Any) -> Entry:
    fields = _mapping(path, found, name)
    solution = _text(path, fields.pop("solution", None), f"{name}.solution")
    if "\n" in _text(path, fields.pop("why", None), f"{name}.why").strip():
        raise BadData(str(path), "should be one line", field=f"{name}.why")
    undefended = _text(path, fields.pop("undefended"), f"{name}.undefended") if "undefended" in fields else ""
    slow = _flag(path, fields.pop("slow", False), f"{name}.slow")
    if fields:
        raise BadData(str(path), "is no field", field=f"{name}.{min(fields)}")
    return Entry(name, solution, slow, " ".join(undefended.split()))


def _some(path: Path, entries: list[Entry]) -> tuple[Entry, ...]:
    if not entries:
        raise BadData(str(path), "holds no program")
    return tuple(entries)


def _source(path: Path, found: Any, name: str) -> str:
    """A program in Python. What is evaluated is the project's own data."""
    if not isinstance(found, dict):
        return _text(path, found, name)
    if list(found) != ["generated"]:
        raise BadData(str(path), "should be a text, or a mapping with `generated` alone", field=name)
    expression = _text(path, found["generated"], f"{name}.generated")
    try:
        return _text(path, eval(expression, {}), f"{name}.generated")
    except (SyntaxError, NameError, TypeError, ValueError) as error:
        raise BadData(str(path), f"gives no text: {error}", field=f"{name}.generated") from error


def _read(path: Path) -> dict[str, Any]:
    """The mapping that a file is, every name in it unique."""
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        for node in _repeated(root):
            raise BadData(str(path), "stands here again", line=node.start_mark.line + 1, field=str(node.value))
        return _mapping(path, yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise BadData(str(path), f"no YAML: {' '.join(str(error).split())}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(str(path), f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _repeated(node: Any) -> Iterator[Any]:
    """Every key of a mapping that it has already: loading would keep the last and say nothing."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if str(key.value) in seen:
                yield key
            seen.add(str(key.value))
            yield from _repeated(value)


def _mapping(path: Path, found: Any, field: str | None = None) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise BadData(str(path), "should be a mapping with names as keys", field=field)
    return dict(found)


def _text(path: Path, found: Any, field: str, *, empty: bool = False) -> str:
    if found is None:
        raise BadData(str(path), "is missing", field=field)
    if not isinstance(found, str) or not (found or empty):
        raise BadData(str(path), "should be a text that is not empty", field=field)
    return found


def _flag(path: Path, found: Any, field: str) -> bool:
    if not isinstance(found, bool):
        raise BadData(str(path), "should be true or false", field=field)
    return found


def _names(path: Path, found: Any, field: str, known: dict[str, Any]) -> list[str]:
    """Names of programs of the file."""
    if not isinstance(found, list):
        raise BadData(str(path), "should be a list of names", field=field)
    for name in found:
        if not isinstance(name, str) or name not in known:
            raise BadData(str(path), f"names {name!r}, which is no program of this file", field=field)
    return found
