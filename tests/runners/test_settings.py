"""From options to what is to be run: names, defaults, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from core.errors import BadData, UnknownName, UsageError
from core.types import SuiteRef
from runners.settings import Options, database, differences, resolve, specs

TIERS = [SuiteRef("native", tier) for tier in ("easy", "medium", "hard", "extreme")]


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_text(json.dumps({"task_id": "HumanEval/0", "completion": "    pass"}) + "\n")
    return str(path)


def options(**given):
    return Options(**{"models": ("control/reference",), **given})


@pytest.mark.parametrize(
    ("harnesses", "tasks", "expected"),
    [
        ((), (), TIERS),
        (("native",), (), TIERS),
        ((), ("tiers",), TIERS),
        ((), ("humaneval", "humaneval"), [SuiteRef("native", "humaneval")]),
        ((), ("h*",), [SuiteRef("native", "hard"), SuiteRef("native", "humaneval")]),
        ((), ("file:x.jsonl",), [SuiteRef("native", "file:x.jsonl")]),
        ((), ("hard", "tiers"), [TIERS[2], TIERS[0], TIERS[1], TIERS[3]]),
    ],
)
def test_resolve_when_names_are_given_then_each_suite_comes_once_in_order(harnesses, tasks, expected):
    assert resolve(harnesses, tasks) == expected


def test_resolve_when_a_name_is_unknown_then_the_closest_is_said():
    with pytest.raises(UnknownName, match="did you mean 'humaneval'"):
        resolve((), ("humanevil",))
    with pytest.raises(UnknownName, match="did you mean 'native'"):
        resolve(("nativ",), ())


def test_specs_when_there_are_several_models_then_one_each_in_their_order():
    made = specs(options(models=("control/reference", "control/broken"), n_samples=3, limit=2))
    assert [(spec.model, spec.n_samples, spec.limit) for spec in made] == [
        ("control/reference", 3, 2),
        ("control/broken", 3, 2),
    ]


def test_specs_when_no_temperature_is_given_then_it_is_zero():
    (spec,) = specs(options())
    assert spec.params.temperature == 0.0


def test_specs_when_answers_are_given_then_their_hash_is_kept_and_no_temperature_claimed(answers):
    (spec,) = specs(options(models=(), tasks=("humaneval",), generations=answers))
    assert spec.model == "recorded/answers"
    assert len(spec.generations_sha256) == 64
    assert spec.params.temperature is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models": ()}, "no model is named: add --model"),
        ({"models": ("gpt-4",)}, "'gpt-4' is not PROVIDER/NAME; providers are: anthropic, control"),
        ({"models": ("opnai/gpt-4",)}, "unknown provider 'opnai'; did you mean 'openai'"),
        ({"models": ("control/broken",) * 2}, "names one model twice"),
        ({"tasks": ("hard",), "datasets": (("hrad", "d"),)}, "unknown suite of this run 'hrad'; did you mean 'hard'"),
        ({"k": (1, 10), "n_samples": 5}, "pass@10 needs 10 samples of each problem: add --n-samples 10"),
    ],
)
def test_specs_when_options_do_not_fit_then_the_mend_is_said(given, says):
    with pytest.raises(UsageError, match=says):
        specs(options(**given))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models": ("a/b", "a/c")}, "name one --model"),
        ({"n_samples": 2}, "leave --n-samples out"),
        ({"tasks": ("tiers",)}, "name one --task"),
    ],
)
def test_specs_when_options_do_not_go_with_given_answers_then_the_mend_is_said(given, says, answers):
    with pytest.raises(UsageError, match=says):
        specs(options(**{"models": (), "tasks": ("humaneval",), "generations": answers, **given}))


def test_specs_when_the_answers_are_missing_then_the_file_is_named():
    with pytest.raises(BadData, match=r"nowhere\.jsonl"):
        specs(options(models=(), tasks=("humaneval",), generations="nowhere.jsonl"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"models": ("control/broken",)}, ["--model is control/broken here, control/reference in the run"]),
        ({"tasks": ("hard",)}, ["--task is native/hard here, native/humaneval in the run"]),
        ({"n_samples": 4}, ["--n-samples is 4 here, 2 in the run"]),
        ({"temperature": 0.8}, ["--temperature is 0.8 here, 0.0 in the run"]),
        ({"timeout_s": 5.0}, ["--timeout is 5.0 here, not set in the run"]),
        ({"stop": ("END",)}, ["--stop is END here, not set in the run"]),
        ({"n_samples": 2, "tasks": ("humaneval",), "models": ("control/reference",)}, []),
        ({}, []),
    ],
)
def test_differences_when_options_are_given_again_then_each_that_differs_is_named(given, says):
    (stored,) = specs(options(tasks=("humaneval",), n_samples=2))
    assert differences(Options(**given), stored) == says


def test_differences_when_the_answers_moved_but_are_the_same_then_there_are_none(answers, tmp_path):
    (stored,) = specs(Options(tasks=("humaneval",), generations=answers))
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes((tmp_path / "answers.jsonl").read_bytes())
    assert differences(Options(generations=str(moved)), stored) == []
    assert differences(Options(generations=str(moved)), replace(stored, generations_sha256="0")) != []


def test_database_when_nothing_is_given_then_the_environment_decides_before_the_default(monkeypatch):
    monkeypatch.delenv("TOUCHSTONE_DB", raising=False)
    assert database(None) == "results/data/touchstone.db"
    monkeypatch.setenv("TOUCHSTONE_DB", "/elsewhere.db")
    assert database(None) == "/elsewhere.db"
    assert database("given.db") == "given.db"
