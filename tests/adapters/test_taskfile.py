from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adapters import taskfile
from core import types
from core.errors import BadData
from core.types import Case, Limits, Problem, Turn, Wrong

TASK = """\
id: easy/run-length
version: 1
tier: easy
category: text-tools
tags: [strings, loops]
entry_point: run_length
metadata: {author: me, canary: x}
turns:
  - prompt: |
      Write `run_length(text)`.
    timeout: 2
    memory_mb: 256
    tolerance: {rel: 1e-9}
    cases:
      - call: run_length("aab")
        output: [["a", 2], ["b", 1]]
      - call: run_length(None)
        raises: TypeError
        name: none
        setup: |
          x = 1
        timeout: 5
        weight: 2
        tolerance: {abs: 0.5}
    code: |
      def test_large():
          assert run_length("a" * 9) == [["a", 9]]
    reference: |
      def run_length(text):
          return []
    wrong:
      - why: forgets the last run
        code: |
          def run_length(text):
              return None
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a task at easy/run-length.yaml."""

    def write(text: str) -> Path:
        path = tmp_path / "easy" / "run-length.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_task_when_every_field_is_given_then_each_is_in_the_problem(write: Write) -> None:
    assert taskfile.load(write(TASK)) == Problem(
        task_id="easy/run-length",
        turns=(
            Turn(
                prompt="Write `run_length(text)`.\n",
                tests=types.Tests(
                    cases=(
                        Case('run_length("aab")', [["a", 2], ["b", 1]], rel_tol=1e-9),
                        Case(
                            "run_length(None)",
                            raises="TypeError",
                            setup="x = 1\n",
                            cpu_s=5.0,
                            weight=2.0,
                            abs_tol=0.5,
                            name="none",
                        ),
                    ),
                    source='def test_large():\n    assert run_length("a" * 9) == [["a", 9]]\n',
                    calls=("test_large()",),
                ),
                reference="def run_length(text):\n    return []\n",
                wrong=(Wrong("def run_length(text):\n    return None\n", "forgets the last run"),),
                limits=Limits(cpu_s=2.0, memory_bytes=256 << 20),
            ),
        ),
        entry_point="run_length",
        tier="easy",
        category="text-tools",
        tags=("strings", "loops"),
    )


def test_task_when_only_the_required_fields_are_given_then_the_rest_is_the_default(write: Write) -> None:
    text = """\
id: easy/run-length
version: 3
tier: easy
category: strings
entry_point: run_length
turns:
  - prompt: Write it.
    cases: [{call: run_length(""), output: []}]
    reference: "def run_length(text): return []"
"""
    (turn,) = taskfile.load(write(text)).turns
    assert turn == Turn("Write it.", types.Tests((Case('run_length("")', []),)), "def run_length(text): return []")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("", None),
        ("3", 3),
        ("-0x1f", -31),
        ("1_000", 1000),
        ("1e-9", 1e-9),
        ("true", True),
        ("None", None),
        ("(1, 2)", (1, 2)),
        ("\"'abc'\"", "abc"),
        ("'{1, 2}'", {1, 2}),
        ("\"b'x'\"", b"x"),
        ("set()", set()),
        ("1 + 2j", 1 + 2j),
        ("[-inf, inf]", ["-inf", "inf"]),
        ("'[-inf, inf]'", [-math.inf, math.inf]),
        (".inf", math.inf),
        ("[no, 12:30, 2024-01-01, 1e3, 'x', ~]", ["no", "12:30", "2024-01-01", 1000.0, "x", None]),
        ("{1: a, b: [{}]}", {1: "a", "b": [{}]}),
        ("|\n          (1,\n           2)", (1, 2)),
    ],
)
def test_output_when_it_is_yaml_or_python_text_then_it_is_that_value(write: Write, text: str, value: Any) -> None:
    case = taskfile.load(write(TASK.replace('[["a", 2], ["b", 1]]', text))).turns[0].tests.cases[0]
    assert case.output == value
    assert type(case.output) is type(value)


@pytest.mark.parametrize("text", ["nan", "-nan", ".nan"])
def test_output_when_it_is_no_number_then_it_is_nan(write: Write, text: str) -> None:
    assert math.isnan(taskfile.load(write(TASK.replace('[["a", 2], ["b", 1]]', text))).turns[0].tests.cases[0].output)


