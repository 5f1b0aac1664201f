from __future__ import annotations

import enum
import json
import math
import sys
from collections import Counter, OrderedDict, UserDict, defaultdict, namedtuple
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.types import Opaque
from sandbox.agent.values import MALFORMED, MAX_DEPTH, encode
from sandbox.wire import decode

TEXT = st.text(st.characters(exclude_categories=())).filter(lambda text: json.loads(json.dumps(text)) == text)
"""With lone surrogates; JSON has no way to write a high one before a low one."""
KEYS = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-(1 << 4000), 1 << 4000),
        st.floats(allow_nan=False),
        st.complex_numbers(allow_nan=False),
        TEXT,
        st.binary(),
    ),
    lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner, max_size=3)),
    max_leaves=5,
)
VALUES = st.recursive(
    st.one_of(KEYS, st.floats(), st.complex_numbers(), st.binary().map(bytearray)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=4),
        st.sets(KEYS, max_size=4),
    ),
    max_leaves=30,
)


def crossed(value: Any) -> Any:
    """A value as the host gets it."""
    return decode(json.loads(json.dumps(encode(value))))


def exactly(value: Any) -> Any:
    """A value in a form that is equal only where type, sign, order and every bit of it are."""
    name = type(value).__name__
    if isinstance(value, float):
        return name, "nan" if math.isnan(value) else value.hex()
    if isinstance(value, complex):
        return name, exactly(value.real), exactly(value.imag)
    if isinstance(value, list | tuple):
        return name, tuple(exactly(item) for item in value)
    if isinstance(value, set | frozenset):
        return name, frozenset(exactly(item) for item in value)
    if isinstance(value, dict):
        return name, tuple((exactly(key), exactly(item)) for key, item in value.items())
    return name, bytes(value) if isinstance(value, bytearray) else value


@given(VALUES)
@settings(deadline=None)
def test_value_when_sent_to_the_host_then_is_the_same_to_the_last_bit(value: Any) -> None:
    assert exactly(crossed(value)) == exactly(value)


class Whole(int):
    def __int__(self) -> int:
        return 7

    def __format__(self, spec: str) -> str:
        return "7"

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __eq__ = __lt__
    __hash__ = int.__hash__


class Real(float):
    def __float__(self) -> float:
        return 7.0

    def __repr__(self) -> str:
        return "7.0"


class Words(str):
    def __str__(self) -> str:
        return "lies"

    def __len__(self) -> int:
        return 0


class Row(list[Any]):
    def __iter__(self) -> Any:
        return iter([7])

    def __len__(self) -> int:
        return 0


class Table(dict[Any, Any]):
    def items(self) -> Any:
        return [(7, 7)]

    def __iter__(self) -> Any:
        return iter([7])


class Colour(enum.IntEnum):
    RED = 3


class Level(enum.StrEnum):
    LOW = "low"


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Whole(3), 3),
        (Whole(1 << 80), 1 << 80),
        (Real(2.5), 2.5),
        (Words("truth"), "truth"),
        (Row([1, 2]), [1, 2]),
        (Table(a=1), {"a": 1}),
        (Colour.RED, 3),
        (Level.LOW, "low"),
        (Point(1, Colour.RED), (1, 3)),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (type("Set", (set,), {"__iter__": lambda self: iter([7])})({1}), {1}),
        (type("Frozen", (frozenset,), {})({1}), frozenset({1})),
        (type("Bytes", (bytes,), {"hex": lambda self: "07"})(b"\x01"), b"\x01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_value_of_a_subclass_then_is_its_base_and_none_of_its_methods_are_called(value: Any, plain: Any) -> None:
    assert exactly(crossed(value)) == exactly(plain)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "object"),
        (Decimal("1.5"), "Decimal"),
        (len, "builtin_function_or_method"),
        ((x for x in ()), "generator"),
        (UserDict(), "UserDict"),
        (int, "type"),
        (range(3), "range"),
    ],
    ids=str,
)
def test_value_that_is_no_plain_data_then_is_the_name_of_its_type(value: Any, kind: str) -> None:
    assert crossed(value) == Opaque(kind)
    assert crossed([value, {1: value}]) == [Opaque(kind), {1: Opaque(kind)}]


@pytest.mark.parametrize(("depth", "bottom"), [(MAX_DEPTH + 1, []), (MAX_DEPTH + 2, Opaque("nested too deeply"))])
def test_value_nested_deeper_than_the_limit_then_is_cut_there(depth: int, bottom: Any) -> None:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    inner = crossed(value)
    for _ in range(MAX_DEPTH):
        (inner,) = inner
    assert inner == (bottom if depth == MAX_DEPTH + 1 else [bottom])


def test_value_that_holds_itself_then_ends_at_the_depth_limit() -> None:
    value: list[Any] = []
    value.append(value)
    depth, inner = 0, crossed(value)
    while isinstance(inner, list):
        depth, inner = depth + 1, inner[0]
    assert inner == Opaque("nested too deeply")
    assert depth == MAX_DEPTH + 1


def test_keys_made_to_collide_then_are_refused_before_they_cost_anything() -> None:
    colliding = [{"i": f"{number * sys.hash_info.modulus:x}"} for number in range(1, 200)]
    with pytest.raises(ValueError, match="collide"):
        decode({"s": colliding})
    with pytest.raises(ValueError, match="collide"):
        decode({"d": [[key, None] for key in colliding]})


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"x": 1},
        {"t": [], "s": []},
        {"i": "zz"},
        {"i": 5},
        {"f": "1.5"},
        {"f": []},
        {"b": "0g"},
        {"a": 7},
        {"c": [1]},
        {"c": [1, "x"]},
        {"c": [{"i": "f" * 400}, 1]},
        {"d": [[1]]},
        {"d": [1]},
        {"d": {"i": "1"}},
        {"d": [[{"d": []}, 1]]},
        {"s": [[1]]},
        {"z": [{"s": []}]},
        {"t": 5},
        {"t": None},
    ],
    ids=str,
)
def test_decode_when_the_agent_cannot_have_written_it_then_refuses(reply: Any) -> None:
    with pytest.raises(MALFORMED):
        decode(reply)
