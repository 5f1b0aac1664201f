"""A verdict is the program's alone: neither more workers nor a busy machine change it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from core.types import Status
from tests.runners.conftest import DATA, Program

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PROBLEMS, SAMPLES = DATA / "humaneval" / "HumanEval.jsonl.gz", DATA / "codegen16b" / "samples.jsonl.gz"

LONGEST_S = 1800.0
"""However busy the machine is anyway."""

Key = tuple[str, int]
Judge = Callable[[int, bool], dict[Key, str]]


@contextmanager
def busy() -> Iterator[None]:
    """Other programs at work on the machine, two for each core."""
    count = 2 * len(os.sched_getaffinity(0))
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


@pytest.fixture(scope="module")
def expected() -> dict[Key, str]:
    """What the reference made of each sample."""
    if not SAMPLES.exists():
        pytest.skip(f"needs {SAMPLES}: set TOUCHSTONE_DATA")
    with gzip.open(SAMPLES, "rt") as file:
        return {(line["task_id"], line["index"]): line["reference_verdict"] for line in map(json.loads, file)}


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """The status of each sample, with so many workers, alone or on a busy machine; each way run once."""
    known: dict[tuple[int, bool], dict[Key, str]] = {}

    def judge(workers: int, hogged: bool) -> dict[Key, str]:
        if (workers, hogged) not in known:
            folder: Path = tmp_path_factory.mktemp("stability")
            program, dump = Program(folder / "runs.db"), folder / "samples.jsonl"
            given = ("-t", f"file:{PROBLEMS}", "--generations", str(SAMPLES), "--workers", str(workers))
            with busy() if hogged else nullcontext():
                process = program.start(*given, "--dump-samples", str(dump))
                _, errors = process.communicate(timeout=LONGEST_S)
            assert process.returncode == 0, errors
            lines = map(json.loads, dump.read_text().splitlines())
            known[workers, hogged] = {(line["task_id"], line["index"]): line["status"] for line in lines}
        return known[workers, hogged]

    return judge


@pytest.mark.parametrize(
    ("workers", "hogged"),
    [(1, False), (2, False), (8, False), (2, True), (8, True)],
    ids=["1", "2", "8", "2-busy", "8-busy"],
)
def test_verdicts_when_workers_and_load_differ_then_are_the_references_and_the_same(
    expected: dict[Key, str], judged: Judge, workers: int, hogged: bool
) -> None:
    found = judged(workers, hogged)
    passed = {key: (status == Status.PASSED, status == Status.TIMED_OUT) for key, status in found.items()}
    assert passed == {key: (verdict == "passed", verdict == "timed_out") for key, verdict in expected.items()}
    assert found == judged(1, False)
