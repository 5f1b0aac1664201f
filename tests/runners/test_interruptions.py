"""Whatever ends a run, what was finished is there, and `--resume` brings the rest and nothing twice."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import termios
import time

import pytest

from tests.runners.conftest import ROOT, environment
from tests.runners.processes import rows, run_id, wait_for

pytestmark = pytest.mark.engine


@pytest.fixture
def many(problems, answers):
    """Arguments for 5 problems × 60 samples, every other one right; alike at each call."""
    texts = {f"sum/{n}": [f"    return x + {n + i % 2}\n" for i in range(60)] for n in range(5)}
    return ("-t", f"file:{problems}", "--generations", str(answers(texts)), "--k", "1,10", "--workers", "2")


def assert_complete(program, document):
    assert document["status"] == "complete"
    (result,) = document["results"]
    assert (result["ledger"]["passed"], result["ledger"]["failed"]) == (150, 150)
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(0.5, abs=1e-12)
    assert len(rows(program)) == 300


def test_run_when_it_is_killed_again_and_again_then_nothing_is_lost_and_nothing_judged_twice(program, many):
    stored: dict = {}
    again: tuple[str, ...] = ()
    for more in (20, 90, 50):
        process = program.start(*many, *again)
        wait_for(lambda goal=len(stored) + more: len(rows(program)) >= goal)  # noqa: B008
        process.kill()
        process.communicate()
        found = rows(program)
        assert stored.items() <= found.items()
        stored = found
        again = ("--resume", run_id(program))
    (document,) = program.documents(*many, *again)
    assert_complete(program, document)
    assert stored.items() <= rows(program).items()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_when_it_is_interrupted_then_it_ends_in_order_and_says_how_to_go_on(program, many, number):
    process = program.start(*many)
    wait_for(lambda: len(rows(program)) >= 50)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "**This run is interrupted:**" in output
    assert f"touchstone run --resume {run_id(program)} --db {program.db}" in errors
    stored = rows(program)
    assert 50 <= len(stored) < 300
    (document,) = program.documents("--resume", run_id(program))
    assert_complete(program, document)
    assert stored.items() <= rows(program).items()


def test_run_when_it_is_interrupted_twice_then_it_ends_at_once_and_loses_nothing(program, problems, answers):
    slow = answers({f"sum/{n}": [f"    return x + {n}\n", "    import time; time.sleep(60)\n"] for n in range(5)})
    process = program.start("-t", f"file:{problems}", "--generations", str(slow), "--workers", "2")
    wait_for(lambda: len(rows(program)) >= 1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    while "again to stop at once" not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    started = time.monotonic()
    errors = process.stderr.read()
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert f"--resume {run_id(program)}" in errors
    assert time.monotonic() - started < 4.5  # a sleeper's own limit is 5 s
    assert rows(program)


def test_run_when_ctrl_c_is_typed_at_a_terminal_then_the_display_ends_and_the_run_can_go_on(program, many):
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        program.words(*many),
        cwd=ROOT,
        env=environment(TERM="xterm", COLUMNS="120"),
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
    )
    os.close(terminal)
    screen = b""

    def read():
        nonlocal screen
        if select.select([controller], [], [], 0.01)[0]:
            try:
                screen += os.read(controller, 65536)
            except OSError:  # the terminal's other end is closed
                return

    def seen():
        read()
        return b"passed" in screen and b"/300" in screen and len(rows(program)) >= 50

    wait_for(seen)
    os.write(controller, b"\x03")

    def ended():
        read()
        return process.poll() is not None

    wait_for(ended)
    assert process.stdout is not None
    process.stdout.close()
    os.close(controller)
    assert process.returncode == 130
    assert b"stopping: what runs is finished" in screen
    (document,) = program.documents("--resume", run_id(program))
    assert_complete(program, document)


def test_resume_when_settings_differ_then_each_difference_is_named_with_both_values(program, problems):
    program("-m", "control/reference", "-t", f"file:{problems}")
    for given, says in (
        (("-n", "3"), "--n-samples is 3 here, 1 in the run"),
        (("-m", "control/broken"), "--model is control/broken here, control/reference in the run"),
        (("-t", "humaneval"), f"--task is native/humaneval here, native/file:{problems} in the run"),
        (("--temperature", "0.5"), "--temperature is 0.5 here, 0.0 in the run"),
        (("--limit", "2"), "--limit is 2 here, not set in the run"),
    ):
        done = program("--resume", "latest", *given)
        assert done.returncode == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_resume_when_the_answers_are_others_then_it_is_refused(program, many, tmp_path):
    process = program.start(*many)
    wait_for(lambda: len(rows(program)) >= 1)
    process.kill()
    process.communicate()
    path = tmp_path / "answers.jsonl"
    path.write_text(path.read_text().replace("x + 1", "x + 2"))
    done = program("--resume", "latest")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search("is not what it was when the run began: its SHA-256 is [0-9a-f]{12} here, [0-9a-f]{12} in", line)
    done = program("--resume", "latest", *many)
    assert done.returncode == 2
    assert re.search("--generations is [0-9a-f]{64} here, [0-9a-f]{64} in the run", done.stderr)


def test_resume_when_the_problems_are_others_then_it_is_refused(program, many, problems):
    process = program.start(*many)
    wait_for(lambda: len(rows(program)) >= 1)
    process.kill()
    process.communicate()
    import gzip

    problems.write_bytes(gzip.compress(gzip.decompress(problems.read_bytes()).replace(b"x plus 1", b"x and 1")))
    done = program("--resume", "latest")
    assert done.returncode == 2
    assert f"the data of 'file:{problems}' is" in done.stderr


def test_resume_when_the_sandbox_is_another_then_it_is_refused(program, many):
    process = program.start(*many)
    wait_for(lambda: len(rows(program)) >= 1)
    process.kill()
    process.communicate()
    with sqlite3.connect(program.db) as db:
        db.execute("UPDATE runs SET manifest = json_set(manifest, '$.sandbox.image', 'an-older-image')")
    db.close()
    done = program("--resume", "latest")
    assert done.returncode == 2
    assert ", an-older-image in the run" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_resume_when_the_run_is_complete_then_its_results_are_shown_again(program, problems):
    first = program("-m", "control/reference", "-t", f"file:{problems}")
    again = program("--resume", "latest")
    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert "is complete: nothing is left to do" in again.stderr


def test_resume_when_another_process_writes_the_run_then_it_is_refused(program, many):
    process = program.start(*many)
    wait_for(lambda: len(rows(program)) >= 1)
    process.send_signal(signal.SIGSTOP)
    try:
        done = program("--resume", "latest")
        assert done.returncode == 2
        assert "is being written by another process" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_run_when_the_disk_is_full_then_what_was_stored_stays_and_the_mend_is_said(program, many, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], check=True)
    try:
        small = type(program)(disk / "runs.db")
        done = small(*many, "--report", str(tmp_path / "report.md"))
        assert done.returncode == 1, done.stderr
        assert "Traceback" not in done.stderr
        assert "make room on its disk, then go on with --resume" in done.stderr.splitlines()[-1]
        stored = rows(small)
        assert 0 < len(stored) < 300
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        (document,) = small.documents("--resume", "latest", "--report", str(tmp_path / "report.md"))
        assert_complete(small, document)
        assert stored.items() <= rows(small).items()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
