"""What is kept and written, as records: dicts of JSON values.

`to_record` and `from_record` follow the types of `core.types` field by field, so that a field added there is kept
without a line here. A record made of JSON text reads back equal, but for one thing: a high surrogate right before a
low one, which no decoder produces, reads back as the character that the two mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from core.errors import BadData
from core.types import Prompt, PromptStyle, RunSpec, Sample

RunStatus = Literal["incomplete", "complete", "interrupted"]
"""`complete` closes a run: it is immutable from then on. The others can be resumed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ProblemRecord:
    """What a run expects of one problem."""

    task_id: str
    n_samples: int = 1
    turns: int = 1


@dataclass(frozen=True, slots=True)
class SuiteRecord:
    """One suite as a run asks it. `name` is unique in the run: sample keys name suites by it."""

    harness: str
    name: str
    version: str
    data_hash: str
    style: PromptStyle
    problems: tuple[ProblemRecord, ...]
    """Those asked, in the suite's order."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run but for its samples."""

    run_id: str
    group_id: str
    """Shared by the runs that were started together."""
    spec: RunSpec
    manifest: Mapping[str, Any]
    """JSON values, as `results.manifest.collect` gives them."""
    started_at: str
    """ISO 8601, in UTC."""
    suites: tuple[SuiteRecord, ...]
    status: RunStatus = "incomplete"
    wall_s: float = 0.0
    """Over all its sessions."""
    ended_at: str | None = None
    """When its last session ended. ISO 8601, in UTC."""


