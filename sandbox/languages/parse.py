"""Reads a language's folder, strictly: every error names the file and the field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

from core.errors import BadData
from sandbox.languages import FILE, MARKER, PREPARE, Detect, Form, Language, Limits, Marker, Sign

T = TypeVar("T")


def folder(path: Path) -> Language:
    """The language in a folder, which is called what the language is.

    Raises BadData.
    """
    import yaml

    file = path / FILE
    try:
        record = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadData(str(file), f"no YAML: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise BadData(str(file), f"cannot be read: {error.strerror}") from error
    fields = _Fields(str(file), record)
    script = path / PREPARE
    language = Language(
        name=path.name,
        aliases=fields.take("aliases", _texts, ()),
        release=fields.take("release", _text),
        packages=fields.take("packages", _texts),
        prepare=script.read_text(encoding="utf-8") if script.exists() else "",
        version=fields.take("version", _argv),
        environment=fields.take("environment", _mapping, {}),
        files=fields.take("files", _mapping, {}),
        limits=_limits(fields.under("limits")),
        signs=_signs(fields.under("signs")),
        forms=_forms(fields.under("forms")),
        undefended=fields.take("undefended", _texts),
        detect=_detect(fields.under("detect")),
        passes=_example(path, "passes"),
        fails=_example(path, "fails"),
    )
    fields.end()
    return language


def _limits(fields: _Fields) -> Limits:
    limits = Limits(
        compile_cpu_s=fields.take("compile_cpu_s", _number),
        cpu_s=fields.take("cpu_s", _number),
        memory_bytes=int(fields.take("memory_mib", _number)) << 20,
        processes=int(fields.take("processes", _number)),
        address_space=fields.take("address_space", _flag),
    )
    fields.end()
    return limits


def _signs(fields: _Fields) -> dict[Sign, str]:
    signs: dict[Sign, str] = {name: fields.take(name, _pattern) for name in get_args(Sign) if name in fields.record}
    fields.end()
    return signs


def _forms(fields: _Fields) -> tuple[Form, ...]:
    forms = tuple(_form(name, fields.under(name)) for name in list(fields.record))
    if not forms or [form for form in forms if form.when is None] != [forms[-1]]:
        raise fields.bad("the last form, and no other, takes any tests: it has no `when`")
    return forms


def _form(name: str, fields: _Fields) -> Form:
    form = Form(
        name=name,
        when=fields.take("when", _pattern, None),
        file=fields.take("file", _text),
        compile=fields.take("compile", _argv, None),
        run=fields.take("run", _argv),
        marker=_marker(fields.under("marker")) if "marker" in fields.record else None,
        rejects=fields.take("rejects", _pattern, None),
        judged=fields.take("judged", _text),
    )
    fields.end()
    return form


def _marker(fields: _Fields) -> Marker:
    marker = Marker(fields.take("pattern", _pattern), fields.take("text", _text))
    if MARKER not in marker.text:
        raise fields.bad(f"has no {MARKER}", "text")
    try:
        re.sub(marker.pattern, marker.text, "")
    except (re.error, IndexError) as error:
        raise fields.bad(f"is no replacement: {error}", "text") from error
    fields.end()
    return marker


def _detect(fields: _Fields) -> Detect:
    found = Detect(fields.take("sure", _patterns, ()), fields.take("likely", _patterns, ()))
    fields.end()
    return found


def _example(path: Path, name: str) -> str:
    files = list(path.glob(f"{name}.*"))
    if len(files) != 1:
        raise BadData(str(path), f"has {len(files)} files {name}.*, and should have one")
    return files[0].read_text(encoding="utf-8")


class _Fields:
    """A mapping in the file. Each field is taken once; `end` objects to what is left."""

    def __init__(self, where: str, record: Any, path: tuple[str, ...] = ()) -> None:
        self.where, self.path = where, path
        if not isinstance(record, dict) or not all(isinstance(key, str) for key in record):
            raise self.bad("should be a mapping with names as keys")
        self.record = dict(record)

    def bad(self, message: str, *name: str) -> BadData:
        return BadData(self.where, message, field=".".join((*self.path, *name)) or None)

    def take(self, name: str, read: Callable[[Any], T], *default: T) -> T:
        """A field as `read` has it, which raises ValueError. default: what stands for it where it is absent."""
        if name not in self.record:
            if default:
                return default[0]
            raise self.bad("is missing", name)
        try:
            return read(self.record.pop(name))
        except ValueError as error:
            raise self.bad(str(error), name) from error

    def under(self, name: str) -> _Fields:
        return _Fields(self.where, self.record.pop(name, {}), (*self.path, name))

    def end(self) -> None:
        if self.record:
            raise self.bad("is no field", min(self.record))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("should be a text that is not empty")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError("should be a list of texts")
    return tuple(map(_text, value))


def _argv(value: Any) -> tuple[str, ...]:
    if not value:
        raise ValueError("should be a program and its arguments")
    return _texts(value)


def _mapping(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("should be a mapping of texts to texts")
    return {_text(key): _text(item) for key, item in value.items()}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError("should be a number above 0")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("should be true or false")
    return value


def _pattern(value: Any) -> str:
    try:
        re.compile(_text(value))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return str(value)


def _patterns(value: Any) -> tuple[str, ...]:
    return tuple(map(_pattern, _texts(value)))
