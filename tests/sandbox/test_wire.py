from __future__ import annotations

import json
import math
import struct
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.types import Case, Execution, Opaque, Raised, Status, Tests
from sandbox import wire
from sandbox.verdict import verdict
from tests.sandbox.candidates import BESIDE, CODE, DATA, candidate, case

NONCE = "0123456789abcdef"
HEADER = {
    "exit_code": 0,
    "signal": None,
    "stopped_by": None,
    "cpu_s": 0.5,
    "wall_s": 0.75,
    "peak_memory_bytes": 1024,
    "delay_s": None,
    "calls": [],
    "fault": None,
    "clean": True,
}
SPENT = {"cpu_s": 0.1, "wall_s": 0.2, "peak": 4096}
ERROR = {"kinds": ["TypeError", "Exception", "BaseException"], "message": "no", "traceback": "Traceback"}
START, DONE = {"stage": "tests"}, {"stage": "done"}
RIGHT = [START, {"value": 3, **SPENT}, {"value": "abc", **SPENT}, {"raised": ERROR, **SPENT}, DONE]
"""What a solution that passes `DATA` sends."""


def frame(record: Any, nonce: str = NONCE) -> bytes:
    if isinstance(record, dict):
        record = {**record, "nonce": nonce}
    return raw(json.dumps(record).encode())


