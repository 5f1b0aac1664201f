"""The health gate: what it asks of a task, and that it finds what is not so."""

from __future__ import annotations

import json

import pytest

from adapters import taskfile
from core.types import Case, Execution, Problem, Tests, Turn, Wrong
from runners.gate import Gate, Task, difficulty, stated, telling
from tests.runners.conftest import ROOT

DOUBLE = """\
id: easy/double-it
version: 1
tier: easy
category: arithmetic
dimensions: [writing]
entry_point: twice
changes: ["1: first version"]
metadata: {canary: 7c1ad2f2-6fd2-4f6b-a0f4-d4dbbe6cf1b7}
turns:
  - prompt: Write twice(x), which doubles numbers and joins texts with themselves.
    cases:
      - {name: two, call: twice(2), output: 4}
      - {name: zero, call: twice(0), output: 0}
      - {name: negative, call: twice(-3), output: -6}
      - {name: part, call: twice(0.5), output: 1.0}
      - {name: large, call: twice(10 ** 20), output: 200000000000000000000}
      - {name: text, call: twice("ab"), output: "'abab'"}
      - {name: empty, call: twice(""), output: "''"}
      - {name: list, call: "twice([1])", output: [1, 1]}
    reference: |
      def twice(x):
          return 2 * x
    wrong:
      - {why: squares, fails: negative, code: "def twice(x): return x * x"}
      - {why: numbers alone, fails: text, code: "def twice(x): return int(x) * 2"}
      - {why: adds two, fails: zero, code: "def twice(x): return x + 2"}
      - {why: rounds, fails: part, code: "def twice(x): return 2 * x if isinstance(x, str) else 2 * int(x)"}
"""


@pytest.fixture
def write(tmp_path):
    """Writes a task at easy/double-it.yaml, with some of its words replaced."""

    def write(*changes):
        text = DOUBLE
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "easy" / "double-it.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


# ── in the sandbox ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.engine
def test_validate_when_a_task_is_healthy_then_there_is_no_fault_and_its_mutants_are_killed(program, write):
    done = program(str(write()), "--mutants", "--json", module="validate_task")
    document = json.loads(done.stdout)
    assert (done.returncode, document["tasks"], document["faults"]) == (0, 1, [])
    told = document["mutants"]["easy"]
    assert told["mutants"] >= 3
    assert told["killed"] == told["mutants"]


@pytest.mark.engine
def test_validate_when_things_are_wrong_then_each_is_said_with_its_place(program, write):
    path = write(
        ("return 2 * x\n", "return 2 * x if x != 0 else 1\n"),
        ("fails: text", "fails: two"),
        ("return x * x", "return x * 2"),
        ("fails: part, ", ""),
        ("7c1ad2f2-6fd2-4f6b-a0f4-d4dbbe6cf1b7", "''"),
    )
    done = program(str(path), module="validate_task")
    assert done.returncode == 2
    found = done.stdout.splitlines()
    assert f"{path}: it has no canary in its metadata" in found
    assert f"{path}: turns[0].reference: failed: zero: gave 1, expected 0" in found
    assert f"{path}: turns[0].wrong[0]: passed: every test passed" in found
    assert f"{path}: turns[0].wrong[1]: it does not fail two, but part, text, empty, list" in found
    assert f"{path}: turns[0].wrong[3]: `fails` is missing; it fails part, list" in found
    assert done.stderr.endswith("1 tasks, 5 faults\n")


@pytest.mark.engine
def test_validate_when_tests_notice_too_little_then_the_tier_fails_and_survivors_are_named(program, write):
    lazy = "return 2 * x + (1 if str(x) == 'never' else 0)\n"
    reference = f"if x is None or x == 17:\n              return 5\n          {lazy.replace(' + (1', ' if 1 else (1')}"
    done = program(str(write(("return 2 * x\n", reference))), "--mutants", module="validate_task")
    assert done.returncode == 2
    assert "% of the mutants are killed, at least 90%" in done.stdout
    assert "survives: " in done.stdout


