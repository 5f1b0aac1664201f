"""Values of builtin types as JSON, and back: what crosses between a candidate and those that judge it.

What is decoded may be hostile: it is rebuilt of builtin types, or refused by one of `MALFORMED`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

MAX_DEPTH = 100
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)
"""What `decode` raises where a value is not of `encode`'s making."""


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON that `decode` rebuilds exactly, of builtin types.

    Subclasses are sent as their builtin base, through that base's own methods: none of the candidate's are called.
    What is not plain data is sent as the name of its type.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if depth > MAX_DEPTH:
        return {"o": "nested too deeply"}
    for base, encoder in _ENCODERS:
        if issubclass(kind, base):
            return encoder(value, depth + 1)
    return {"o": kind.__name__}


def _float(value: float, _: int) -> Any:
    value = float.__float__(value)
    return value if math.isfinite(value) else {"f": float.__repr__(value)}


def _dict(value: dict[Any, Any], depth: int) -> Any:
    return {"d": [[encode(k, depth), encode(v, depth)] for k, v in dict.items(value)]}


_ENCODERS: tuple[tuple[type, Any], ...] = (
    (int, lambda v, _: int.__int__(v) if -(1 << 53) < int.__int__(v) < 1 << 53 else {"i": int.__format__(v, "x")}),
    (float, _float),
    (str, lambda v, _: str.__str__(v)),
    (list, lambda v, d: [encode(x, d) for x in list.__iter__(v)]),
    (tuple, lambda v, d: {"t": [encode(x, d) for x in tuple.__iter__(v)]}),
    (dict, _dict),
    (frozenset, lambda v, d: {"z": [encode(x, d) for x in frozenset.__iter__(v)]}),
    (set, lambda v, d: {"s": [encode(x, d) for x in set.__iter__(v)]}),
    (bytes, lambda v, _: {"b": bytes.hex(v)}),
    (bytearray, lambda v, _: {"a": bytearray.hex(v)}),
    (complex, lambda v, d: {"c": [_float(v.real, d), _float(v.imag, d)]}),
)


def decode(value: Any, opaque: Callable[[str], Any]) -> Any:
    """What `encode` made of a value, rebuilt. opaque: makes what stands for one that is not plain data, of its kind.

    Raises one of `MALFORMED`.
    """
    if isinstance(value, list):
        return [decode(item, opaque) for item in value]
    if isinstance(value, dict):
        ((tag, content),) = value.items()
        return _DECODERS[tag](content, opaque)
    return value


def _distinct(keys: Iterable[Any], opaque: Callable[[str], Any]) -> list[Any]:
    """Decoded keys for a hash table, refused where more hash alike than chance allows: that would take for ever."""
    decoded = [decode(key, opaque) for key in keys]
    counts: dict[int, int] = {}
    for key in decoded:
        number = hash(key)
        counts[number] = counts.get(number, 0) + 1
        if counts[number] > 100:
            raise ValueError("keys made to collide")
    return decoded


def _pairs(pairs: list[list[Any]], opaque: Callable[[str], Any]) -> dict[Any, Any]:
    keys = _distinct((key for key, _ in pairs), opaque)
    return dict(zip(keys, (decode(value, opaque) for _, value in pairs), strict=True))


_DECODERS: dict[str, Callable[[Any, Callable[[str], Any]], Any]] = {
    "i": lambda text, _: int(text, 16),
    "f": lambda text, _: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
    "t": lambda items, opaque: tuple(decode(item, opaque) for item in items),
    "d": _pairs,
    "s": lambda items, opaque: set(_distinct(items, opaque)),
    "z": lambda items, opaque: frozenset(_distinct(items, opaque)),
    "b": lambda text, _: bytes.fromhex(text),
    "a": lambda text, _: bytearray.fromhex(text),
    "c": lambda parts, opaque: complex(decode(parts[0], opaque), decode(parts[1], opaque)),
    "o": lambda name, opaque: opaque(str(name)),
}
