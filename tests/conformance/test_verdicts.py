"""What every backend must make of a candidate: each status, each limit, each value."""

from __future__ import annotations

import asyncio
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from core.types import Candidate, Case, Execution, Opaque, Status, Tests, Verdict
from sandbox.base import Sandbox
from sandbox.verdict import verdict
from tests.sandbox.candidates import CODE, CORRECT, candidate, case

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def judge(sandbox: Sandbox, asked: Candidate) -> tuple[Verdict, Execution]:
    execution = await sandbox.run(asked)
    return verdict(asked, execution), execution


# ── statuses ─────────────────────────────────────────────────────────────────────────────────────────────────────────

MIB = 1 << 20
BUSY = {"wall_margin_s": 60.0}
"""However busy the machine, its CPU time must be what stops it."""
STATUSES: dict[str, tuple[Status, str, Candidate]] = {
    "correct": (Status.PASSED, "", candidate()),
    "correct, by test code": (Status.PASSED, "", candidate(tests=CODE)),
    "correct, and busy": (
        Status.PASSED,
        "",
        candidate(
            """
            import time
            def add(a, b):
                end = time.process_time() + 0.3
                while time.process_time() < end:
                    pass
                return a + b
            """
        ),
    ),
    "correct, and slow to answer": (
        Status.PASSED,
        "",
        candidate("import time\ndef add(a, b):\n    time.sleep(0.4)\n    return a + b\n"),
    ),
    "correct, and leaves a thread": (
        Status.PASSED,
        "",
        candidate(CORRECT + "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"),
    ),
    "correct, and leaves a process": (
        Status.PASSED,
        "",
        candidate(CORRECT + "import os, time\nif os.fork() == 0:\n    time.sleep(60)\n    os._exit(1)\n"),
    ),
    "wrong": (Status.FAILED, "gave -1, expected 3", candidate("def add(a, b):\n    return a - b\n")),
    "wrong, by test code": (
        Status.FAILED,
        "assert candidate(1, 2) == 3",
        candidate("def add(a, b):\n    return -1\n", CODE),
    ),
    "raises nothing where it should": (
        Status.FAILED,
        "expected TypeError to be raised",
        candidate("def add(a, b):\n    return a and a + b\n"),
    ),
    "defines nothing": (Status.CRASHED, "NameError: name 'add' is not defined", candidate("pass\n")),
    "empty": (Status.CRASHED, "NameError: name 'add' is not defined", candidate("")),
    "raises at its top level": (Status.CRASHED, "ZeroDivisionError", candidate("1 / 0\n")),
    "raises in the function": (Status.CRASHED, "KeyError: 'x'", candidate("def add(a, b):\n    return {}['x']\n")),
    "imports what is not there": (
        Status.CRASHED,
        "ModuleNotFoundError: No module named 'pandas'",
        candidate("import pandas\n" + CORRECT),
    ),
    "segmentation fault": (
        Status.CRASHED,
        "signal 11",
        candidate("import ctypes\ndef add(a, b):\n    ctypes.string_at(0)\n"),
    ),
    "recursion without end": (
        Status.CRASHED,
        "RecursionError",
        candidate("def add(a, b):\n    return add(a, b)\n", cpu_s=3.0),
    ),
    "no Python": (Status.COMPILE_ERROR, "SyntaxError", candidate("def add(a, b:\n")),
    "a null byte": (Status.COMPILE_ERROR, "null byte", candidate(CORRECT + "\0")),
    "a lone surrogate": (Status.COMPILE_ERROR, "UnicodeEncodeError", candidate(CORRECT + "# \ud800")),
    "exits at its top level": (Status.EXITED_EARLY, "SystemExit: 0", candidate(CORRECT + "raise SystemExit(0)\n")),
    "exits in the function": (
        Status.EXITED_EARLY,
        "SystemExit",
        candidate("import sys\ndef add(a, b):\n    sys.exit()\n"),
    ),
    "exits without a word": (
        Status.EXITED_EARLY,
        "exited with 0 before its tests ended",
        candidate("import os\ndef add(a, b):\n    os._exit(0)\n"),
    ),
    "CPU at its top level": (Status.TIMED_OUT, "CPU time", candidate("while True:\n    pass\n", **BUSY)),
    "CPU in the function": (
        Status.TIMED_OUT,
        "CPU time",
        candidate(
            """
            def add(a, b):
                while True:
                    try:
                        sum(range(10**6))
                    except BaseException:
                        pass
            """,
            **BUSY,
        ),
    ),
    "CPU in C": (Status.TIMED_OUT, "CPU time", candidate("def add(a, b):\n    return sum(range(10**12))\n", **BUSY)),
    "CPU of children": (
        Status.TIMED_OUT,
        "CPU time",
        candidate(
            """
            import os
            def add(a, b):
                for _ in range(2):
                    if os.fork() == 0:
                        while True:
                            pass
                os.wait()
            """,
            **BUSY,
        ),
    ),
    "sleeps": (
        Status.TIMED_OUT,
        "still waiting",
        candidate("import time\ndef add(a, b):\n    time.sleep(60)\n", cpu_s=0.3, wall_margin_s=0.3),
    ),
    "waits for itself": (
        Status.TIMED_OUT,
        "still waiting",
        candidate(
            "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()\n", cpu_s=0.3, wall_margin_s=0.3
        ),
    ),
    "memory at once": (
        Status.OUT_OF_MEMORY,
        "MemoryError",
        candidate("def add(a, b):\n    return len(bytearray(10 << 30))\n"),
    ),
    "memory bit by bit": (
        Status.OUT_OF_MEMORY,
        "MemoryError",
        candidate("kept = []\nwhile True:\n    kept.append(bytes(1 << 20))\n", cpu_s=5.0, memory_bytes=256 * MIB),
    ),
    "output": (Status.OUTPUT_LIMIT, "output limit", candidate("while True:\n    print('x' * 1000)\n")),
    "output on standard error": (
        Status.OUTPUT_LIMIT,
        "output limit",
        candidate("import sys\nwhile True:\n    sys.stderr.write('x' * 1000)\n"),
    ),
    "output, a little too much in the end": (
        Status.OUTPUT_LIMIT,
        "output limit",
        candidate(CORRECT + "print('x' * 2000)\n", output_bytes=2000),
    ),
    "a reply too large": (
        Status.OUTPUT_LIMIT,
        "output limit",
        candidate("def add(a, b):\n    return 'x' * (3 << 20)\n", reply_bytes=2 * MIB),
    ),
}


