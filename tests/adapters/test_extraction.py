from __future__ import annotations

import ast
import gzip
import json
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.extraction import defined, extract, parse

CODE = 'def add(a, b):\n    """Sum."""\n    return a + b\n'


def fenced(code: str, label: str = "python", marks: str = "```") -> str:
    return f"{marks}{label}\n{code}{marks}\n"


def found(answer: str, entry_point: str = "add") -> tuple[str, str]:
    solution = extract(answer, entry_point)
    assert solution is not None
    return solution.method, solution.code


# ── fences ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "label", ["python", "Python", "py", "python3", "{.python}", "", " python title=add.py", "text"]
)
def test_block_whatever_its_label_when_it_defines_the_entry_point_then_it_is_the_solution(label: str) -> None:
    assert found(f"Sure!\n\n{fenced(CODE, label)}\nIt's O(1).") == ("fence", CODE)


@pytest.mark.parametrize("marks", ["```", "````", "~~~", "~~~~~"])
def test_block_when_its_fence_is_of_another_kind_or_longer_then_it_is_found(marks: str) -> None:
    assert found(fenced(CODE, marks=marks)) == ("fence", CODE)


def test_block_when_lines_end_in_crlf_then_its_code_has_plain_ends() -> None:
    assert found(f"Sure:\n{fenced(CODE)}".replace("\n", "\r\n")) == ("fence", CODE)


def test_block_when_it_is_indented_in_a_list_then_it_is_dedented() -> None:
    assert found("1. Write it:\n\n" + textwrap.indent(fenced(CODE), "   ") + "2. Run it.\n") == ("fence", CODE)


def test_block_when_it_begins_beside_a_list_marker_then_it_is_dedented() -> None:
    assert found("- " + textwrap.indent(fenced(CODE), "  ").lstrip()) == ("fence", CODE)


def test_block_when_it_is_unclosed_then_it_runs_to_the_end() -> None:
    assert found("Sure:\n```python\n" + CODE)[0] == "fence"
    assert found("Sure:\n```python\n" + CODE)[1].rstrip() == CODE.rstrip()


def test_block_when_prose_follows_its_missing_end_then_the_code_is_found_as_a_region() -> None:
    method, code = found(f"```python\n{CODE}\nThis adds two numbers.\n")
    assert (method, code.rstrip()) == ("region", CODE.rstrip())


def test_block_when_its_docstring_holds_fences_then_they_end_nothing() -> None:
    code = 'def add(a, b):\n    """Sum.\n\n```\n>>> add(1, 2)\n3\n```\n    """\n    return a + b\n'
    assert found(f"Here:\n{fenced(code)}\nUse it:\n{fenced('add(1, 2)' + chr(10))}") == ("fence", code)


def test_block_when_it_is_in_a_block_of_markdown_then_it_is_found() -> None:
    assert found(f"````markdown\n# Answer\n{fenced(CODE)}````\n") == ("fence", CODE)


def test_block_when_it_defines_a_class_or_assigns_then_it_defines_the_entry_point() -> None:
    for code in ("class add:\n    pass\n", "add = lambda a, b: a + b\n", "async def add(a, b):\n    return a + b\n"):
        assert found(fenced(code) + fenced("add(1, 2)\n")) == ("fence", code)


# ── several blocks ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "other",
    [
        "print(add(1, 2))\n",
        "from solution import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n",
        "def add(a: int, b: int) -> int: ...\n",
        "$ python add.py\n3\n",
        "function add(a, b) { return a + b; }\n",
        "def add(a, b)\n  a + b\nend\n",
        "3\n",
        "result = add(1, 2)\n" * 50,
    ],
)
def test_other_block_when_it_uses_imports_or_declares_the_entry_point_then_it_does_not_win(other: str) -> None:
    assert found(fenced(CODE) + "\nFor example:\n" + fenced(other)) == ("fence", CODE)
    assert found(fenced(other, "") + "\nThe code:\n" + fenced(CODE)) == ("fence", CODE)


def test_last_block_when_several_define_the_entry_point_then_it_wins() -> None:
    buggy = "def add(a, b):\n    return a - b\n"
    assert found(f"Your code:\n{fenced(buggy)}\nThe mended one:\n{fenced(CODE)}\nDone.") == ("fence", CODE)


def test_last_closed_block_when_the_last_one_is_cut_off_then_it_wins() -> None:
    assert found(fenced(CODE) + "\nShorter:\n```python\ndef add(a, b): return (a") == ("fence", CODE)
    assert found(fenced(CODE) + "\nShorter:\n```python\ndef add(a, b):\n    x = a\n") == ("fence", CODE)


def test_blocks_when_helpers_stand_apart_then_they_are_joined_in_order() -> None:
    imports, helper = "import math\n", "def root(x):\n    return math.sqrt(x)\n"
    code = "def norm(a, b):\n    return root(a * a + b * b)\n"
    answer = f"First:\n{fenced(imports)}then\n{fenced(helper)}and\n{fenced(code)}so:\n```\nprint(norm(3, 4))\n```"
    assert found(answer, "norm") == ("fence", "\n\n".join([imports, helper, code]))


