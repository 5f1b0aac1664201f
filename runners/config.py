"""A run from a YAML file: sections of values that stand for the options of `run`."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import models
from core.errors import BadData, UnknownName, UsageError
from models import catalog
from models.pace import Allowance
from quality import scores
from runners import rating

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "models": {"names": "models", "generations": "generations"},
    "suites": {
        "tasks": "tasks",
        "harnesses": "harnesses",
        "datasets": "datasets",
        "include_path": "include",
        "num_fewshot": "num_fewshot",
        "system_prompt": "system_prompt",
        "fewshot_as_multiturn": "fewshot_as_multiturn",
        "prompt": "prompt_kind",
        "limit": "limit",
        "sample": "sample",
        "dimensions": "dimensions",
        "tags": "tags",
    },
    "sampling": {
        "n_samples": "n_samples",
        "temperature": "temperature",
        "top_p": "top_p",
        "max_tokens": "max_tokens",
        "seed": "seed",
        "stop": "stop",
        "prompt_style": "prompt_style",
        "concurrency": "concurrency",
        "cache": "cache",
        "max_cost": "max_cost",
    },
    "execution": {
        "sandbox": "sandbox",
        "runtime": "runtime",
        "timeout": "timeout_s",
        "memory": "memory_bytes",
        "workers": "workers",
    },
    "scoring": {"k": "k", "weights": "weights", "baselines": "baselines"},
    "output": {
        "db": "db",
        "report": "report",
        "dump_samples": "dump_samples",
        "save_generations": "save_generations",
        "json": "as_json",
    },
}
"""Section → key → the parameter of `runners.unified.run` that it stands for."""

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def _allowance(path: str, name: str, entry: Any) -> Allowance:
    """What a model may be asked, as the file says."""
    names = [field.name for field in fields(Allowance)]
    for key, value in _mapping(path, entry, name).items():
        if key not in names:
            raise UnknownName(f"limit of '{name}' in {path}", str(key), names)
        whole = key in ("concurrency", "tries")
        if type(value) not in ((int,) if whole else (int, float)) or not 0 < value <= sys.float_info.max:
            raise BadData(path, f"should be a {'whole ' if whole else ''}number above 0", field=f"{name}.{key}")
    return Allowance(**entry or {})


TABLES: Mapping[str, Callable[[str, str, Any], Any]] = {"limits": _allowance, "catalog": catalog.checked}
"""Section → what reads one of its entries, which are of models or providers."""


NUMBERS: Mapping[str, Mapping[str, float]] = {"weights": scores.WEIGHTS, "baselines": scores.BASELINES}
"""Parameters that are tables of numbers, with the names that these usually have."""


def _numbers(path: str, value: Any, field: str) -> dict[str, float]:
    """A table of numbers above 0, or 0 where it is a weight."""
    name = field.rpartition(".")[2]
    known = [*NUMBERS[name], *(["completeness", *rating.registry.names()] if name == "weights" else [])]
    found = _mapping(path, value, field)
    for key, number in found.items():
        if key not in known:
            raise UnknownName(f"name in '{field}' of {path}", str(key), known)
        if type(number) not in (int, float) or not 0 <= number <= sys.float_info.max:
            raise BadData(path, "should be a number of 0 or more", field=f"{field}.{key}")
    if found and not any(found.values()):
        raise BadData(path, "should have a number above 0", field=field)
    return {str(key): float(number) for key, number in found.items()}


def load(path: str) -> dict[str, Any]:
    """The file's values by parameter, as text, for the options to read as they read a command line's words.

    The sections of `TABLES` are values already: PROVIDER or PROVIDER/NAME → what is said of it.

    `${NAME}` stands for an environment variable, in keys and in values; in the sections of `TABLES` a value that it
    stands in is of the type that it would have if it were written out.

    Raises BadData (unreadable, not YAML, not of this form), UnknownName (a section or key that is not known), and
    UsageError (a variable that is not set).
    """
    import yaml

    try:
        document = _document(path, Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadData(path, f"cannot be read ({error.strerror}): name another --config") from error
    # ValueError: bytes that are no UTF-8, numbers and dates that there are not.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = None if mark is None else mark.line + 1
        raise BadData(path, f"is not YAML: {getattr(error, 'problem', None) or error}", line=line) from error
    values: dict[str, Any] = {}
    for section, content in _mapping(path, document).items():
        if section in TABLES:
            entries = _mapping(path, content, section)
            values[section] = {
                name: TABLES[section](path, _provider(path, section, name), entry) for name, entry in entries.items()
            }
            continue
        if section not in SECTIONS:
            raise UnknownName(f"section of {path}", str(section), (*SECTIONS, *TABLES))
        for key, value in _mapping(path, content, section).items():
            if key not in SECTIONS[section]:
                raise UnknownName(f"key in section '{section}' of {path}", str(key), SECTIONS[section])
            if SECTIONS[section][key] in NUMBERS:
                values[SECTIONS[section][key]] = _numbers(path, value, f"{section}.{key}")
            elif value is not None:
                values[SECTIONS[section][key]] = _value(value)
    return values


def _document(path: str, text: str) -> Any:
    """What a YAML file holds, with its variables replaced. Raises BadData for a key that is given twice."""
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        seen: set[int] = set()
        for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
            if key.value in [*TABLES]:
                _expand(path, loader, value, seen, typed=True)
        _expand(path, loader, root, seen)
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _expand(path: str, loader: Any, node: Any, seen: set[int], typed: bool = False) -> None:
    """Replace the variables in a node and in what it holds. seen: the nodes where that is done.

    typed: whether what comes of them may be a number, say. Raises BadData for a key that is given twice.
    """
    import yaml

    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        value = _VARIABLE.sub(lambda match: _variable(path, match[1]), node.value)
        if value != node.value:
            node.value, node.tag = value, loader.resolve(yaml.ScalarNode, value, (typed, not typed))
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _expand(path, loader, item, seen, typed)
    elif isinstance(node, yaml.MappingNode):
        given = set()
        for key, value in node.value:
            _expand(path, loader, key, seen)
            _expand(path, loader, value, seen, typed)
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in given:
                    line = key.start_mark.line + 1
                    raise BadData(path, f"the key '{key.value}' is given twice: drop one", line=line)
                given.add((key.tag, key.value))


def _mapping(path: str, value: Any, field: str | None = None) -> Mapping[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadData(path, "should be a mapping of keys to values", field=field)
    return value


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return [(str(name), str(_value(item))) for name, item in value.items()]
    return str(value)  # an option that takes whole numbers would make 1 of 1.5, and of true


def _provider(path: str, section: str, name: Any) -> str:
    """An entry's name, if it is that of a provider or begins with one's."""
    provider = str(name).partition("/")[0]
    if provider not in models.registry.names():
        raise UnknownName(f"provider in section '{section}' of {path}", provider, models.registry.names())
    return str(name)


def _variable(path: str, name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise UsageError(f"{path} uses ${{{name}}}, which is not set: set it in the environment")
    return value
