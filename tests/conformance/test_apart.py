"""Test code in a process of its own: what crosses, what does not, and what a candidate can make of it."""

from __future__ import annotations

from dataclasses import replace
from textwrap import dedent

import pytest

from core.types import Candidate, Limits, Solution, Status, Tests
from sandbox.base import Sandbox
from sandbox.verdict import verdict

pytestmark = pytest.mark.asyncio(loop_scope="session")


def asked(code: str, tests: str, **limits: float) -> Candidate:
    """A function `f` that is checked by test code."""
    checks = Tests(source=dedent(tests), calls=("check(f)",))
    given = {"cpu_s": 1.0, "wall_margin_s": 1.0, **limits}
    return Candidate(Solution(dedent(code), "verbatim"), "f", checks, Limits(**given))  # type: ignore[arg-type]


async def judged(sandbox: Sandbox, candidate: Candidate) -> tuple[Status, str]:
    execution = await sandbox.run(candidate)
    assert execution.judging == "two-process"
    found = verdict(candidate, execution)
    return found.status, found.detail


PASSING = {
    "values of every plain kind": (
        "def f(x): return x",
        """
        def check(f):
            for x in (None, True, 0, -1, 10**400, 1.5, float("inf"), 2j, "a\\udc80", b"\\0", [1, [2]], (1, (2,)),
                      {1: [2], "a": {None: ()}}, {1, 2}, frozenset({3}), bytearray(b"x")):
                assert f(x) == x and type(f(x)) is type(x), x
            assert f(float("nan")) != f(float("nan"))
        """,
    ),
    "keywords": ("def f(a, *, b=2): return (a, b)", "def check(f):\n    assert f(1, b=3) == (1, 3) and f(1) == (1, 2)"),
    "arguments that are changed": (
        "def f(x, y):\n    x[1].append(x.pop(0))\n    y['k'] = {1}\n    y.pop('gone')",
        """
        def check(f):
            inner = [2]
            x, y = [1, inner], {"gone": 0, "k": None}
            assert f(x, y) is None
            assert x == [[2, 1]] and y == {"k": {1}}
        """,
    ),
    "an inner list that is changed": (
        "def f(x): x[0].append(1)",
        "def check(f):\n    inner = []\n    f([inner])\n    assert inner == [1]",
    ),
    "a builtin exception": (
        "def f(x): return [][x]",
        "def check(f):\n    try:\n        f(5)\n    except IndexError as error:\n"
        "        assert str(error) == 'list index out of range'\n        return\n    assert False",
    ),
    "an exception of the solution's own": (
        "class Low(ValueError): pass\ndef f(x): raise Low(x)",
        "def check(f):\n    try:\n        f(5)\n    except Low as error:\n        assert str(error) == '5'\n"
        "        assert isinstance(error, ValueError)\n        return\n    assert False",
    ),
    "names of the solution's besides its entry point": (
        "import math\nLIMIT = [1, 2]\ndef twice(x): return 2 * x\ndef f(x): return twice(x)",
        "def check(f):\n    assert f(2) == twice(2) == 4 and math.sqrt(4) == 2 and LIMIT == [1, 2]",
    ),
    "state that calls leave to each other": (
        "seen = []\ndef f(x):\n    seen.append(x)\n    return len(seen)",
        "def check(f):\n    assert [f(0) for _ in range(3)] == [1, 2, 3]",
    ),
    "a name that the solution has not, in a branch that is not taken": (
        "def f(x): return x",
        "def check(f):\n    assert f(1) == 1 or missing",
    ),
}
NOT_PASSING = {
    "a wrong value": ("def f(x): return x + 1", "def check(f):\n    assert f(1) == 1, 'no'", Status.FAILED, "no"),
    "an object that equals everything": (
        "class A:\n    def __eq__(self, other): return True\ndef f(x): return A()",
        "def check(f):\n    assert f(1) == 1",
        Status.FAILED,
        "assert f(1) == 1",
    ),
    "an int that equals everything": (
        "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = None\ndef f(x): return A()",
        "def check(f):\n    assert f(1) == 1",
        Status.FAILED,
        "assert",
    ),
    "builtins of its own": (
        "abs = all = lambda *_: True\ndef f(x): return 0",
        "def check(f):\n    assert all([f(1) == 1])",
        Status.FAILED,
        "assert",
    ),
    "the end, where test code swallows everything": (
        "import os\ndef f(x): os._exit(0)",
        "def check(f):\n    try:\n        f(1)\n    except:\n        pass",
        Status.EXITED_EARLY,
        "exited with 0",
    ),
    "an endless call that test code swallows": (
        "def f(x):\n    while True: pass",
        "def check(f):\n    try:\n        f(1)\n    except BaseException:\n        pass",
        Status.TIMED_OUT,
        "CPU time",
    ),
    "an answer that is none": (
        "import os, struct\ndef f(x):\n    os.write(3, struct.pack('>I', 5) + b'[[[[[')\n    return x",
        "def check(f):\n    assert f(1) == 1",
        Status.CRASHED,
        "BadAnswer",
    ),
    "an answer of someone else's making": (
        'import os, struct\ndef f(x):\n    body = b\'{"value": {"o": 1}, "peak": 1}\'\n'
        "    os.write(3, struct.pack('>I', len(body)) + body)\n    return x",
        "def check(f):\n    assert f(1) == 1",
        Status.FAILED,
        "assert",
    ),
    "an int that takes for ever to print": (
        "def f(x): return 10 ** 4000000",
        "def check(f):\n    import sys\n    sys.set_int_max_str_digits(0)\n    assert str(f(1))[:2] == '11'",
        Status.TIMED_OUT,
        "CPU time",
    ),
}


