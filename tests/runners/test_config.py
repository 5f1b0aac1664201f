"""A run as a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import BadData, UnknownName, UsageError
from models.pace import Allowance
from runners.config import NUMBERS, SECTIONS, load
from runners.settings import Options, allowance
from runners.unified import run

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_load_when_values_are_given_then_they_stand_for_their_options(config):
    path = config("models: {names: [a/b]}\nsampling: {n_samples: 3, top_p: 0.9}\nsuites: {datasets: {easy: d}}\n")
    assert load(path) == {"models": ["a/b"], "n_samples": "3", "top_p": "0.9", "datasets": [("easy", "d")]}


def test_run_when_a_configuration_is_given_then_each_option_reads_its_value_as_a_word_of_the_command_line(config):
    text = """
        models: {names: control/reference}
        suites: {tasks: [humaneval], datasets: {humaneval: d.jsonl}, limit: 5}
        sampling: {n_samples: 10, temperature: 1e-1, stop: END, seed: 0x10}
        execution: {memory: 512m, timeout: 2}
        scoring: {k: [10, 1]}
        output: {json: true}
    """
    taken = run.make_context("run", ["--config", config(text), "--limit", "3"]).params
    assert {name: value for name, value in taken.items() if value not in (None, ())} == {
        "models": ("control/reference",),
        "tasks": ("humaneval",),
        "datasets": (("humaneval", "d.jsonl"),),
        "limit": 3,
        "n_samples": 10,
        "temperature": 0.1,
        "stop": ("END",),
        "seed": 16,
        "memory_bytes": 512 << 20,
        "timeout_s": 2.0,
        "k": (1, 10),
        "as_json": True,
        "estimate": False,
    }


def test_load_when_the_example_is_read_then_it_is_taken():
    assert load(str(ROOT / "config.yaml"))["models"] == ["control/reference"]


def test_load_when_a_variable_is_set_then_it_is_expanded(config, monkeypatch):
    monkeypatch.setenv("WHICH", "qwen")
    assert load(config("models: {names: ['ollama/${WHICH}']}")) == {"models": ["ollama/qwen"]}


def test_load_when_a_variable_is_not_set_then_it_is_named(config, monkeypatch):
    monkeypatch.delenv("WHICH", raising=False)
    with pytest.raises(UsageError, match=r"\$\{WHICH\}, which is not set"):
        load(config("output: {db: '${WHICH}'}"))


def test_load_when_a_variable_stands_in_what_is_said_of_a_model_then_it_is_what_it_would_be_written_out(
    config, monkeypatch
):
    for name, value in {"N": "3", "PRICE": "0.5", "NOT": "false", "NAME": "mine"}.items():
        monkeypatch.setenv(name, value)
    text = """
        limits: {"openai/${NAME}": {tries: "${N}", requests_per_minute: '1${N}0'}}
        catalog:
          openai/mine: {temperature: "${NOT}", styles: ["${STYLE}"], price: {input: "${PRICE}", output: 2}}
    """
    monkeypatch.setenv("STYLE", "instruct")
    assert load(config(text)) == {
        "limits": {"openai/mine": Allowance(130, tries=3)},
        "catalog": {
            "openai/mine": {"temperature": False, "styles": ["instruct"], "price": {"input": 0.5, "output": 2}}
        },
    }


def test_load_when_a_variable_stands_in_an_options_value_then_it_is_text_and_replaced_once(config, monkeypatch):
    monkeypatch.setenv("STOP", "010")
    monkeypatch.setenv("OTHER", "${STOP}")
    text = "sampling: {stop: ['${STOP}', '${OTHER}']}\nsuites: {datasets: {'${STOP}': 'd/${STOP}'}}"
    assert load(config(text)) == {"stop": ["010", "${STOP}"], "datasets": [("010", "d/010")]}


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("sampling: {n_samples: 5}\nsampling: {temperature: 0.7}", 2, "sampling"),
        ("limits:\n  openai: {}\n  ollama: {}\n  openai: {}", 4, "openai"),
        ("catalog:\n  openai:\n    price: {input: 1,\n      input: 2}", 4, "input"),
        ("suites:\n  datasets: {a: b, 'a': c}", 2, "a"),
    ],
)
def test_load_when_a_key_is_given_twice_then_its_line_and_name_are_said(config, text, line, key):
    with pytest.raises(BadData, match=f":{line}: the key '{key}' is given twice"):
        load(config(text))


def test_load_when_a_mapping_is_merged_into_another_then_its_own_keys_come_first(config):
    text = "limits:\n  openai: &usual {tries: 3, concurrency: 2}\n  ollama: {<<: *usual, tries: 5}\n"
    assert load(config(text))["limits"]["ollama"] == Allowance(concurrency=2, tries=5)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sampling: {temprature: 1}", "did you mean 'temperature'"),
        ("samplin: {}", "did you mean 'sampling'"),
    ],
)
def test_load_when_a_name_is_unknown_then_the_closest_is_said(config, text, says):
    with pytest.raises(UnknownName, match=says):
        load(config(text))


def test_load_when_limits_and_a_catalog_are_given_then_they_are_values_by_provider_or_name(config):
    text = """
        limits:
          openai: {requests_per_minute: 500, tries: 3}
          ollama/qwen: {concurrency: 2}
        catalog:
          vllm: {max_stops: 16}
          openai/mine: {temperature: false, price: {input: 0.5, output: 2}}
    """
    assert load(config(text)) == {
        "limits": {"openai": Allowance(500, tries=3), "ollama/qwen": Allowance(concurrency=2)},
        "catalog": {
            "vllm": {"max_stops": 16},
            "openai/mine": {"temperature": False, "price": {"input": 0.5, "output": 2}},
        },
    }


def test_allowance_when_limits_are_given_then_the_names_come_before_the_providers_and_the_option_before_both():
    limits = {"openai": Allowance(500), "openai/m": Allowance(60, concurrency=4)}
    options = Options(limits=limits)
    assert allowance(options, "openai/m") == limits["openai/m"]
    assert allowance(options, "openai/n") == limits["openai"]
    assert allowance(options, "ollama/m") == Allowance()
    assert allowance(replace(options, concurrency=9), "openai/m") == Allowance(60, concurrency=9)


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("limits: {openia: {}}", UnknownName, "did you mean 'openai'"),
        ("limits: {openai: {request_per_minute: 5}}", UnknownName, "did you mean 'requests_per_minute'"),
        ("limits: {openai: {requests_per_minute: many}}", BadData, "openai.requests_per_minute: should be a number"),
        ("limits: {openai: {concurrency: 1.5}}", BadData, "openai.concurrency: should be a whole number above 0"),
        (f"limits: {{openai: {{requests_per_minute: 1{'0' * 400}}}}}", BadData, "should be a number above 0"),
        ("limits: {openai: {tries: 0}}", BadData, "openai.tries: should be a whole number above 0"),
        ("limits: {openai: 5}", BadData, "openai: should be a mapping"),
        ("catalog: {openai/m: {max_stop: 1}}", UnknownName, "did you mean 'max_stops'"),
        ("catalog: {openai/m: {seed: 1}}", BadData, "openai/m.seed: should be true or false"),
        ("catalog: {openai/m: {price: 5}}", BadData, "openai/m.price: should be {input"),
        ("catalog: [a]", BadData, "catalog: should be a mapping"),
    ],
)
def test_load_when_what_is_said_of_a_model_cannot_be_taken_then_its_place_is_said(config, text, kind, says):
    with pytest.raises(kind, match=says):
        load(config(text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", ":1: is not YAML"),
        ("- a", "mapping"),
        ("models: 3", "models"),
        ("sampling: {seed: 2026-02-31}", "is not YAML"),
        ("sampling: {? [a] : 1}", "is not YAML"),
        ("a: &a [*a]", "unknown section"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_load_when_the_file_is_broken_then_the_place_is_said(config, text, says):
    with pytest.raises(UsageError, match=says):
        load(config(text))


def test_sections_when_compared_with_the_command_then_every_parameter_is_there():
    taken = {parameter for section in SECTIONS.values() for parameter in section.values()}
    assert taken - NUMBERS.keys() == {parameter.name for parameter in run.params} - {"config", "resume", "estimate"}
