from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from core.types import Case, CaseExecution, CaseVerdict, Execution, Opaque, Raised, Status, Tests
from sandbox.verdict import KEPT_DETAIL, same, verdict
from tests.sandbox.candidates import CODE, DATA, candidate, case

BASES = ("Exception", "BaseException")
THREE, TEXT, REFUSAL = (
    CaseExecution(3, cpu_s=0.5, peak_memory_bytes=64),
    CaseExecution("abc"),
    CaseExecution(raised=Raised(("TypeError", *BASES), "no")),
)
RIGHT = (THREE, TEXT, REFUSAL)
"""What a solution that passes `DATA` does."""


def raised(*kinds: str, message: str = "why", traceback: str = "") -> CaseExecution:
    return CaseExecution(raised=Raised((*kinds, *BASES), message, traceback))


def ended(*cases: CaseExecution, **facts: Any) -> Execution:
    """An execution that came to its end with status 0, but for the facts given."""
    return Execution(**{"stage": "done", "cases": cases, "exit_code": 0, **facts})


def stopped(*cases: CaseExecution, **facts: Any) -> Execution:
    """An execution that the sandbox stopped in its tests."""
    return ended(*cases, **{"stage": "tests", "exit_code": None, "signal": 9, **facts})


EXECUTIONS: dict[str, tuple[Execution, Status, str]] = {
    "all right": (ended(*RIGHT), Status.PASSED, ""),
    "a wrong value": (ended(CaseExecution(4), TEXT, REFUSAL), Status.FAILED, "add(1, 2): gave 4, expected 3"),
    "a value that is no data": (
        ended(CaseExecution(Opaque("Liar")), TEXT, REFUSAL),
        Status.FAILED,
        "gave Opaque(kind='Liar'), expected 3",
    ),
    "a value for an exception": (
        ended(THREE, TEXT, CaseExecution(None)),
        Status.FAILED,
        "add(None, 1): gave None, expected TypeError to be raised",
    ),
    "an exception for a value": (ended(raised("KeyError"), TEXT, REFUSAL), Status.CRASHED, "KeyError: why"),
    "an assertion of its own": (ended(raised("AssertionError"), TEXT, REFUSAL), Status.CRASHED, "AssertionError: why"),
    "another exception": (ended(THREE, TEXT, raised("ValueError")), Status.CRASHED, "ValueError: why"),
    "an exception's subclass": (ended(THREE, TEXT, raised("Picky", "TypeError")), Status.PASSED, ""),
    "an exit in a case": (ended(raised("SystemExit"), TEXT, REFUSAL), Status.EXITED_EARLY, "SystemExit: why"),
    "no memory in a case": (ended(raised("MemoryError"), TEXT, REFUSAL), Status.OUT_OF_MEMORY, "MemoryError: why"),
    "two faults, the first": (ended(CaseExecution(4), raised("KeyError"), REFUSAL), Status.FAILED, "gave 4"),
    "two faults, the other first": (ended(raised("KeyError"), CaseExecution(4), REFUSAL), Status.CRASHED, "KeyError"),
    "a wrong value, then a stop": (stopped(CaseExecution(4), stopped_by="cpu"), Status.FAILED, "gave 4"),
    "CPU time": (stopped(THREE, stopped_by="cpu"), Status.TIMED_OUT, "CPU time"),
    "wall time": (stopped(stopped_by="wall"), Status.TIMED_OUT, "waiting"),
    "memory": (stopped(THREE, stopped_by="memory"), Status.OUT_OF_MEMORY, "memory"),
    "output": (stopped(THREE, stopped_by="output"), Status.OUTPUT_LIMIT, "output limit"),
    "a stop after its last word": (ended(*RIGHT, stopped_by="output"), Status.OUTPUT_LIMIT, "output limit"),
    "a signal": (stopped(THREE, TEXT, signal=11), Status.CRASHED, "signal 11"),
    "an exit": (ended(THREE, stage="tests"), Status.EXITED_EARLY, "exited with 0 before its tests ended"),
    "an exit with all cases right": (ended(*RIGHT, stage="tests"), Status.EXITED_EARLY, "exited with 0"),
    "an exit at its top level": (ended(stage="load", exit_code=3), Status.EXITED_EARLY, "exited with 3"),
    "a syntax error": (
        ended(stage="compile", raised=Raised(("SyntaxError", *BASES), "invalid syntax")),
        Status.COMPILE_ERROR,
        "SyntaxError: invalid syntax",
    ),
    "no memory to compile": (
        ended(stage="compile", raised=Raised(("MemoryError", *BASES), "")),
        Status.COMPILE_ERROR,
        "MemoryError",
    ),
    "an exception at its top level": (
        ended(stage="load", raised=Raised(("NameError", *BASES), "x")),
        Status.CRASHED,
        "NameError: x",
    ),
    "no memory at its top level": (
        ended(stage="load", raised=Raised(("MemoryError", *BASES), "")),
        Status.OUT_OF_MEMORY,
        "MemoryError",
    ),
    "SystemExit at its top level": (
        ended(stage="load", raised=Raised(("SystemExit", "BaseException"), "0")),
        Status.EXITED_EARLY,
        "SystemExit: 0",
    ),
    "a fault of the sandbox": (ended(*RIGHT, fault="the container ended"), Status.SANDBOX_ERROR, "the container ended"),
}