def test_text_when_it_is_an_alias_then_it_is_the_anchored_text_and_its_faults_name_both_places(write: Write) -> None:
    text = TASK.replace("setup: |\n          x = 1", "setup: &s |\n          x = 1")
    text = text.replace('        output: [["a', '        setup: *s\n        output: [["a')
    text = text.replace("cases:\n      - call", "cases:\n      - {call: f(), output: 1, setup: &s x = 2}\n      - call")
    assert [case.setup for case in taskfile.load(write(text)).turns[0].tests.cases] == ["x = 2", "x = 2", "x = 1\n"]
    faults = taskfile.check(write(text.replace("x = 2", "x =")))
    assert [(fault.line, fault.field) for fault in faults] == [
        (15, "turns[0].cases[0].setup"),
        (15, "turns[0].cases[1].setup"),
    ]


def test_tolerance_when_a_case_has_its_own_then_the_turns_is_not_mixed_in_and_no_other_case_sees_it(
    write: Write,
) -> None:
    text = TASK.replace("    code: |\n", "      - call: run_length('')\n        output: 1.5\n    code: |\n", 1)
    cases = taskfile.load(write(text)).turns[0].tests.cases
    assert [(case.rel_tol, case.abs_tol) for case in cases] == [(1e-9, 0.0), (0.0, 0.5), (1e-9, 0.0)]


OUTPUT = 'output: [["a", 2], ["b", 1]]'


@pytest.mark.parametrize(
    ("old", "new", "field", "line", "says"),
    [
        ("version: 1", "version: true", "version", 2, "a whole number from 1"),
        ("version: 1", "version: 0", "version", 2, "a whole number from 1"),
        ("version: 1\n", "", "version", 1, "it is missing"),
        ("version: 1", "vresion: 1", "vresion", 2, "did you mean 'version'"),
        ("version: 1", "version: 1\nversion: 2", None, 3, "the key 'version' is given twice"),
        ("tier: easy", "tier: hard", "tier", 3, "another tier"),
        ("tier: easy", "tier: simple", "tier", 3, "easy or medium or hard or extreme"),
        ("id: easy/run-length", "id: easy/run", "id", 1, "the file lies at easy/run-length.yaml"),
        ("text-tools", "Text Tools", "category", 4, "kebab-case"),
        ("[strings, loops]", "[strings, 1]", "tags[1]", 5, "kebab-case"),
        ("entry_point: run_length", "entry_point: run-length", "entry_point", 6, "a single Python name"),
        ("{author: me, canary: x}", "me", "metadata", 7, "a mapping"),
        ("Write `run_length(text)`.", "", "turns[0].prompt", 9, "text was expected"),
        ("timeout: 2", "timeout: .inf", "turns[0].timeout", 11, "a number above 0"),
        ("timeout: 2", "timeout: '2'", "turns[0].timeout", 11, "a number above 0"),
        ("memory_mb: 256", "memory_mb: 0.5", "turns[0].memory_mb", 12, "a whole number"),
        ("{rel: 1e-9}", "{rel: -1}", "turns[0].tolerance.rel", 13, "0 or more"),
        ("{rel: 1e-9}", "{relative: 1}", "turns[0].tolerance.relative", 13, "did you mean 'rel'?"),
        ("{rel: 1e-9}", "1e-9", "turns[0].tolerance", 13, "a mapping"),
        ('run_length("aab")', "run_length(", "turns[0].cases[0].call", 15, "not Python: '(' was never closed"),
        ('run_length("aab")', "x = 1", "turns[0].cases[0].call", 15, "not Python"),
        ('run_length("aab")', "12", "turns[0].cases[0].call", 15, "text was expected"),
        (OUTPUT, "", "turns[0].cases[0]", 15, "either output or raises"),
        (OUTPUT, OUTPUT + "\n        raises: E", "turns[0].cases[0]", 15, "either output or raises"),
        (OUTPUT, "output: aab", "turns[0].cases[0].output", 16, "not a Python literal"),
        (OUTPUT, "output: hello world", "turns[0].cases[0].output", 16, "text is quoted for Python too"),
        (OUTPUT, "output: '{[]}'", "turns[0].cases[0].output", 16, "unhashable"),
        (OUTPUT, "output: {[1]: 2}", "turns[0].cases[0].output", 16, "a key is a single value"),
        (OUTPUT, "output: " + "9" * 5000, "turns[0].cases[0].output", 16, "too many digits"),
        (OUTPUT, "output: [&x [1], *x]", "turns[0].cases[0].output[1]", 16, "&x; write the value out"),
        (OUTPUT, "output: &x [*x]", "turns[0].cases[0].output[0]", 16, "&x; write the value out"),
        (OUTPUT, "output: !!set {1}", "turns[0].cases[0].output", 16, "the tag"),
        (OUTPUT, "output: {1: 2, true: 3}", "turns[0].cases[0].output", 16, "given twice"),
        ("raises: TypeError", "raises: json.JSONDecodeError", "turns[0].cases[1].raises", 18, "a single Python name"),
        ("raises: TypeError", "raises: null", "turns[0].cases[1].raises", 18, "a single Python name"),
        ("          x = 1", "          x = 1\n          y =", "turns[0].cases[1].setup", 22, "not Python"),
        ("weight: 2", "weight: 0", "turns[0].cases[1].weight", 23, "above 0"),
        ("      def test_large", "      async def test_large", "turns[0].code", 26, "would run nothing"),
        ("          assert run", "          yield run", "turns[0].code", 26, "would run nothing"),
        ("test_large()", "test_large(n=1)", "turns[0].code", 26, "takes arguments"),
        ("test_large()", "large()", "turns[0].code", 25, "nothing would be tested"),
        ("assert run_length(\"a\" * 9) == [", "assert (run_length(\"a\" * 9), [", "turns[0].code", 27, "not Python"),
        ("          return []", "          return [", "turns[0].reference", 30, "never closed"),
        ("return []", 'return "\\d"', "turns[0].reference", 30, "invalid escape"),
        ("      def run_length(", "      def run(", "turns[0].reference", 28, "the entry point 'run_length'"),
        ("          def run", "          ef run", "turns[0].wrong[0].code", 34, "not Python"),
        ("why: forgets the last run", "why: 1", "turns[0].wrong[0].why", 32, "text was expected"),
        ("    timeout: 2", "\ttimeout: 2", None, 11, "not YAML"),
        ("prompt: |", "prompt: [", None, 11, "not YAML"),
        ("raises: TypeError", "raise: TypeError", "turns[0].cases[1].raise", 18, "did you mean 'raises'?"),
        ("Write", "Wr\x01ite", None, 10, "control characters"),
    ],
)  # fmt: skip
def test_load_when_something_is_wrong_then_file_line_and_field_are_named(
    write: Write, old: str, new: str, field: str | None, line: int, says: str
) -> None:
    assert old in TASK
    path = write(TASK.replace(old, new, 1))
    with pytest.raises(BadData) as caught:
        taskfile.load(path)
    assert (caught.value.field, caught.value.line, says in str(caught.value)) == (field, line, True), caught.value
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