@pytest.mark.parametrize(("status", "detail", "asked"), STATUSES.values(), ids=STATUSES)
async def test_run_when_a_candidate_does_this_then_this_is_its_status(
    sandbox: Sandbox, status: Status, detail: str, asked: Candidate
) -> None:
    judged, _ = await judge(sandbox, asked)
    assert (judged.status, detail in judged.detail) == (status, True), judged


@pytest.mark.slow
async def test_run_when_several_processes_together_use_up_the_memory_then_out_of_memory(sandbox: Sandbox) -> None:
    asked = candidate(
        """
        import os, time
        for _ in range(6):
            if os.fork() == 0:
                kept = bytearray(b"x" * (400 << 20))
                time.sleep(600)
        os.wait()
        def add(a, b):
            return a + b
        """,
        cpu_s=30.0,
        **BUSY,
    )
    judged, _ = await judge(sandbox, asked)
    assert judged.status is Status.OUT_OF_MEMORY, judged


# ── limits ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_limit_of_output_when_just_reached_then_nothing_happens(sandbox: Sandbox) -> None:
    judged, execution = await judge(sandbox, candidate(CORRECT + "print('x' * 1999)\n", output_bytes=2000))
    assert judged.status is Status.PASSED
    assert execution.stdout == "x" * 1999 + "\n"


async def test_limit_of_cpu_when_a_case_has_its_own_then_it_holds_for_that_case_alone(sandbox: Sandbox) -> None:
    burn = """
        import time
        def add(a, b):
            end = time.process_time() + a
            while time.process_time() < end:
                pass
            return b
        """
    generous = Tests((Case("add(0.0, 1)", 1), Case("add(0.5, 2)", 2, cpu_s=3.0), Case("add(0.0, 3)", 3)))
    judged, _ = await judge(sandbox, candidate(burn, generous, cpu_s=0.4))
    assert judged.status is Status.PASSED, judged
    mean = Tests((Case("add(0.5, 1)", 1), Case("add(2.0, 2)", 2, cpu_s=0.2), Case("add(0.0, 3)", 3)))
    judged, execution = await judge(sandbox, candidate(burn, mean, cpu_s=3.0))
    assert judged.status is Status.TIMED_OUT, judged
    assert [case.passed for case in judged.cases] == [True, False, False]
    assert execution.cpu_s < 2.0