@pytest.mark.parametrize(("execution", "status", "detail"), EXECUTIONS.values(), ids=EXECUTIONS)
def test_verdict_when_this_happened_then_this_is_its_status(execution: Execution, status: Status, detail: str) -> None:
    judged = verdict(candidate(), execution)
    assert judged.status is status
    assert detail in judged.detail if detail else judged.detail == ""


@pytest.mark.parametrize(
    ("execution", "status", "detail"),
    [
        (ended(CaseExecution(None)), Status.PASSED, ""),
        (ended(raised("AssertionError", message="told")), Status.FAILED, "check(add): told"),
        (
            ended(raised("AssertionError", message="", traceback="  assert add(1, 2) == 3\nAssertionError")),
            Status.FAILED,
            "check(add): assert add(1, 2) == 3",
        ),
        (ended(raised("AssertionError", message="")), Status.FAILED, "check(add): a test said no"),
        (ended(raised("KeyError")), Status.CRASHED, "check(add): KeyError: why"),
        (ended(raised("SystemExit")), Status.EXITED_EARLY, "check(add): SystemExit: why"),
        (ended(raised("MemoryError")), Status.OUT_OF_MEMORY, "check(add): MemoryError: why"),
        (ended(stage="tests"), Status.EXITED_EARLY, "exited with 0 before its tests ended"),
    ],
    ids=lambda value: value.value if isinstance(value, Status) else "",
)
def test_verdict_when_test_code_ran_then_what_it_raised_decides(
    execution: Execution, status: Status, detail: str
) -> None:
    judged = verdict(candidate(tests=CODE), execution)
    assert (judged.status, judged.detail) == (status, detail)


def test_verdict_when_all_passed_then_each_case_is_kept_with_its_weight_and_what_it_took() -> None:
    first, *rest = DATA.cases
    tests = Tests((replace(first, weight=2.5), *rest))
    judged = verdict(candidate(tests=tests), ended(*RIGHT, judging="data"))
    assert judged.cases == (CaseVerdict(True, 2.5, "", 0.5, 64), CaseVerdict(True), CaseVerdict(True))
    assert judged.judging == "data"


def test_verdict_when_cases_were_not_reached_then_they_are_there_and_did_not_pass() -> None:
    tests = replace(CODE, cases=DATA.cases)
    judged = verdict(candidate(tests=tests), stopped(THREE, stopped_by="wall"))
    unreached = CaseVerdict(False, 1.0, "not reached")
    assert judged.cases == (CaseVerdict(True, 1.0, "", 0.5, 64), *[unreached] * 3)


def test_verdict_when_a_later_case_passed_then_the_wrong_one_still_names_the_status() -> None:
    judged = verdict(candidate(), ended(THREE, CaseExecution("no"), REFUSAL))
    assert judged.status is Status.FAILED
    assert [case.passed for case in judged.cases] == [True, False, True]


def test_verdict_when_a_case_has_a_name_then_the_detail_has_it() -> None:
    tests = case("add(1, 2)", 3, name="small numbers")
    assert verdict(candidate(tests=tests), ended(CaseExecution(0))).detail == "small numbers: gave 0, expected 3"


def test_verdict_when_a_case_has_a_tolerance_then_it_is_of_that_case_alone() -> None:
    tests = Tests((Case("add(1, 2)", 1.0, abs_tol=0.1), Case("add(1, 2)", 1.0)))
    judged = verdict(candidate(tests=tests), ended(CaseExecution(1.05), CaseExecution(1.05)))
    assert [case.passed for case in judged.cases] == [True, False]


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        [10**5000],
        {10**5000: -(10**5000)},
        "x" * 10**6,
        list(range(10**6)),
        {"\ud800"},
        b"\xff" * 10**6,
        1e308,
    ],
    ids=["int", "in a list", "in a dict", "text", "list", "surrogate", "bytes", "float"],
)
def test_detail_when_the_value_is_huge_or_strange_then_is_one_short_line(value: Any) -> None:
    for output in (3, 3.5, 1e308j, value if value != 1e308 else 10**5000):
        judged = verdict(candidate(tests=case("add(1, 2)", output, rel_tol=1e-9)), ended(CaseExecution([value])))
        assert judged.status is Status.FAILED
        assert len(judged.detail) < 2500
        assert "\n" not in judged.detail.encode().decode()


def test_detail_when_an_exceptions_words_are_many_or_strange_then_is_one_short_line() -> None:
    judged = verdict(candidate(), ended(raised("Error\n", message="one\n\n| two\r\n\ud800" + "x" * 10**6)))
    assert judged.detail.startswith("add(1, 2): Error : one | two \\ud800xxx")
    assert len(judged.detail) < KEPT_DETAIL + 100
    assert "\n" not in judged.detail.encode().decode()