def test_assertion_when_it_is_always_true_then_it_is_a_fault(write: Write) -> None:
    (fault,) = taskfile.check(write(TASK.replace('assert run_length("a" * 9)', 'assert (run_length("a" * 9), 1)  #')))
    assert "assertion is always true" in str(fault)


def test_wrong_solution_when_its_code_would_warn_then_it_is_taken(write: Write) -> None:
    text = TASK.replace("              return None", '              return text is "a"')
    assert taskfile.check(write(text)) == []


def test_turn_when_its_test_code_needs_more_than_plain_data_then_says_so(write: Write) -> None:
    assert not taskfile.load(write(TASK)).turns[0].tests.shared
    beside = TASK.replace("    code: |\n      def test", "    judging: one-process\n    code: |\n      def test")
    assert taskfile.load(write(beside)).turns[0].tests.shared


def test_turn_when_it_has_neither_cases_nor_test_code_then_nothing_would_be_tested(write: Write) -> None:
    before, _, after = TASK.partition("    cases:")
    text = before + after[after.index("    reference:") :]
    (fault,) = taskfile.check(write(text))
    assert (fault.field, fault.line) == ("turns[0]", 9)
    assert "nothing would be tested" in str(fault)


@pytest.mark.parametrize(
    ("name", "says"),
    [("class T:\n    def test_it(self): ...", "top level"), ("def test_large(): ...", "defined twice")],
)
def test_test_function_when_it_would_not_be_called_then_it_is_a_fault(write: Write, name: str, says: str) -> None:
    code = "".join(f"      {line}\n" for line in name.split("\n"))
    (fault,) = taskfile.check(write(TASK.replace("    reference:", f"{code}    reference:", 1)))
    assert says in str(fault)