@pytest.mark.parametrize("name", PASSING)
async def test_test_code_when_what_it_uses_is_plain_data_then_crosses(sandbox: Sandbox, name: str) -> None:
    assert await judged(sandbox, asked(*PASSING[name])) == (Status.PASSED, "")


@pytest.mark.parametrize("name", NOT_PASSING)
async def test_test_code_when_the_candidate_is_wrong_or_hostile_then_says_no(sandbox: Sandbox, name: str) -> None:
    code, tests, status, says = NOT_PASSING[name]
    found = await judged(sandbox, asked(code, tests))
    assert found[0] is status and says in found[1], found


async def test_test_code_when_it_hands_over_what_cannot_cross_then_is_no_verdict(sandbox: Sandbox) -> None:
    candidate = asked("def f(x): return x()", "def check(f):\n    assert f(lambda: 1) == 1")
    assert await judged(sandbox, candidate) == (
        Status.SANDBOX_ERROR,
        "an argument of f() is not plain data (function)",
    )
    beside = replace(candidate, tests=replace(candidate.tests, shared=True))
    assert verdict(beside, await sandbox.run(beside)).status is Status.PASSED


async def test_test_code_when_it_may_run_beside_then_it_does_only_where_something_cannot_cross(
    sandbox: Sandbox,
) -> None:
    for checks, judging, status in (
        ("assert f(lambda: 1) == 1", "one-process", Status.PASSED),
        ("assert f(lambda: 1) == 2", "one-process", Status.FAILED),
        ("assert f(1) == 1", "two-process", Status.CRASHED),
        ("assert g(1) == 1", "two-process", Status.PASSED),
        ("assert g(1) == 2", "two-process", Status.FAILED),
    ):
        candidate = asked("def f(x): return x()\ndef g(x): return x", f"def check(f):\n    {checks}")
        either = replace(candidate, tests=replace(candidate.tests, shared=None))
        execution = await sandbox.run(either)
        assert (execution.judging, verdict(either, execution).status) == (judging, status), checks


@pytest.mark.parametrize("shared", [None, False])
async def test_run_when_a_solution_gets_its_own_object_back_then_it_gave_no_answer(
    sandbox: Sandbox, shared: bool | None
) -> None:
    code = """
        class Equal:
            def __eq__(self, other): return True
        def f(x): return Equal()
        """
    for checks in ("assert f(f(1)) == 5", "x = [f(1)]\n    assert f(x) == 5"):
        candidate = asked(code, f"def check(f):\n    {checks}")
        either = replace(candidate, tests=replace(candidate.tests, shared=shared))
        execution = await sandbox.run(either)
        assert execution.judging == "two-process"
        assert verdict(either, execution).status is Status.CRASHED, checks


async def test_memory_when_a_candidate_searches_its_own_then_no_test_and_no_expected_value_is_there(
    sandbox: Sandbox,
) -> None:
    secret = "an-expected-value-that-nobody-guesses"
    code = """
        import gc, os, sys
        def f(x):
            wanted = "-".join(["an", "expected", "value", "that", "nobody", "guesses"]).encode()
            found = []
            for line in open("/proc/self/maps"):
                start, end = (int(part, 16) for part in line.split()[0].split("-"))
                if "r" in line.split()[1] and "[v" not in line:
                    import ctypes
                    text = ctypes.string_at(start, end - start)
                    found += [line for _ in range(text.count(wanted))]
            # Those that it made itself: the text, its parts, and the copy that it searches by.
            return len(found), sorted(os.listdir("/proc/self/fd"))[:5], len(gc.get_referrers(wanted))
        """
    tests = f"def check(f):\n    found = f(1)\n    assert found[0] > 3, (found, {secret!r})\n"
    counts = []
    for _ in range(3):  # the second and third of a problem: what came before might have been inherited
        execution = await sandbox.run(asked(code, tests, cpu_s=10.0))
        (call,) = execution.cases
        assert call.raised is not None and secret in call.raised.message, execution
        counts.append(call.raised.message)
    assert len(set(counts)) == 1, counts
