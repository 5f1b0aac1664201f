"""Ratings, end to end: each control loses just the component that it should."""

from __future__ import annotations

import json

import pytest

from core.errors import HostError
from core.types import Problem, RunSpec, SamplingParams, Suite
from runners import rating
from runners.plan import chosen
from tests.loopback import OpenAIServer
from tests.runners.test_gate import DOUBLE

TWICE = '''"""Doubling."""


def twice(x: int) -> int:
    """Double x."""
    return 2 * x
'''
SHARED = ("-t", "easy", "-t", "medium")


@pytest.fixture
def tiers(tmp_path):
    """Words that name two tiers: a plain task in two samples' worth of code, and one of two turns with a literal."""
    reference = DOUBLE.replace("def twice(x):\n          return 2 * x", TWICE.replace("\n", "\n      ").rstrip())
    for tier, text in (("easy", reference), ("medium", QUIZ)):
        folder = tmp_path / tier
        folder.mkdir()
        (folder / ("double-it.yaml" if tier == "easy" else "quiz.yaml")).write_text(text)
    words = [f"--dataset={tier}={tmp_path / tier}" for tier in ("easy", "medium")]
    return [*SHARED, *words]


QUIZ = """\
id: medium/quiz
version: 1
tier: medium
category: reading
dimensions: [explaining, multi-turn]
entry_point: answers
turns:
  - prompt: What is 1 + 1, and what is 2 + 2? Assign `answers`.
    answer: literal
    cases:
      - {name: one, call: "answers[0]", output: 2}
      - {name: two, call: "answers[1]", output: 4}
    reference: answers = [2, 4]
    wrong: [{why: guesses, fails: two, code: "answers = [2, 5]"}]
  - prompt: And 3 + 3, in a third place?
    answer: literal
    cases: [{name: three, call: "answers[2]", output: 6}]
    reference: answers = [2, 4, 6]
    wrong: [{why: computes, fails: literal, code: "answers = [2, 4, 3 + 3]"}]
"""


@pytest.mark.engine
def test_run_when_controls_answer_then_each_loses_what_it_should_and_nothing_else(program, tiers):
    found = {}
    for name in ("reference", "slow", "ugly", "wrong", "broken"):
        [document] = program.documents(*tiers, "-m", f"control/{name}")
        easy, medium = document["results"]
        found[name] = easy["ratings"]
        passes = name in ("reference", "slow", "ugly")
        assert easy["metrics"]["pass@1"]["value"] == medium["metrics"]["pass@1"]["value"] == float(passes)
        assert medium["ratings"]["quality"] is medium["ratings"]["efficiency"] is None
        assert document["dimensions"].keys() == {"writing", "explaining", "multi-turn"}
        assert document["dimensions"]["explaining"]["n_problems"] == 1
    right = found["reference"]
    assert right["overall"] > 95
    assert right["correctness"] == right["speed"] == 100
    assert right["efficiency"] > 90
    slow, ugly, wrong = found["slow"], found["ugly"], found["wrong"]
    assert slow["efficiency"] < right["efficiency"] - 30
    assert (slow["correctness"], slow["quality"], slow["speed"]) == (100, right["quality"], 100)
    assert ugly["quality"] < right["quality"] - 20
    assert ugly["efficiency"] > 90
    assert (ugly["correctness"], ugly["speed"]) == (100, 100)
    assert wrong["efficiency"] == found["broken"]["efficiency"] == 0
    assert 0 < wrong["correctness"] < 100
    assert wrong["overall"] < right["overall"] - 15