def test_blocks_when_the_helper_comes_after_the_entry_point_then_it_is_joined_too() -> None:
    code, helper = "def norm(a, b):\n    return root(a * a + b * b)\n", "def root(x):\n    return x**0.5\n"
    assert found(fenced(code) + fenced(helper), "norm") == ("fence", code + "\n\n" + helper)


def test_blocks_when_a_draft_has_names_that_the_last_one_has_too_then_the_draft_is_left_out() -> None:
    draft = "LIMIT = 3\n\n\ndef add(a, b):\n    return LIMIT\n"
    code = "LIMIT = 4\n\n\ndef add(a, b):\n    return min(a + b, LIMIT)\n"
    assert found(fenced(draft) + fenced(code)) == ("fence", code)


# ── without a block that defines it ──────────────────────────────────────────────────────────────────────────────────


def test_region_when_there_is_no_fence_then_the_prose_around_is_left_out() -> None:
    code = "import math\n\nSCALE = {\n    1: 2,\n}\n\n\n" + CODE.replace("a + b", "math.floor(a) + b")
    answer = (
        f"Here's the function you asked for:\n\n{code}\nThis function isn't slow: it is O(1).\nExplanation\nNote: this"
    )
    assert found(answer) == ("region", code + "\n")


def test_region_when_words_after_the_code_happen_to_parse_then_they_are_left_out() -> None:
    for words in ("Explanation", "Note: works", "Example (short)", "- item"):
        method, code = found(f"{CODE}\n{words}\n")
        assert (method, code.rstrip()) == ("region", CODE.rstrip())


def test_region_when_a_branch_or_a_comment_continues_a_statement_then_it_stays_whole() -> None:
    code = (
        "import sys\n\nif sys.version_info > (3,):\n    one = 1\nelse:\n    one = 2\n\n"
        "def add(a, b):\n    c = a\n# comment\n    return c + b * one\n"
    )
    method, extracted = found(f"Here you are:\n{code}\nDone, have fun.")
    assert method == "region"
    assert ast.dump(parse(extracted)) == ast.dump(parse(code))


def test_region_when_the_code_is_an_indented_paragraph_then_it_is_dedented() -> None:
    method, code = found(f"Here:\n\n{textwrap.indent(CODE, '    ')}\nIt works well.\n")
    assert (method, code.rstrip()) == ("region", CODE.rstrip())


def test_region_when_a_block_holds_lines_that_are_no_code_then_the_code_in_it_is_found() -> None:
    method, code = found(f"```python\n{CODE}\nOutput is 3 here\n```\n")
    assert (method, code.rstrip()) == ("region", CODE.rstrip())


def test_region_when_the_answer_begins_behind_its_own_fence_then_the_code_before_the_end_is_found() -> None:
    assert found(f"{CODE}```\n\nIt adds two numbers.\n") == ("region", CODE)


def test_broken_block_when_nothing_else_defines_the_entry_point_then_it_is_the_solution() -> None:
    broken = "def add(a, b):\n    return (a +\n"
    assert found(f"So:\n{fenced(broken)}Use:\n{fenced('print(1)' + chr(10))}") == ("fence", broken)


def test_body_in_a_block_when_no_function_is_there_then_it_is_the_solution_and_output_is_not() -> None:
    assert found(fenced("    c = a + b\n    return c\n") + fenced("3\n", "text")) == ("fence", "c = a + b\nreturn c\n")


def test_region_when_another_name_is_defined_in_prose_then_it_is_the_solution() -> None:
    code = "def plus(a, b):\n    return a + b\n"
    assert found(f"You need a function:\n{code}\nThat is all.") == ("region", code + "\n")


@pytest.mark.parametrize(
    "answer",
    [
        "def add(a, b:\n    return a + b",
        "def add(a, b):\n    c = (a\n    return b",
        "def one(): return 1\n\ndef add(a, b:",
    ],
)
def test_broken_definition_when_a_part_of_it_parses_then_the_part_is_not_taken_for_it(answer: str) -> None:
    assert found(answer) == ("raw", answer)


@pytest.mark.parametrize(
    "answer", ["I cannot help with that.", "c = a + b\n    return c", "\0", "\ud800 )", "```\n```"]
)
def test_answer_when_no_code_is_in_it_then_it_is_kept_raw(answer: str) -> None:
    assert found(answer) == ("raw", answer)


@pytest.mark.parametrize("answer", ["", " \n\t", "<think>\nLet me see", " <think>a</think>\n", "thoughts\n</think>\n"])
def test_answer_when_it_is_empty_but_for_thinking_then_there_is_no_solution(answer: str) -> None:
    assert extract(answer, "add") is None