def test_cases_when_two_have_one_name_then_the_second_is_a_fault(write: Write) -> None:
    text = TASK.replace('call: run_length("aab")', 'call: run_length("aab")\n        name: none')
    (fault,) = taskfile.check(write(text))
    assert (fault.field, fault.line) == ("turns[0].cases[1]", 18)


def test_check_when_there_are_several_faults_then_it_gives_all_in_the_order_of_lines(write: Write) -> None:
    text = TASK.replace("version: 1", "version: one").replace("memory_mb: 256", "memory: 256")
    text = text.replace("raises: TypeError", "raise: TypeError").replace("return []", "return [")
    faults = taskfile.check(write(text))
    assert [(fault.line, fault.field) for fault in faults] == [
        (2, "version"),
        (12, "turns[0].memory"),
        (17, "turns[0].cases[1]"),
        (18, "turns[0].cases[1].raise"),
        (30, "turns[0].reference"),
    ]
    with pytest.raises(BadData, match="version: a whole number"):
        taskfile.load(write(text))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"# nothing\n", "it is empty"),
        (b"- 1\n", "a mapping was expected"),
        (b"\xff", "not UTF-8"),
        (TASK.encode() + b"---\nid: b\n", "a second document"),
        (b"a: *x\n", "&x"),
        (TASK.replace(OUTPUT, "output: " + "[" * 600 + "]" * 600).encode(), "too deep"),
    ],
)
def test_load_when_the_file_is_no_task_at_all_then_it_says_so(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "easy" / "run-length.yaml"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(BadData, match=says):
        taskfile.load(path)


def test_load_when_there_is_no_file_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot be read"):
        taskfile.load(tmp_path / "easy" / "x.yaml")


def test_problems_when_there_are_many_files_then_they_are_read_in_order_and_fast(tmp_path: Path) -> None:
    folder = tmp_path / "easy"
    folder.mkdir()
    paths = [folder / f"task-{i}.yaml" for i in range(24)]
    case = '      - call: run_length("aab")\n        output: [["a", 2]]\n'
    for path in paths:
        text = TASK.replace("easy/run-length", f"easy/{path.stem}").replace("    cases:\n", "    cases:\n" + case * 20)
        path.write_text(text)
    start = time.process_time()
    problems = taskfile.problems(paths)
    assert time.process_time() - start < 0.6  # twice what it may take on a slow machine
    assert [problem.task_id for problem in problems] == [f"easy/task-{i}" for i in range(24)]


def test_example_of_the_guide_when_it_is_saved_then_it_is_a_task(write: Write) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text()
    example = guide.partition("```yaml\n")[2].partition("```")[0]
    problem = taskfile.load(write(example))
    (turn,) = problem.turns
    assert [case.output for case in turn.tests.cases] == [[["a", 2], ["b", 1]], [], 100_000, None]
    for code, passes in ((turn.reference, True), (turn.wrong[0].code, False)):
        namespace: dict[str, Any] = {}
        exec(code, namespace)
        results = [eval(case.call, namespace) == case.output for case in turn.tests.cases if case.raises is None]
        assert all(results) is passes


# ── several files, checks, environments ──────────────────────────────────────────────────────────────────────────────

PROJECT = """\
id: easy/run-length
version: 2
tier: easy
category: projects
dimensions: [multi-file, debugging]
runs_on: python3.13
entry_point: shop.cart:total
changes: ["1: first version", "2: another case"]
turns:
  - prompt: Write `total`.
    files:
      shop/__init__.py: ""
      shop/prices.py: |
        PRICES = {}
    cases: [{name: one, call: "total([1])", output: 1}]
    checks: [{avoids: [eval]}, {uses: [sum, match]}]
    reference: |
      # file: shop/cart.py
      def total(prices):
          return sum(prices)
    wrong:
      - why: forgets
        fails: uses
        code: |
          # file: shop/cart.py
          def total(prices):
              return 0
"""


def test_task_when_it_is_a_project_then_its_files_checks_and_environment_are_in_it(write: Write) -> None:
    problem = taskfile.load(write(PROJECT))
    [turn] = problem.turns
    assert (problem.language, problem.entry_point) == ("python/3.13", "shop.cart:total")
    assert (problem.dimensions, problem.version) == (("multi-file", "debugging"), 2)
    assert problem.changes == ("1: first version", "2: another case")
    assert turn.files == (("shop/__init__.py", ""), ("shop/prices.py", "PRICES = {}\n"))
    assert turn.tests.checks == (
        types.Check("avoids", ("eval",)),
        types.Check("uses", ("sum", "match")),
    )
    assert turn.wrong[0].fails == "uses"


def test_task_when_the_answer_is_a_literal_then_that_is_its_first_check(write: Write) -> None:
    text = TASK.replace("entry_point: run_length", "entry_point: answers").replace(
        "    timeout: 2\n", "    answer: literal\n"
    )
    text = text.replace("def run_length(text):\n          return []", "answers = {}")
    assert taskfile.load(write(text)).turns[0].tests.checks == (types.Check("literal", "answers"),)


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("[multi-file, debugging]", "[multifile]", "dimensions[0]", "a dimension was expected"),
        ('["1: first version", "2: another case"]', '["1: first version"]', "changes", "1 lines for 2 versions"),
        ("python3.13", "python3.9", "runs_on", "python3.11 or python3.13 or frameworks was expected"),
        ("shop.cart:total", "total", "turns[0]", "MODULE:NAME"),
        ("shop/prices.py", "../prices.py", "turns[0].files.../prices.py", "a path within the project"),
        ("{avoids: [eval]}", "{complexity: low}", "turns[0].checks[0].complexity", "a whole number"),
        ("{avoids: [eval]}", "docstring", "turns[0].checks[0]", "'docstrings'"),
        ("{avoids: [eval]}", "{docstrings: 3}", "turns[0].checks[0]", "nothing goes with 'docstrings'"),
        ("fails: uses", "fails: nesting", "turns[0].wrong[0]", "unknown case, test or check 'nesting'"),
        ("return sum(prices)", "return sum(prices", "turns[0].reference", "in shop/cart.py"),
        ("      # file: shop/cart.py\n      def", "      def", "turns[0].reference", "`# file: PATH`"),
    ],
)
def test_load_when_something_of_a_project_is_wrong_then_its_field_is_named(
    write: Write, old: str, new: str, field: str, words: str
) -> None:
    assert old in PROJECT
    found = taskfile.check(
        write(
            PROJECT.replace("python3.13", "python3.11").replace(old, new, 1)
            if old != "python3.13"
            else PROJECT.replace(old, new)
        )
    )
    assert [(fault.field, words in str(fault)) for fault in found] == [(field, True)]