@pytest.mark.engine
def test_run_when_weights_and_baselines_are_given_then_they_count(program, tiers, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("scoring: {weights: {correctness: 1, efficiency: 3}, baselines: {easy: 0.5}}\n")
    [document] = program.documents(*tiers, "-m", "control/wrong", "--config", str(config))
    easy = document["results"][0]["ratings"]
    assert easy["overall"] == pytest.approx(easy["correctness"] / 4)
    report = next(program.db.parent.glob("reports/*.md")).read_text()
    assert "## Scores" in report
    assert "### By dimension" in report
    assert "| explaining" in report


@pytest.mark.engine
def test_run_when_a_task_has_turns_then_each_has_its_transcript_and_a_rating(program, tiers, tmp_path, monkeypatch):
    answers = iter(["```python\nanswers = [2, 4]\n```", "```python\nanswers = [2, 4, 6]\n```"])
    dump = tmp_path / "samples.jsonl"
    with OpenAIServer(lambda _: next(answers)) as server:
        words = ["-t", "medium", tiers[-1], "-m", "openai/m", "--dump-samples", str(dump), "--db", str(program.db)]
        done = program(*words, OPENAI_BASE_URL=server.url, OPENAI_API_KEY="k")
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, dump.read_text().splitlines())
    assert [message["role"] for message in second["prompt"]] == ["user", "assistant", "user"]
    assert second["prompt"][1]["content"] == first["completion"]
    assert "this one assignment of a literal" in first["prompt"][0]["content"]
    assert (first["status"], second["status"]) == ("passed", "passed")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scoring: {weights: {correctnes: 1}}", "did you mean 'correctness'"),
        ("scoring: {weights: {correctness: -1}}", "0 or more"),
        ("scoring: {weights: {correctness: 0}}", "above 0"),
        ("scoring: {baselines: {easy: fast}}", "0 or more"),
        ("scoring: {baselines: [1]}", "a mapping"),
    ],
)
def test_run_when_weights_are_wrong_then_one_line_says_what(program, tmp_path, text, words):
    config = tmp_path / "config.yaml"
    config.write_text(text)
    done = program("-m", "control/reference", "--config", str(config))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert words in done.stderr


@pytest.mark.engine
def test_run_when_a_package_adds_a_scorer_then_its_component_is_shown_and_counts_where_it_is_weighted(
    program, tiers, tmp_path
):
    site = tmp_path / "site"
    (site / "brevity-1.0.dist-info").mkdir(parents=True)
    (site / "brevity-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: brevity\nVersion: 1.0\n")
    points = "[touchstone.scorers]\nbrevity = brevity:score\n"
    (site / "brevity-1.0.dist-info" / "entry_points.txt").write_text(points)
    (site / "brevity.py").write_text("def score(problem, sample): return 25.0 if problem.tier == 'easy' else None\n")
    config = tmp_path / "config.yaml"
    config.write_text("scoring: {weights: {correctness: 1, brevity: 1}}\n")
    words = [*tiers, "-m", "control/reference", "--config", str(config)]
    [document] = program.documents(*words, PYTHONPATH=str(site))
    easy, medium = (result["ratings"] for result in document["results"])
    assert (easy["brevity"], easy["overall"]) == (25, 62.5)
    assert (medium["brevity"], medium["overall"]) == (None, 100)


@pytest.mark.parametrize(("score", "words"), [(lambda *_: 1 / 0, "ZeroDivisionError"), (lambda *_: 101, "says 101")])
def test_further_when_a_scorer_fails_or_says_no_score_then_it_is_named(monkeypatch, score, words):
    monkeypatch.setattr(rating.registry, "get", lambda _: score)
    with pytest.raises(HostError, match=f"scorer 'brevity' .*{words}"):
        rating._further("brevity", Problem("easy/a", (), "f"), None)


# ── which problems ───────────────────────────────────────────────────────────────────────────────────────────────────


def picked(seed=None, **asked):
    problems = tuple(
        Problem(f"easy/{n}", (), "f", tags=("odd",) if n % 2 else (), dimensions=("writing", "x") if n < 6 else ("x",))
        for n in range(10)
    )
    spec = RunSpec("m/x", (), params=SamplingParams(seed=seed), **asked)
    suite = Suite("native", "easy", "1", "", problems, ("instruct",))
    return [int(problem.task_id[-1]) for problem in chosen(suite, spec)]


def test_chosen_then_by_dimension_tag_sample_and_limit_in_the_suites_order():
    assert picked() == [*range(10)]
    assert picked(dimensions=("writing",)) == [*range(6)]
    assert picked(dimensions=("writing",), tags=("odd",)) == [1, 3, 5]
    assert picked(limit=2, tags=("odd",)) == [1, 3]
    assert picked(sample=20) == [*range(10)]
    drawn = picked(seed=7, sample=4)
    assert drawn == sorted(drawn) == picked(seed=7, sample=4)
    assert len({tuple(picked(seed=seed, sample=4)) for seed in range(20)}) > 10


def test_chosen_when_nothing_is_left_then_none():
    assert picked(dimensions=("debugging",)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dimension", "nothing"], "no problem of these suites is one of nothing"),
        (["--harness", "lm-eval", "--sample", "3"], "--sample chooses among native tasks"),
    ],
)
def test_run_when_tasks_cannot_be_chosen_so_then_one_line_says_it(program, words, said):
    done = program("-m", "control/reference", *words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert said in done.stderr
