from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

import models
from core.errors import BadData, UnknownName
from core.types import Completion, Request
from models.base import Capabilities, Model, Price
from models.catalog import CATALOG, FIELDS, catalog, checked
from models.catalog import known as catalog_known
from models.ollama import Ollama
from models.openai import VLLM, OpenAI

Given = Mapping[str, Mapping[str, Any]]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-A1b2C3d4E5f6G7h8wxyz")


def made(name: str, given: Given | None = None) -> Model:
    return models.make(name, given)


def listed() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Provider, name and entry of all that the catalogue lists."""
    for provider, stated in catalog().items():
        for name, entry in stated["models"].items():
            yield provider, name, entry


# ── the data ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("provider", "name", "entry"), [pytest.param(*each, id="/".join(each[:2])) for each in listed()]
)
def test_entry_when_read_then_its_fields_are_known_and_its_price_has_a_source_and_a_day(
    provider: str, name: str, entry: dict[str, Any]
) -> None:
    own = {key: value for key, value in entry.items() if key not in ("source", "date")}
    assert checked("catalog.yaml", f"{provider}/{name}", own) == own
    stated = {**catalog()[provider], **entry}
    assert urlsplit(stated["source"]).scheme == "https"
    assert date(2026, 1, 1) <= date.fromisoformat(str(stated["date"]))
    if "price" in entry:
        # No provider has ever sold what is written for less than what is read.
        assert 0 < entry["price"]["input"] <= entry["price"]["output"]
    if "context" in entry and "max_output" in entry:
        assert entry["max_output"] <= entry["context"]


def test_catalog_when_read_then_holds_what_its_form_has_and_no_model_twice() -> None:
    class Strict(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value if key.value != "<<"]
            assert len(keys) == len(set(keys)), f"twice: {keys}"
            return super().construct_mapping(node, deep)  # type: ignore[no-untyped-call, no-any-return]

    assert yaml.load(CATALOG.read_text(encoding="utf-8"), Strict) == catalog()
    for provider, stated in catalog().items():
        assert provider in models.registry.names()
        assert set(stated) == {"source", "date", "kinds", "models"}


def test_catalog_when_read_then_reasoning_models_take_neither_stops_nor_a_temperature() -> None:
    thinking = [entry for _, _, entry in listed() if entry.get("reasoning")]
    assert thinking and not any(entry["temperature"] or entry["top_p"] for entry in thinking)


# ── by name ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_make_when_the_model_is_listed_then_it_has_what_is_known_of_it() -> None:
    model = made("openai/gpt-4.1")
    stated = catalog()["openai"]
    assert model.capabilities == Capabilities(styles=("instruct",), context=1_047_576, max_output=32_768)
    assert model.price == Price(2.0, 8.0, stated["source"], str(stated["date"]))


def test_make_when_the_entry_states_where_its_price_stands_then_the_price_says_so() -> None:
    price = made("openai/gpt-6.2-sol").price
    entry = catalog()["openai"]["models"]["gpt-6.2-sol"]
    assert price == Price(2.0, 10.0, entry["source"], str(entry["date"]))
    assert entry["source"] != catalog()["openai"]["source"]


def test_make_when_the_model_reasons_then_it_is_sent_no_sampling_and_no_stops() -> None:
    capabilities = made("openai/gpt-5-mini").capabilities
    assert (capabilities.reasoning, capabilities.temperature, capabilities.top_p) == (True, False, False)
    assert (capabilities.max_stops, capabilities.seed) == (0, True)


@pytest.mark.parametrize("name", ["gpt-3.5-turbo-instruct", "davinci-002", "babbage-002"])
def test_make_when_the_model_continues_texts_then_that_is_its_only_style(name: str) -> None:
    assert made(f"openai/{name}").capabilities.styles == ("completion",)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpt-4.1-2025-04-14", "gpt-4.1"),
        ("gpt-5-mini-2025-08-07", "gpt-5-mini"),
        ("gpt-4o-20240806", "gpt-4o"),
        ("gpt-4o-latest", "gpt-4o"),
    ],
)
def test_make_when_the_name_is_a_snapshot_then_it_means_the_listed_model(name: str, meant: str) -> None:
    assert known(f"openai/{name}") == known(f"openai/{meant}") != known("openai/unheard-of")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-opus-4-20250514", "claude-opus-4-0"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
    ],
)
def test_known_when_the_name_is_a_snapshot_of_claude_then_it_means_the_listed_model(name: str, meant: str) -> None:
    assert catalog_known(Claude(name), {}) == catalog_known(Claude(meant), {}) != (Claude.capabilities, None)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("claude-3-opus", {"temperature", "top_p", "prefill"}),
        ("claude-sonnet-4-5", {"temperature", "prefill"}),
        ("claude-sonnet-4-6", {"temperature"}),
        ("claude-opus-4-8", set()),
        ("claude-opus-5-5", set()),
    ],
)
def test_known_when_the_model_is_a_claude_then_says_what_its_generation_takes(name: str, taken: set[str]) -> None:
    capabilities, _ = catalog_known(Claude(name), {})
    assert {field for field in ("temperature", "top_p", "prefill") if getattr(capabilities, field)} == taken


class Claude(Model):
    provider = "anthropic"
    capabilities = Capabilities(styles=("instruct",))

    def parameters(self, request: Request) -> dict[str, Any]:
        raise NotImplementedError

    async def generate(self, request: Request) -> Completion:
        raise NotImplementedError


def test_make_when_a_snapshot_is_listed_itself_then_it_means_itself() -> None:
    assert made("openai/gpt-4o-2024-05-13").capabilities.max_output == 4096
    assert known("openai/gpt-4o-2024-05-13") != known("openai/gpt-4o")


@pytest.mark.parametrize(
    "name", ["unheard-of", "gpt-4.1-2025", "gpt-4.1-2025-04-14-tuned", "my-gpt-4.1", "GPT-4.1", "ft:gpt-4.1:me::id"]
)
def test_make_when_the_model_is_not_listed_then_it_is_its_providers_default_and_its_price_is_unknown(name: str) -> None:
    assert known(f"openai/{name}") == (OpenAI.capabilities, None)


@pytest.mark.parametrize(("name", "default"), [("ollama/gpt-4.1", Ollama), ("vllm/gpt-4.1", VLLM)])
def test_make_when_another_provider_has_a_model_of_the_name_then_nothing_is_known_of_it(
    name: str, default: type[Model]
) -> None:
    assert known(name) == (default.capabilities, None)


def test_make_when_the_model_is_asked_elsewhere_then_what_it_costs_there_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    capabilities, price = known("openai/gpt-4.1")
    assert price is None
    assert capabilities.context == 1_047_576


def test_make_when_one_model_has_been_made_then_the_next_is_still_its_providers_default() -> None:
    made("openai/o3")
    assert OpenAI.capabilities.reasoning is False
    assert made("openai/unheard-of").capabilities is OpenAI.capabilities


def known(name: str, given: Given | None = None) -> tuple[Capabilities, Price | None]:
    model = made(name, given)
    return model.capabilities, model.price


# ── what the user says ───────────────────────────────────────────────────────────────────────────────────────────────


def test_make_when_the_user_says_something_of_a_model_then_that_comes_before_the_catalogue() -> None:
    given = {
        "openai/gpt-4.1": {"styles": ["completion", "instruct"], "max_output": 10, "price": {"input": 1, "output": 2}}
    }
    capabilities, price = known("openai/gpt-4.1", given)
    assert (capabilities.styles, capabilities.max_output) == (("completion", "instruct"), 10)
    assert capabilities.context == 1_047_576
    assert price == Price(1.0, 2.0, "the user's configuration", "")
    assert known("openai/gpt-4o", given) == known("openai/gpt-4o")


def test_make_when_the_user_says_something_of_a_provider_then_it_holds_for_all_its_models() -> None:
    given = {"openai": {"max_stops": 16, "price": {"input": 0, "output": 0}}}
    for name in ("gpt-4.1", "o3", "unheard-of"):
        capabilities, price = known(f"openai/{name}", given)
        assert capabilities.max_stops == 16
        assert price is not None and (price.input, price.output) == (0, 0)
    assert known("vllm/m", given) == (VLLM.capabilities, None)


def test_make_when_the_user_names_both_then_the_name_comes_before_the_provider() -> None:
    given = {"vllm": {"max_stops": 16, "seed": False}, "vllm/m": {"max_stops": 2}}
    capabilities, _ = known("vllm/m", given)
    assert (capabilities.max_stops, capabilities.seed) == (2, False)


def test_make_when_the_user_names_the_model_alone_then_a_snapshot_of_it_is_not_meant() -> None:
    assert known("openai/gpt-4.1-2025-04-14", {"openai/gpt-4.1": {"max_stops": 1}}) == known("openai/gpt-4.1")


def test_make_when_the_user_states_a_price_then_it_holds_elsewhere_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://gateway.example/v1")
    _, price = known("openai/gpt-4.1", {"openai/gpt-4.1": {"price": {"input": 0.5, "output": 1.5}}})
    assert price is not None and (price.input, price.output) == (0.5, 1.5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"max_stop": 4}, "unknown field of 'openai/m' in config.yaml 'max_stop'; did you mean 'max_stops'"),
        ({"Temperature": True}, "did you mean 'temperature'"),
        ({7: True}, "unknown field of 'openai/m' in config.yaml '7'"),
        ({"source": "https://h"}, "unknown field of 'openai/m' in config.yaml 'source'"),
    ],
)
def test_checked_when_there_is_no_such_field_then_names_the_closest(entry: dict[Any, Any], said: str) -> None:
    with pytest.raises(UnknownName, match=re.escape(said)):
        checked("config.yaml", "openai/m", entry)


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (["max_stops"], "openai/m"),
        (None, "openai/m"),
        ({"max_stops": "16"}, "openai/m.max_stops"),
        ({"max_stops": True}, "openai/m.max_stops"),
        ({"max_stops": -1}, "openai/m.max_stops"),
        ({"context": 1.5}, "openai/m.context"),
        ({"temperature": 0}, "openai/m.temperature"),
        ({"seed": "no"}, "openai/m.seed"),
        ({"styles": []}, "openai/m.styles"),
        ({"styles": "instruct"}, "openai/m.styles"),
        ({"styles": ["chat"]}, "openai/m.styles"),
        ({"price": 1}, "openai/m.price"),
        ({"price": {"input": 1}}, "openai/m.price"),
        ({"price": {"input": 1, "output": -1}}, "openai/m.price"),
        ({"price": {"input": 1, "output": float("nan")}}, "openai/m.price"),
        ({"price": {"input": 1, "output": True}}, "openai/m.price"),
        ({"price": {"input": 1, "output": 10**400}}, "openai/m.price"),
        ({"price": {"input": 1, "output": 2, "cached": 0.1}}, "openai/m.price"),
    ],
)
def test_checked_when_a_value_is_none_of_the_fields_then_names_the_field(entry: Any, field: str) -> None:
    with pytest.raises(BadData, match=re.escape(f"config.yaml: {field}: should be ")) as caught:
        checked("config.yaml", "openai/m", entry)
    assert caught.value.field == field


def test_checked_when_the_entry_is_right_then_gives_it_as_it_stands() -> None:
    entry = {"temperature": False, "styles": ["completion"], "max_stops": 0, "price": {"input": 0, "output": 1.5}}
    assert checked("config.yaml", "openai/m", entry) == entry


def test_guide_when_read_then_its_example_is_right_and_it_names_every_field() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "providers.md").read_text(encoding="utf-8")
    example = yaml.safe_load(guide.split("```yaml\n")[1].split("```")[0])["catalog"]
    assert example and all(checked("config.yaml", name, entry) == entry for name, entry in example.items())
    fields = guide.split("| field | meaning |")[1].split("\n\n")[0]
    assert {name for name in (*FIELDS, "price") if f"`{name}`" not in fields} == set()
