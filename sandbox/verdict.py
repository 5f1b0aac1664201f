"""The judgement of an execution: a pure function of the candidate and of what happened to it.

The first thing that went wrong, in the order of the tests, names the status.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from reprlib import Repr
from typing import Any

from core.types import Candidate, Case, CaseExecution, CaseVerdict, Execution, Raised, Status, Verdict


class _Repr(Repr):
    def repr_int(self, x: int, level: int) -> str:
        try:
            return super().repr_int(x, level)
        except ValueError:  # more digits than Python writes
            return f"an int of {x.bit_length()} bits"


_short = _Repr()
_short.maxstring = _short.maxother = _short.maxlong = 120
_short.maxlist = _short.maxtuple = _short.maxdict = _short.maxset = 12

KEPT_DETAIL = 1000
"""Characters of the candidate's own words in a detail."""
_STOPPED = {
    "cpu": (Status.TIMED_OUT, "the CPU time of its limit was used up"),
    "wall": (Status.TIMED_OUT, "it was still waiting when its wall time was up"),
    "memory": (Status.OUT_OF_MEMORY, "it ended for want of memory"),
    "output": (Status.OUTPUT_LIMIT, "it wrote more than the output limit"),
}


def verdict(candidate: Candidate, execution: Execution) -> Verdict:
    """Judge what happened. A sample passes only if every case and call was reached and passed, and the end too."""
    if execution.fault is not None:
        return Verdict(Status.SANDBOX_ERROR, execution.fault)
    judged = list(_cases(candidate, execution))
    wrong = next(((status, case.detail) for status, case in judged if status is not Status.PASSED), None)
    checked = list(_checks(candidate, execution))
    unlike = next((case.detail for case in checked if not case.passed), None)
    status, detail = wrong or _ending(execution)
    if status is Status.PASSED and unlike is not None:
        status, detail = Status.FAILED, unlike
    tests = candidate.tests
    weights = [case.weight for case in tests.cases] + [1.0] * len(tests.calls)
    unreached = [CaseVerdict(False, weight, "not reached") for weight in weights[len(judged) :]]
    return Verdict(status, detail, (*(case for _, case in judged), *unreached, *checked), execution.judging)


def same(value: Any, expected: Any, rel_tol: float = 0.0, abs_tol: float = 0.0) -> bool:
    """Whether two values of builtin types are equal as a test means it.

    As Python's `==`, but a bool is no number, NaN equals NaN, and two numbers match when
    |value - expected| <= max(rel_tol * |expected|, abs_tol), complex ones in each part. Sets and the keys of dicts are
    compared exactly.
    """
    if isinstance(expected, bool) or isinstance(value, bool):
        return value is expected
    if isinstance(expected, int | float | complex):
        return isinstance(value, int | float | complex) and all(
            _same_number(a, b, rel_tol, abs_tol) for a, b in ((value.real, expected.real), (value.imag, expected.imag))
        )
    if isinstance(expected, set | frozenset):
        return isinstance(value, set | frozenset) and _keys(value) == _keys(expected)
    if isinstance(expected, list | tuple):
        return (
            type(value) is type(expected)
            and len(value) == len(expected)
            and all(same(a, b, rel_tol, abs_tol) for a, b in zip(value, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(value, dict)
            and _keys(value) == _keys(expected)
            and all(same(value[key], item, rel_tol, abs_tol) for key, item in expected.items())
        )
    return bool(value == expected)


def _keys(values: Any) -> set[tuple[bool, Any]]:
    return {(isinstance(value, bool), value) for value in values}


def _same_number(value: float, expected: float, rel_tol: float, abs_tol: float) -> bool:
    if value == expected:
        return True
    if isinstance(value, float) and isinstance(expected, float) and math.isnan(value) and math.isnan(expected):
        return True
    try:
        distance = abs(value - expected)
        return math.isfinite(distance) and distance <= max(rel_tol * abs(expected), abs_tol)
    except OverflowError:  # an int that no float can hold
        return False


def _cases(candidate: Candidate, execution: Execution) -> Iterator[tuple[Status, CaseVerdict]]:
    """Each case and call that ended, judged."""
    cases = candidate.tests.cases
    for index, ran in enumerate(execution.cases):
        if index < len(cases):
            case = cases[index]
            status, detail = _data(case, ran)
            weight, name = case.weight, case.name or case.call
        else:
            status, detail = _call(ran)
            weight, name = 1.0, candidate.tests.calls[index - len(cases)]
        if detail:
            detail = f"{_short.repr(name)[1:-1]}: {detail}"
        yield status, CaseVerdict(status is Status.PASSED, weight, detail, ran.cpu_s, ran.peak_memory_bytes)


def _checks(candidate: Candidate, execution: Execution) -> Iterator[CaseVerdict]:
    """Each check of the source, judged: one that was not made is not passed."""
    for index, check in enumerate(candidate.tests.checks):
        found = execution.findings[index] if index < len(execution.findings) else "not checked"
        yield CaseVerdict(not found, detail=f"{check.name}: {_line(found)}" if found else "")


def _data(case: Case, ran: CaseExecution) -> tuple[Status, str]:
    if ran.raised is not None:
        if case.raises is not None and case.raises in ran.raised.kinds:
            return Status.PASSED, ""
        return _raised(ran.raised)
    if case.raises is not None:
        return Status.FAILED, f"gave {_short.repr(ran.value)}, expected {case.raises} to be raised"
    if same(ran.value, case.output, case.rel_tol, case.abs_tol):
        return Status.PASSED, ""
    return Status.FAILED, f"gave {_short.repr(ran.value)}, expected {_short.repr(case.output)}"


def _call(ran: CaseExecution) -> tuple[Status, str]:
    if ran.raised is None:
        return Status.PASSED, ""
    if "AssertionError" in ran.raised.kinds:
        where = next((line.strip() for line in reversed(ran.raised.traceback.splitlines()) if "assert" in line), "")
        return Status.FAILED, _line(ran.raised.message or where or "a test said no")
    return _raised(ran.raised)


def _raised(raised: Raised) -> tuple[Status, str]:
    detail = _line(f"{raised.kinds[0]}: {raised.message}" if raised.message else raised.kinds[0])
    if "MemoryError" in raised.kinds:
        return Status.OUT_OF_MEMORY, detail
    if "SystemExit" in raised.kinds:
        return Status.EXITED_EARLY, detail
    return Status.CRASHED, detail


def _line(text: str) -> str:
    """The candidate's words as one line that every encoding can write."""
    return " ".join(text[:KEPT_DETAIL].split()).encode("utf-8", "backslashreplace").decode()


def _ending(execution: Execution) -> tuple[Status, str]:
    """How it ended, where no case that ended says more."""
    if execution.stopped_by is not None:
        return _STOPPED[execution.stopped_by]
    if execution.raised is not None:
        status, detail = _raised(execution.raised)
        return (Status.COMPILE_ERROR if execution.stage == "compile" else status), detail
    if execution.stage == "done":
        return Status.PASSED, ""
    if execution.signal is not None:
        return Status.CRASHED, f"ended by signal {execution.signal}"
    return Status.EXITED_EARLY, f"exited with {execution.exit_code} before its tests ended"