async def test_limit_of_cpu_when_many_cases_use_some_each_then_they_do_not_add_up(sandbox: Sandbox) -> None:
    tests = Tests(tuple(Case(f"add({number}, 0)", number) for number in range(6)))
    asked = candidate(STATUSES["correct, and busy"][2].solution.code, tests, cpu_s=1.0)
    judged, execution = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged
    assert execution.cpu_s > 1.5
    assert all(0.25 < case.cpu_s < 1.0 for case in execution.cases)


async def test_limit_of_memory_when_below_then_it_can_be_used(sandbox: Sandbox) -> None:
    asked = candidate("kept = bytes(300 << 20)\n" + CORRECT, memory_bytes=512 * MIB)
    judged, execution = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged
    assert execution.peak_memory_bytes > 0


async def test_limit_of_processes_when_reached_then_creating_one_more_fails_in_the_candidate(sandbox: Sandbox) -> None:
    asked = candidate(
        """
        import threading
        stop = threading.Event()
        threads = 1
        def count():
            global threads
            try:
                while threads < 100:
                    threading.Thread(target=stop.wait).start()
                    threads += 1
            except RuntimeError as error:
                return str(error), threads
            finally:
                stop.set()
        """,
        case("count()", ("can't start new thread", 16)),
        processes=16,
    )
    judged, _ = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged


async def test_limit_of_a_file_when_reached_then_writing_fails_in_the_candidate(sandbox: Sandbox) -> None:
    asked = candidate(
        """
        import errno, os, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        def large():
            try:
                with open("/tmp/large", "wb") as file:
                    while True:
                        file.write(bytes(1 << 20))
            except OSError as error:
                return os.path.getsize("/tmp/large") <= 64 << 20, errno.errorcode[error.errno]
        """,
        case("large()", (True, "EFBIG")),
        cpu_s=5.0,
    )
    judged, _ = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged
    assert (await judge(sandbox, candidate()))[0].status is Status.PASSED


async def test_limit_of_files_when_reached_then_one_more_fails_in_the_candidate(sandbox: Sandbox) -> None:
    asked = candidate(
        """
        import errno, os
        def many():
            try:
                for number in range(10**6):
                    os.mknod(f"/tmp/{number}")
            except OSError as error:
                return number < 30_000, errno.errorcode[error.errno]
        """,
        case("many()", (True, "ENOSPC")),
        cpu_s=5.0,
    )
    judged, _ = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged
    assert (await judge(sandbox, candidate()))[0].status is Status.PASSED


# ── values ───────────────────────────────────────────────────────────────────────────────────────────────────────────

VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    (1 << 53) + 1,
    10**5000,
    -(2**64),
    0.1,
    -0.0,
    5e-324,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    complex(1.5, -0.0),
    "",
    "naïve ∑ 😀 \0 \r\n \u2028",
    b"\x00\xff",
    bytearray(b"ab"),
    [],
    (),
    {},
    set(),
    frozenset(),
    [1, [2.0, ("3", {4: b"5"})]],
    {(1, "a"): {frozenset({1}): None}, 2.5: [True, False]},
    {1, "a", (2, 3), None, 4.5},
]


async def test_values_when_returned_then_the_host_has_exactly_those(sandbox: Sandbox) -> None:
    tests = Tests(tuple(Case(f"add({number}, 0)", value) for number, value in enumerate(VALUES)))
    code = f"import sys\nsys.set_int_max_str_digits(0)\nVALUES = {VALUES[:5]!r} + [10**5000] + "
    code += repr(VALUES[6:]).replace("inf", "float('inf')")
    asked = candidate(f"{code}\ndef add(a, b):\n    return VALUES[a]\n", tests)
    judged, execution = await judge(sandbox, asked)
    assert judged.status is Status.PASSED, judged
    values = [case.value for case in execution.cases]
    assert [type(value) for value in values] == [type(value) for value in VALUES]
    assert math.copysign(1, values[8]) == -1.0


async def test_values_when_they_are_no_plain_data_then_only_their_type_is_known(sandbox: Sandbox) -> None:
    asked = candidate("def add(a, b):\n    return [object(), (x for x in 'ab'), 1]\n")
    _, execution = await judge(sandbox, asked)
    assert execution.cases[0].value == [Opaque("object"), Opaque("generator"), 1]


