"""Values of the candidate's process as JSON that `sandbox.wire.decode` rebuilds exactly, of builtin types."""

from __future__ import annotations

import math
from typing import Any

MAX_DEPTH = 100


def encode(value: Any, depth: int = 0) -> Any:
    """A value as JSON that `sandbox.wire.decode` rebuilds exactly, of builtin types.

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