def raw(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def read(reply: bytes, tests: Tests = DATA) -> Execution:
    return wire.execution(candidate(tests=tests), NONCE, HEADER, [reply, b"out", b"err"])


def status(reply: bytes, tests: Tests = DATA) -> Status:
    return verdict(candidate(tests=tests), read(reply, tests)).status


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_job_then_holds_nothing_of_what_is_expected() -> None:
    tests = Tests(
        (Case("add(1, 2)", "the expected value"), Case("add(0, 0)", raises="ExpectedError", name="the case's name"))
    )
    job = json.dumps(wire.job(candidate(tests=tests)))
    assert "add(1, 2)" in job
    assert not [secret for secret in ("the expected", "ExpectedError", "the case's name") if secret in job]


def test_job_then_has_a_nonce_of_its_own() -> None:
    assert len({wire.job(candidate())["nonce"] for _ in range(100)}) == 100


def test_job_when_a_case_has_a_limit_of_its_own_then_has_it_and_the_rest_the_candidates() -> None:
    tests = Tests((Case("add(1, 2)", 3, cpu_s=0.0), Case("add(1, 2)", 3, cpu_s=9.0), Case("add(1, 2)", 3)))
    assert [case["cpu_s"] for case in wire.job(candidate(tests=tests, cpu_s=2.0))["cases"]] == [0.0, 9.0, 2.0]


def test_longest_then_is_the_time_of_every_case_and_call_and_of_one_more_for_the_end() -> None:
    tests = Tests((Case("add(1, 2)", 3, cpu_s=5.0), Case("add(1, 2)", 3)), calls=("check(add)",))
    assert wire.longest(candidate(tests=tests, cpu_s=1.0, wall_margin_s=0.5)) == (5 + 1 + 1) + 5 + 4 * 0.5


@pytest.mark.parametrize(("tests", "judging"), [(DATA, "data"), (CODE, "two-process"), (BESIDE, "one-process")])
def test_judging_then_says_whether_test_code_had_a_word(tests: Tests, judging: str) -> None:
    assert wire.judging(candidate(tests=tests)) == judging
    assert read(b"", tests).judging == judging


# ── replies ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_execution_when_the_reply_is_whole_then_has_all_of_it() -> None:
    execution = read(b"".join(map(frame, RIGHT)))
    assert (execution.stage, execution.raised) == ("done", None)
    assert [ran.value for ran in execution.cases] == [3, "abc", None]
    assert execution.cases[2].raised == Raised(("TypeError", "Exception", "BaseException"), "no", "Traceback")
    assert {(ran.cpu_s, ran.wall_s, ran.peak_memory_bytes) for ran in execution.cases} == {(0.1, 0.2, 4096)}
    assert (execution.cpu_s, execution.wall_s, execution.peak_memory_bytes) == (0.5, 0.75, 1024)
    assert (execution.stdout, execution.stderr, execution.exit_code, execution.fault) == ("out", "err", 0, None)
    assert verdict(candidate(), execution).status is Status.PASSED


@pytest.mark.parametrize("stage", ["compile", "load"])
def test_execution_when_a_stage_failed_then_says_which_and_why(stage: str) -> None:
    execution = read(frame({"stage": stage, "raised": ERROR}) + b"".join(map(frame, RIGHT)))
    assert (execution.stage, execution.cases) == (stage, ())
    assert execution.raised is not None and execution.raised.message == "no"


def test_execution_when_output_is_no_text_then_is_readable_all_the_same() -> None:
    execution = wire.execution(candidate(), NONCE, HEADER, [b"", b"\xff\xfeok", b"\x00\xed\xa0\x80"])
    assert execution.stdout == "\ufffd\ufffdok"
    assert execution.stderr.startswith("\x00\ufffd")


def test_execution_when_the_reply_is_cut_anywhere_then_cannot_pass() -> None:
    whole = b"".join(map(frame, RIGHT))
    assert {status(whole[:end]) for end in range(len(whole))} == {Status.EXITED_EARLY}


def test_execution_when_the_reply_turns_hostile_then_what_came_before_counts() -> None:
    execution = read(b"".join(map(frame, RIGHT[:2])) + b"garbage")
    assert [ran.value for ran in execution.cases] == [3]
    assert execution.stage == "tests"


def with_third(record: dict[str, Any]) -> bytes:
    """The right reply, but for its third case."""
    return b"".join(map(frame, [*RIGHT[:3], record, DONE]))


HOSTILE = {
    "nothing": b"",
    "zeros": b"\0" * 4096,
    "noise": bytes(range(256)) * 16,
    "a length and nothing": b"\xff\xff\xff\xff",
    "a verdict": raw(b"passed") + raw(b'{"status": "passed"}'),
    "another nonce": b"".join(frame(record, "f" * 16) for record in RIGHT),
    "a nonce that is no text": b"".join(raw(json.dumps({**record, "nonce": 1}).encode()) for record in RIGHT),
    "a nonce beyond ASCII": b"".join(frame(record, "é" * 16) for record in RIGHT),
    "no nonce": b"".join(raw(json.dumps(record).encode()) for record in RIGHT),
    "lists": frame([START]) * 5,
    "no stage but done": frame(DONE),
    "done too early": b"".join(map(frame, [START, DONE])),
    "one case too few": b"".join(map(frame, [*RIGHT[:3], DONE])),
    "one case too many": b"".join(map(frame, [*RIGHT[:4], RIGHT[1], DONE])),
    "a stage twice": b"".join(map(frame, [START, *RIGHT])),
    "a stage of no name": b"".join(map(frame, [{"stage": "passed"}, *RIGHT])),
    "cases before the stage": b"".join(map(frame, [*RIGHT[1:], *RIGHT])),
    "a failure after the start": b"".join(map(frame, [START, {"stage": "load", "raised": ERROR}, *RIGHT[1:]])),
    "a failure without a reason": b"".join(map(frame, [{"stage": "load"}, *RIGHT])),
    "invalid JSON": b"".join(map(frame, RIGHT[:3])) + raw(b'{"value": 3,'),
    "invalid UTF-8": b"".join(map(frame, RIGHT[:3])) + raw(b'"\xff\xfe\xfd"'),
    "deep JSON": b"".join(map(frame, RIGHT[:3])) + raw(b"[" * 1_000_000),
    "deep values": with_third({"value": json.loads("[" * 900 + "]" * 900), **SPENT}),
    "NaN": b"".join(map(frame, RIGHT[:3])) + raw(b'{"nonce": "%s", "value": NaN}' % NONCE.encode()),
    "a number of a million digits": b"".join(map(frame, RIGHT[:3])) + raw(b"9" * 1_000_000),
    "an endless time": with_third({"raised": ERROR, **SPENT, "cpu_s": 1e999}),
    "a time before its start": with_third({"raised": ERROR, **SPENT, "wall_s": -1.0}),
    "a time that is none": with_third({"raised": ERROR, **SPENT, "cpu_s": "nan"}),
    "a peak beyond all memory": with_third({"raised": ERROR, **SPENT, "peak": 10**300}),
    "no times": with_third({"raised": ERROR}),
    "an exception of no kind": with_third({"raised": {**ERROR, "kinds": []}, **SPENT}),
    "an exception that is a text": with_third({"raised": "TypeError", **SPENT}),
    "kinds that are a text": with_third({"raised": {**ERROR, "kinds": "TypeError"}, **SPENT}),
    "neither value nor exception": with_third(SPENT),
    "half a complex number": with_third({"value": {"c": [1]}, **SPENT}),
}


@pytest.mark.parametrize("reply", HOSTILE.values(), ids=HOSTILE)
def test_execution_when_the_reply_is_hostile_then_cannot_pass(reply: bytes) -> None:
    assert status(reply) is not Status.PASSED


def test_execution_when_a_value_cannot_be_rebuilt_then_it_is_a_wrong_value_and_no_more() -> None:
    collide = {"s": [{"i": f"{number * sys.hash_info.modulus:x}"} for number in range(1, 200)]}
    for value in (collide, {"c": [1]}, {"x": 1}, {"d": [[{"d": []}, 1]]}):
        reply = b"".join(map(frame, [START, {"value": value, **SPENT}, *RIGHT[2:]]))
        assert [ran.value for ran in read(reply).cases] == [Opaque("a value that cannot be rebuilt"), "abc", None]
        assert status(reply) is Status.FAILED


def test_execution_when_more_follows_done_then_it_is_not_read() -> None:
    whole = b"".join(map(frame, RIGHT))
    assert read(whole + frame(RIGHT[1]) + b"garbage") == read(whole)


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_execution_when_the_reply_is_any_bytes_then_cannot_pass(noise: bytes) -> None:
    right = b"".join(map(frame, RIGHT[:-1]))
    assert status(noise) is not Status.PASSED
    assert status(right + noise) is not Status.PASSED


TAGS = st.sampled_from("iftdszbaco")
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TAGS | st.text(max_size=2), inner, max_size=2),
    max_leaves=12,
)
RAISED = st.fixed_dictionaries({}, optional={"kinds": ANYTHING, "message": ANYTHING, "traceback": ANYTHING})
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "stage": st.sampled_from(["compile", "load", "tests", "done", None]) | ANYTHING,
        "value": ANYTHING,
        "raised": RAISED | ANYTHING,
        "cpu_s": st.just(0.1) | ANYTHING,
        "wall_s": st.just(0.1) | ANYTHING,
        "peak": st.just(1) | ANYTHING,
    },
)


@given(st.lists(RECORDS, max_size=4), st.booleans())
@settings(deadline=None)
def test_verdict_when_the_nonce_is_stolen_then_any_reply_is_judged_and_none_can_pass(
    records: list[Any], begun: bool
) -> None:
    start = [START] if begun else []
    tests = case("add(1, 2)", math.pi)
    assert status(b"".join(map(frame, [*start, *records, DONE])), tests) is not Status.PASSED