@pytest.mark.engine
def test_validate_when_prompts_are_alike_then_they_are_reported_and_no_fault(program, write, tmp_path):
    known = tmp_path / "known.jsonl"
    known.write_text(json.dumps({"task_id": "x/1", "text": "A function which doubles numbers and joins texts with..."}))
    done = program(str(write()), "--against", str(known), module="validate_task")
    assert done.returncode == 0
    assert "alike: easy/double-it and x/1: " in done.stdout
    missing = program(str(write()), "--against", str(tmp_path / "none"), module="validate_task")
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)


async def test_gate_when_the_sandbox_itself_fails_then_nothing_counts_as_told_apart():
    class Broken:
        async def run(self, candidate):
            return Execution("compile", fault="the engine is gone")

    path = ROOT / "custom_tasks" / "easy" / "redact-fields.yaml"
    problem = taskfile.load(path)
    health = await Gate(Broken(), Broken(), None).task(Task(path, problem), mutate=True)
    assert health.mutants == 0
    assert sum("the engine is gone" in fault for fault in health.faults) == sum(2 + len(t.wrong) for t in problem.turns)


# ── as it stands ─────────────────────────────────────────────────────────────────────────────────────────────────────


def made(prompt="Write f(x).", *cases, turns=1, **fields):
    cases = cases or tuple(Case("f(1)", 1, name=f"c{n}") for n in range(8))
    turn = Turn(prompt, Tests(cases), "def f(x): return x", tuple(Wrong("", "") for _ in range(4)))
    return Problem("easy/a", (turn,) * turns, "f", dimensions=("writing",), changes=("1: first",), **fields)


@pytest.mark.parametrize(
    ("problem", "found"),
    [
        (made(), []),
        (made("Write it."), ["turns[0].prompt does not name the entry point f"]),
        (made("Write ff(x)."), ["turns[0].prompt does not name the entry point f"]),
        (
            made("Write f.", *made().turns[0].tests.cases, Case("f(2)", raises="KeyError", name="none")),
            ["turns[0].prompt does not name KeyError, which none expects"],
        ),
        (
            made("Write f; f(3) is [1, 2].", *made().turns[0].tests.cases, Case("f(3)", [1, 2], name="three")),
            ["turns[0].prompt holds what three expects: [1, 2]"],
        ),
        (made("Write f.", *(Case("f(1)", 1) for _ in range(8))), ["turns[0] has a case without a name: f(1)"] * 8),
        (made("Write f.", Case("f(1)", 1, name="one")), ["1 tests, at least 8"]),
    ],
)
def test_stated_then_what_is_lacking(problem, found):
    assert [*stated(problem)] == found


def test_stated_when_a_later_turn_leans_on_an_earlier_one_then_its_words_count():
    first = made("Write f, or KeyError.").turns[0]
    second = Turn("Now twice.", first.tests, first.reference, first.wrong)
    assert [*stated(Problem("easy/a", (first, second), "f", dimensions=("writing",), changes=("1",)))] == []


@pytest.mark.parametrize(
    ("value", "is_telling"), [(None, False), (True, False), (12345, False), ("x", False), ([1], False), ((1, 2), True)]
)
def test_telling_then_collections_of_several_values(value, is_telling):
    assert telling(value) is is_telling


def test_difficulty_then_more_to_get_right_is_harder_and_turns_count():
    short, long = made(), made()
    body = "\n".join(f"    if x == {n}: return {n}" for n in range(20))
    long = Problem("easy/b", (Turn("", Tests(), f"def f(x):\n{body}\n"),), "f")
    assert 0 < difficulty(short) < difficulty(made(turns=3)) < difficulty(long) < 100
    assert difficulty(long) == round(100 * 61 / 101)  # a function, 20 conditions, 20 returns, 20 forks