def to_record(value: Any) -> Any:
    """A dataclass, or what holds some, as JSON values: dataclasses as dicts, tuples as lists, enums as their values."""
    cls: Any = type(value)
    if value is None or cls in (str, int, float, bool):
        return value
    if (names := _names(cls)) is not None:
        return {name: to_record(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {to_record(key): to_record(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_record(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def from_record(cls: type[T], record: Any, where: str = "record") -> T:
    """The `cls` that `to_record` made `record` of. Fields that it lacks take their defaults.

    where: what the record comes from, for the message.
    Raises BadData with the field where something is missing or of another type.
    """
    hint: Any = cls
    try:
        value: T = _parser(hint)(record)
    except _Unfit as unfit:
        raise BadData(where, unfit.message, field=".".join(unfit.path) or None) from None
    return value


def encode(record: Any) -> str:
    """A record as canonical JSON: ASCII, keys sorted, no spaces. Every `str` can be written, lone surrogates too."""
    return _ENCODER.encode(record)


def prompt_hash(prompt: Prompt) -> str:
    """SHA-256 of a prompt's canonical JSON, in hexadecimal."""
    return hashlib.sha256(encode(to_record(prompt)).encode()).hexdigest()


def sample_line(run: RunRecord, sample: Sample) -> dict[str, Any]:
    """A run's sample as `--dump-samples` writes it, a line each. What is unknown is None."""
    key, verdict, completion, solution = sample.key, sample.verdict, sample.completion, sample.solution
    return {
        "run_id": run.run_id,
        "model": run.spec.model,
        "task_id": key.task_id,
        "index": key.index,
        "turn": key.turn,
        "suite": key.suite,
        "status": verdict.status.value,
        "completion": completion.text if completion else None,
        "answer_at": completion.answer_at if completion else None,
        "solution": solution.code if solution else None,
        "method": solution.method if solution else None,
        "detail": verdict.detail,
        "cases": to_record(verdict.cases),
        "judging": verdict.judging,
        "finish_reason": completion.finish_reason if completion else None,
        "thinking": completion.thinking if completion else None,
        "model_served": completion.model_served if completion else None,
        "input_tokens": completion.input_tokens if completion else None,
        "output_tokens": completion.output_tokens if completion else None,
        "ttft_s": completion.ttft_s if completion else None,
        "total_s": completion.total_s if completion else None,
        "timings": to_record(completion.timings) if completion else None,
        "tries": sample.tries,
        "cached": completion.cached if completion else None,
        "cost_usd": completion.cost_usd if completion else None,
        "cpu_s": sample.cpu_s,
        "wall_s": sample.wall_s,
        "peak_memory_bytes": sample.peak_memory_bytes,
        "stdout": sample.stdout,
        "stderr": sample.stderr,
        "prompt": to_record(sample.prompt),
        "prompt_hash": prompt_hash(sample.prompt),
        "effective": to_record(completion.effective) if completion else None,
        "logprob": completion.logprob if completion else None,
        "greedy": completion.greedy if completion else None,
        "reported": to_record(sample.reported),
    }


_ENCODER = json.JSONEncoder(ensure_ascii=True, sort_keys=True, separators=(",", ":"))


@cache
def _names(cls: Any) -> tuple[str, ...] | None:
    return tuple(field.name for field in fields(cls)) if is_dataclass(cls) else None


# ── JSON values to types ─────────────────────────────────────────────────────────────────────────────────────────────

_Parser = Callable[[Any], Any]


class _Unfit(Exception):
    """A value that is not of the type; `path` leads to it from the record's root."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        self.message, self.path = message, path


@cache
def _parser(hint: Any) -> _Parser:
    if hint is Any:
        return lambda value: value
    if is_dataclass(hint):
        return _dataclass_parser(hint)
    return _PARSERS[get_origin(hint) or type(hint)](hint)


def _dataclass_parser(cls: Any) -> _Parser:
    parsers = {name: _parser(hint) for name, hint in get_type_hints(cls).items()}
    required = {f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING}

    def parse(record: Any) -> Any:
        _expect(isinstance(record, dict), "an object", record)
        if missing := sorted(required - record.keys()):
            raise _Unfit("missing", (missing[0],))
        values = {}
        for name, parser in parsers.items():
            if name in record:
                try:
                    values[name] = parser(record[name])
                except _Unfit as unfit:
                    raise _Unfit(unfit.message, (name, *unfit.path)) from None
        return cls(**values)

    return parse


def _union_parser(hint: Any) -> _Parser:
    options = [_parser(option) for option in get_args(hint)]

    def parse(value: Any) -> Any:
        last = _Unfit("")
        for option in options:
            try:
                return option(value)
            except _Unfit as unfit:
                # The fault deepest within is that of the option that was meant.
                last = max(last, unfit, key=lambda fault: len(fault.path))
        raise last if last.path else _Unfit(f"expected {hint}, found {type(value).__name__}")

    return parse


def _literal_parser(hint: Any) -> _Parser:
    options = get_args(hint)

    def parse(value: Any) -> Any:
        if value not in options:
            raise _Unfit(f"expected one of {', '.join(map(str, options))}, found {value!r}")
        return value

    return parse


def _tuple_parser(hint: Any) -> _Parser:
    args = get_args(hint)
    endless = args[-1] is Ellipsis
    items = [_parser(arg) for arg in args if arg is not Ellipsis]

    def parse(value: Any) -> Any:
        _expect(isinstance(value, list) and (endless or len(value) == len(items)), str(hint), value)
        parsed = []
        for position, (item, parser) in enumerate(zip(value, items * len(value) if endless else items, strict=True)):
            try:
                parsed.append(parser(item))
            except _Unfit as unfit:
                raise _Unfit(unfit.message, (str(position), *unfit.path)) from None
        return tuple(parsed)

    return parse


def _mapping_parser(hint: Any) -> _Parser:
    key, item = (_parser(arg) for arg in get_args(hint))

    def parse(value: Any) -> Any:
        _expect(isinstance(value, dict), "an object", value)
        return {key(k): item(v) for k, v in value.items()}

    return parse


def _enum_parser(cls: Any) -> _Parser:
    by_value = {member.value: member for member in cls}

    def parse(value: Any) -> Any:
        _expect(isinstance(value, str) and value in by_value, f"a {cls.__name__}", value)
        return by_value[value]

    return parse


def _builtin_parser(cls: Any) -> _Parser:
    # JSON's 1 is a float where one is wanted; true is a number nowhere.
    kinds = (int, float) if cls is float else (cls,)

    def parse(value: Any) -> Any:
        _expect(type(value) in kinds, cls.__name__, value)
        return value

    return parse


_PARSERS: dict[Any, Callable[[Any], _Parser]] = {
    Union: _union_parser,
    UnionType: _union_parser,
    Literal: _literal_parser,
    tuple: _tuple_parser,
    Mapping: _mapping_parser,
    type(Enum): _enum_parser,
    type: _builtin_parser,
}


def _expect(fits: bool, expected: str, value: Any) -> None:
    if not fits:
        raise _Unfit(f"expected {expected}, found {'null' if value is None else type(value).__name__}")