def test_thinking_when_it_holds_code_then_only_what_follows_counts() -> None:
    draft = fenced("def add(a, b):\n    return 0\n") * 2
    for start in ("<think>\n", ""):
        assert found(f"{start}So:\n{draft}</think>\n\n{CODE}") == ("region", CODE + "\n")


# ── robustness ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "line", ["some words here.\n", "(\n", '"""\n', "@a\n", '```python\n"""\n```\n', "```\n", "~~~a\n```b\n", "1. "]
)
def test_extraction_when_the_answer_is_long_and_awkward_then_its_time_is_bounded(line: str) -> None:
    answer = line * (300_000 // len(line)) + CODE
    start = time.process_time()
    assert extract(answer, "add") is not None
    assert time.process_time() - start < 8  # a quadratic search takes minutes


@pytest.mark.parametrize(
    "answer",
    [
        "(" * 1_000_000,
        "-" * 1_000_000 + "1",
        "a" + ".b" * 300_000,
        "x = " + "9" * 10_000,
        "if x: pass\n" + "elif x: pass\n" * 20_000,
        "".join(" " * i + "if x:\n" for i in range(1400)),
        "```python\n" + "not " * 200_000,
        'x = "\\d"\n' + CODE,
    ],
)
def test_extraction_when_code_is_too_much_for_the_parser_then_it_raises_nothing(answer: str) -> None:
    assert extract(answer, "add") is not None


def test_a_million_characters_of_prose_when_the_code_is_at_the_end_then_it_is_found() -> None:
    method, code = found("some words here.\n" * 60_000 + CODE)
    assert (method, code.rstrip()) == ("region", CODE.rstrip())


def test_defined_when_names_are_only_imported_declared_or_local_then_they_are_left_out() -> None:
    code = "import a\nfrom b import c\nd: int\ndef e(): ...\ndef f():\n    g = 1\nif f():\n    h = i, j = 1, 2\n"
    assert defined(parse(code).body) == {"f", "h", "i", "j"}


# ── real completions ─────────────────────────────────────────────────────────────────────────────────────────────────


def in_list(code: str) -> str:
    return "1. Write it:\n\n" + textwrap.indent(fenced(code + "\n"), "   ", lambda _: True) + "\n2. Done.\n"


WRAPPED: dict[str, Callable[[str], str]] = {
    "fence": lambda code: f"Sure! Here it is:\n\n{fenced(code + chr(10))}\nIt isn't slow.",
    "unlabelled": lambda code: f"```\n{code}\n```",
    "crlf": lambda code: f"Sure:\n{fenced(code + chr(10))}".replace("\n", "\r\n"),
    "unclosed": lambda code: f"Here:\n```python\n{code}",
    "tildes": lambda code: fenced(code + "\n", marks="~~~"),
    "longer": lambda code: fenced(code + "\n", marks="`````"),
    "list": in_list,
    "example after it": lambda code: f"{fenced(code + chr(10))}Use:\n```python\nprint(1)\n```\nOutput:\n```\n1\n```",
    "prose": lambda code: f"Here's the function you asked for:\n\n{code}\n\nThis isn't slow: it runs in O(n).",
    "bare": lambda code: code,
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_real_completion_when_it_parses_and_is_wrapped_in_an_answer_then_it_comes_back_equal(
    data: Path, wrapping: str
) -> None:
    with gzip.open(data / "humaneval/HumanEval.jsonl.gz", "rt") as file:
        problems = {problem["task_id"]: problem for problem in map(json.loads, file)}
    with gzip.open(data / "codegen16b/samples.jsonl.gz", "rt") as file:
        samples = [json.loads(line) for line in file]
    compared = 0
    for sample in samples:
        problem = problems[sample["task_id"]]
        code = problem["prompt"] + sample["completion"]
        try:
            tree = parse(code)
        except SyntaxError:
            continue
        solution = extract(WRAPPED[wrapping](code), problem["entry_point"])
        assert solution is not None
        assert solution.method == ("region" if wrapping in ("prose", "bare") else "fence")
        assert ast.dump(parse(solution.code)) == ast.dump(tree), sample
        compared += 1
    assert compared > 1500


def test_extract_when_an_answer_may_be_of_a_later_python_then_its_fence_is_taken_whole_where_this_one_cannot_read_it():
    code = "type Pair[T: (int, str, *Ts)] = ~\n\ndef twice(x):\n    return x\n"  # which no Python reads
    answer = f"So:\n```python\n{code}```\nand\n```python\nprint(1)\n```\n"
    found = extract(answer, "twice", later=True)
    assert (found.code, found.method) == (code, "fence")
    assert "type Pair" not in extract(answer, "twice").code
    readable = (
        "Use\n```python\ndef helper():\n    return 1\n```\nand\n```python\ndef twice(x):\n    return helper()\n```\n"
    )
    assert extract(readable, "twice", later=True) == extract(readable, "twice")