async def test_cases_when_one_changes_what_it_was_given_then_the_next_has_its_own(sandbox: Sandbox) -> None:
    tests = Tests(
        (
            Case("grow(items)", [1, 2], setup="items = [1]"),
            Case("grow(items)", [1, 2], setup="items = [1]"),
            Case("'items' in globals() or 'leak' in globals()", False, setup="items_ = leak_ = 0"),
        )
    )
    judged, _ = await judge(sandbox, candidate("def grow(items):\n    items.append(2)\n    return items\n", tests))
    assert judged.status is Status.PASSED, judged


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise TypeError('no')", Status.PASSED),
        ("class Picky(TypeError): pass\n    raise Picky", Status.PASSED),
        ("raise ValueError('no')", Status.CRASHED),
        ("return TypeError('no')", Status.FAILED),
        ("raise SystemExit", Status.EXITED_EARLY),
        ("raise MemoryError", Status.OUT_OF_MEMORY),
    ],
)
async def test_exceptions_when_one_is_expected_then_it_or_a_subclass_passes(
    sandbox: Sandbox, code: str, status: Status
) -> None:
    asked = candidate(f"def add(a, b):\n    {code}\n", case("add(None, 1)", raises="TypeError"))
    assert (await judge(sandbox, asked))[0].status is status


async def test_exceptions_when_raised_then_the_traceback_shows_the_solutions_line(sandbox: Sandbox) -> None:
    _, execution = await judge(sandbox, candidate("def add(a, b):\n    return a / 0  # here\n"))
    raised = execution.cases[0].raised
    assert raised is not None
    assert raised.kinds == ("ZeroDivisionError", "ArithmeticError", "Exception", "BaseException")
    assert 'File "solution.py", line 2, in add' in raised.traceback
    assert "return a / 0  # here" in raised.traceback


async def test_output_when_written_then_is_kept_as_text_whichever_way_the_candidate_ends(sandbox: Sandbox) -> None:
    wrote = "import os, sys\nprint('naïve ∑')\nsys.stderr.write('to err\\n')\nos.write(1, b'\\xff')\n"
    _, execution = await judge(sandbox, candidate(wrote + CORRECT))
    assert sorted(execution.stdout) == sorted("naïve ∑\n\ufffd")
    assert execution.stderr == "to err\n"
    _, execution = await judge(sandbox, candidate(wrote + "sys.stdout.flush()\nos.kill(os.getpid(), 9)\n"))
    assert (execution.signal, sorted(execution.stdout)) == (9, sorted("naïve ∑\n\ufffd"))


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def busy() -> Iterator[None]:
    """Other programs at work on the machine, four for each core."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4 * (os.cpu_count() or 1))]
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.usefixtures("busy")
async def test_verdicts_when_the_machine_is_busy_then_only_what_sleeps_is_late(sandbox: Sandbox) -> None:
    works = candidate(
        """
        import time
        def add(a, b):
            end = time.process_time() + 0.9
            while time.process_time() < end:
                pass
            return a + b
        """,
        case("add(1, 2)", 3),
        wall_margin_s=0.1,
    )
    judged, _ = await judge(sandbox, works)
    assert judged.status is Status.PASSED, judged
    sleeps = candidate("import time\ndef add(a, b):\n    time.sleep(60)\n", wall_margin_s=0.1)
    judged, execution = await judge(sandbox, sleeps)
    assert judged.status is Status.TIMED_OUT, judged
    assert execution.wall_s < 10


MIXED = (
    "correct",
    "correct, by test code",
    "correct, and busy",
    "correct, and slow to answer",
    "correct, and leaves a process",
    "wrong",
    "wrong, by test code",
    "raises in the function",
    "segmentation fault",
    "no Python",
    "exits without a word",
    "CPU in C",
    "sleeps",
    "memory at once",
    "output",
    "a reply too large",
)


@pytest.mark.parametrize("workers", [1, 2, 8])
async def test_verdicts_when_there_are_more_or_fewer_workers_then_are_the_same(
    backend: type[Sandbox], workers: int
) -> None:
    asked = {name: STATUSES[name] for name in MIXED}
    async with backend(workers) as pool:  # type: ignore[call-arg]
        judged = await asyncio.gather(*(judge(pool, one) for _, _, one in asked.values()))
    came = dict(zip(asked, (verdict.status for verdict, _ in judged), strict=True))
    assert came == {name: status for name, (status, _, _) in asked.items()}