# ── same ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

NAN, INF = math.nan, math.inf

EQUAL = [
    (None, None),
    (True, True),
    (1, 1),
    (1, 1.0),
    (1.0, 1),
    (0.0, -0.0),
    (10**400, 10**400),
    (NAN, -NAN),
    (INF, INF),
    (complex(1, NAN), complex(1, NAN)),
    (1, 1 + 0j),
    (1 + 0j, 1.0),
    ("a", "a"),
    ("\ud800", "\ud800"),
    (b"a", b"a"),
    (bytearray(b"a"), b"a"),
    (b"a", bytearray(b"a")),
    ([], []),
    ([1, [2, (3,)]], [1.0, [2, (3,)]]),
    ({1, 2}, {2, 1}),
    ({1}, frozenset({1})),
    ({frozenset({1})}, {frozenset({1})}),
    ({"a": 1, "b": [NAN]}, {"b": [NAN], "a": 1}),
    ({1: "x"}, {1.0: "x"}),
    ({True: 1}, {True: 1}),
]
UNEQUAL = [
    (None, False),
    (0, None),
    (True, 1),
    (1, True),
    (0, False),
    (False, 0.0),
    ([True], [1]),
    ({True}, {1}),
    ({1: 0}, {True: 0}),
    ({"a": True}, {"a": 1}),
    (1, 2),
    (1, "1"),
    ("1", 1),
    (1.0, 1.0000000000000002),
    (0.1 + 0.2, 0.3),
    (NAN, 0.0),
    (0.0, NAN),
    (INF, -INF),
    (INF, 1e308),
    (10**400, 1.5),
    (1.5, 10**400),
    (10**400, INF),
    (1j, 1),
    (1, 1j),
    ("a", b"a"),
    ("", None),
    ([], ()),
    ((1, 2), [1, 2]),
    ([1, 2], [2, 1]),
    ([1], [1, 2]),
    ([1, 2], [1]),
    ([], None),
    ([], ""),
    ([], {}),
    ({}, set()),
    ({}, []),
    ({1}, {1, 2}),
    ({1}, [1]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {"b": 1}),
    ({"a": 1}, {"a": 1, "b": 1}),
    ({"a": 1, "b": 1}, {"a": 1}),
    (Opaque("int"), 1),
    (Opaque("list"), []),
    (Opaque("NoneType"), None),
    (Opaque("set"), set()),
    (Opaque("str"), "str"),
]


@pytest.mark.parametrize(("value", "expected"), EQUAL, ids=repr)
def test_same_when_equal_then_true(value: Any, expected: Any) -> None:
    assert same(value, expected) is True


@pytest.mark.parametrize(("value", "expected"), UNEQUAL, ids=repr)
def test_same_when_unequal_then_false(value: Any, expected: Any) -> None:
    assert same(value, expected) is False


@pytest.mark.parametrize(
    ("value", "expected", "rel_tol", "abs_tol", "equal"),
    [
        (1.1, 1.0, 0.0, 0.125, True),
        (1.2, 1.0, 0.0, 0.125, False),
        (0.9, 1.0, 0.0, 0.125, True),
        (110.0, 100.0, 0.1, 0.0, True),
        (111.0, 100.0, 0.1, 0.0, False),
        (100.0, 111.0, 0.1, 0.0, True),  # relative to what is expected
        (112.0, 100.0, 0.1, 12.0, True),  # whichever is larger
        (11, 10, 0.0, 1.0, True),
        (12, 10, 0.0, 1.0, False),
        (1 + 1.1j, 1 + 1j, 0.0, 0.125, True),
        (1 + 1.2j, 1 + 1j, 0.0, 0.125, False),
        ([1.1, {"a": (2.1,)}], [1.0, {"a": (2.0,)}], 0.0, 0.125, True),
        ({1.05}, {1.0}, 0.0, 0.125, False),  # in a set, exactly
        ({1.05: 0}, {1.0: 0}, 0.0, 0.125, False),  # as a key, exactly
        (True, 1, 1.0, 1.0, False),
        (1, True, 1.0, 1.0, False),
        ("a", "b", 1.0, 1.0, False),
        (NAN, 1.0, 1.0, 1.0, False),
        (INF, 1.0, 1.0, 1e308, False),
        (1.0, INF, 1.0, 1.0, False),
        (1.0, INF, 0.0, INF, False),
        (-INF, INF, 1.0, 0.0, False),
        (1e308, -1e308, 1.0, 1e308, False),
        (10**400, 1.0, 1.0, 1.0, False),
        (1, 10**400, 1e-9, 0.0, False),
    ],
)
def test_same_when_there_is_a_tolerance_then_numbers_match_within_it(
    value: Any, expected: Any, rel_tol: float, abs_tol: float, equal: bool
) -> None:
    assert same(value, expected, rel_tol, abs_tol) is equal
