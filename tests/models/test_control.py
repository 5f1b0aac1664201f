from __future__ import annotations

import sys

import pytest

from core.errors import UnknownName, UsageError
from models import registry
from models.control import Control
from tests.models.asking import request


async def test_reference_when_asked_then_answers_with_the_reference_solution() -> None:
    completion = await Control("reference").generate(request())
    assert (completion.text, completion.finish_reason) == ("right", "stop")
    assert (completion.input_tokens, completion.output_tokens) == (None, None)
    assert completion.total_s is not None and completion.total_s >= 0


async def test_broken_when_asked_again_and_again_then_takes_the_wrong_solutions_by_turns() -> None:
    model = Control("broken")
    assert [(await model.generate(request(index=i))).text for i in range(3)] == ["wrong 0", "wrong 1", "wrong 0"]


def test_control_when_the_name_is_another_then_names_those_that_there_are() -> None:
    with pytest.raises(UnknownName, match="unknown control model 'referense'; did you mean 'reference'"):
        Control("referense")


@pytest.mark.parametrize(
    "provider", [pytest.param(name, marks=[pytest.mark.slow] * (name == "hf")) for name in registry.names()]
)
def test_registry_when_asked_for_a_provider_then_it_bears_that_name(provider: str) -> None:
    assert registry.get(provider).provider == provider


def test_registry_when_a_providers_packages_are_missing_then_says_what_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "models.huggingface", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"'hf' needs the package 'torch': pip install 'touchstone\[hf\]'"):
        registry.get("hf")
