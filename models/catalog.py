"""What is known of models by their names: how they differ from their provider's default, and what they cost.

The catalogue is data, `catalog.yaml`:

    openai:                                # a provider
      source: https://…                    # where its prices stand, and on which day
      date: 2026-01-31
      models:
        gpt-4.1: {price: {input: 2.00, output: 8.00}, context: 1047576, max_output: 32768}
        o3: {reasoning: true, temperature: false, max_stops: 0, price: {input: 2.00, output: 8.00}}

The fields are those of `Capabilities`; a price is in US dollars for a million tokens. An entry may state a source and a
date of its own. A provider's `kinds` only name what many of its entries have in common. A model that is not listed is
its provider's default, and its price is unknown. A name with a snapshot's date (`-2025-04-14`, `-20250414`) or
`-latest` means the model without it where it is not listed itself.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from core.errors import BadData, UnknownName
from core.types import PromptStyle
from models.base import Capabilities, Model, Price

CATALOG = Path(__file__).with_name("catalog.yaml")

FIELDS = tuple(field.name for field in fields(Capabilities))


def known(model: Model, given: Mapping[str, Mapping[str, Any]]) -> tuple[Capabilities, Price | None]:
    """What a model can do, and its list price; None: unknown.

    given: PROVIDER or PROVIDER/NAME → fields, as the catalogue has them, that come before it; the name's before the
    provider's. List prices hold where the provider itself is asked; the user's hold anywhere.
    """
    capabilities, price = model.capabilities, None
    listed = catalog().get(model.provider, {})
    entry = _entry(listed.get("models", {}), model.name)
    if entry is not None:
        capabilities = _replaced(capabilities, entry)
        if model.official and "price" in entry:
            stated = {**listed, **entry}
            price = _price(entry["price"], str(stated["source"]), str(stated["date"]))
    for name in (model.provider, f"{model.provider}/{model.name}"):
        if name in given:
            capabilities = _replaced(capabilities, given[name])
            if "price" in given[name]:
                price = _price(given[name]["price"], "the user's configuration", "")
    return capabilities, price


@cache
def catalog() -> Mapping[str, Any]:
    """The catalogue: provider → source, date and models."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    read: Mapping[str, Any] = yaml.load(CATALOG.read_text(encoding="utf-8"), loader)
    return read


def checked(where: str, name: str, entry: Any) -> dict[str, Any]:
    """What a user's file says of the model `name`, where it can be taken as it stands.

    Raises UnknownName for a field that there is not, BadData for a value that is none of its.
    """
    if not isinstance(entry, dict):
        raise BadData(where, "should be a mapping, such as {max_stops: 16}", field=name)
    for key, value in entry.items():
        if key == "price":
            if not isinstance(value, dict) or {*value} != {"input", "output"} or not all(map(_amount, value.values())):
                what = "should be {input: 0.5, output: 1.5}, in dollars for a million tokens"
                raise BadData(where, what, field=f"{name}.price")
        elif key not in FIELDS:
            raise UnknownName(f"field of '{name}' in {where}", str(key), (*FIELDS, "price"))
        elif not _fits(key, value):
            raise BadData(where, f"should be {_WORDS.get(key, 'true or false')}", field=f"{name}.{key}")
    return dict(entry)


_WORDS = {
    "styles": f"a list of {' and '.join(get_args(PromptStyle))}",
    "max_stops": "a whole number",
    "context": "a whole number of tokens",
    "max_output": "a whole number of tokens",
}


def _fits(key: str, value: Any) -> bool:
    if key == "styles":
        return isinstance(value, list) and bool(value) and set(map(str, value)) <= set(get_args(PromptStyle))
    if key in _WORDS:
        return type(value) is int and value >= 0
    return type(value) is bool


def _amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _entry(models: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    if name in models:
        return _mapping(models[name])
    stem = re.sub(r"-(\d{4}-\d\d-\d\d|\d{8}|latest)$", "", name)
    return _mapping(models[stem]) if stem in models else None


def _mapping(entry: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return entry or {}


def _replaced(capabilities: Capabilities, entry: Mapping[str, Any]) -> Capabilities:
    values = {name: value for name, value in entry.items() if name in FIELDS}
    if "styles" in values:
        values["styles"] = tuple(values["styles"])
    return replace(capabilities, **values)


def _price(price: Mapping[str, Any], source: str, date: str) -> Price:
    return Price(float(price["input"]), float(price["output"]), source, date)