def test_load_when_a_later_pythons_tree_would_be_checked_then_that_is_a_fault(write: Write) -> None:
    [fault] = taskfile.check(write(PROJECT.replace("{avoids: [eval]}", "docstrings")))
    assert (fault.field, "only uses and avoids" in str(fault)) == ("turns[0].checks", True)


def test_load_when_it_is_of_a_later_python_then_syntax_that_this_one_lacks_is_taken(write: Write) -> None:
    newer = TASK.replace("tier: easy", "tier: easy\nruns_on: python3.13").replace(
        "def run_length(text):\n          return []", "def run_length[T](text: T) -> list[T]:\n          return []"
    )
    assert taskfile.load(write(newer)).language == "python/3.13"


def test_wrong_when_it_is_edits_then_it_is_the_reference_with_these(write: Write) -> None:
    code = "        code: |\n          def run_length(text):\n              return None\n"
    edits = (
        '        edits:\n          - {old: "return []", new: "return [1]"}\n          - {old: "(text)", new: "(t)"}\n'
    )
    [turn] = taskfile.load(write(TASK.replace(code, edits))).turns
    assert turn.wrong[0].code == "def run_length(t):\n    return [1]\n"


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ('[{old: "return {}", new: ""}]', "stands 0 times"),
        ('[{old: "t", new: ""}]', "times in the reference; it must be"),
        ('[{old: "", new: ""}]', "old and new are texts"),
        ('[{old: "return []", new: "return ["}]', "after its edits"),
        ('[{old: "return []"}]', "it is missing"),
        ("[]", "a list was expected"),
    ],
)
def test_wrong_when_its_edits_do_not_fit_then_that_is_a_fault(write: Write, edits: str, words: str) -> None:
    code = "        code: |\n          def run_length(text):\n              return None\n"
    found = taskfile.check(write(TASK.replace(code, f"        edits: {edits}\n")))
    assert [words in str(fault) for fault in found][:1] == [True]


def test_wrong_when_it_has_code_and_edits_or_neither_then_that_is_a_fault(write: Write) -> None:
    code = "        code: |\n          def run_length(text):\n              return None\n"
    assert "either code, or edits" in str(taskfile.check(write(TASK.replace(code, "")))[0])
