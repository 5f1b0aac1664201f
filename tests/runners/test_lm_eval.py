"""lm-eval's tasks as whole runs: whatever goes wrong, nothing is lost, nothing asked twice, and no figure changes."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.loopback import Fault
from tests.loopback.scoring import ScoringServer
from tests.runners.lm_eval_tasks import (
    CHOICES,
    N_CHOICES,
    N_PROGRAMS,
    N_SUMS,
    Gate,
    answer,
    datasets,
    figures,
    gone,
    halfway,
    hosts,
    programs,
    stored,
    texts,
    undisturbed,
    write,
    write_lines,
)
from tests.runners.processes import run_id, wait_for
from tests.runners.test_bad_input import refused

AT_ONCE = 4
ALL = N_SUMS + CHOICES * N_CHOICES + 3 * N_PROGRAMS
"""Answers to `sums`, `arc_easy` and `draws`."""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Answers of a model, likelihoods, and programs that are executed, three to a problem."""
    return undisturbed(tmp_path_factory.mktemp("three"), "sums", "arc_easy", "draws")


@pytest.fixture(scope="module")
def unexecuted(tmp_path_factory):
    """Answers, three answers to a document, and likelihoods."""
    return undisturbed(tmp_path_factory.mktemp("unexecuted"), "sums", "votes", "arc_easy")


@pytest.fixture
def impatient(tmp_path):
    """Options with which little is tried again."""
    path = tmp_path / "impatient.yaml"
    path.write_text("limits: {openai: {tries: 2, first_s: 0.01}}\n")
    return "--config", str(path)


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_run_when_it_ends_in_the_middle_then_resume_asks_for_the_rest_alone_and_the_figures_are_the_same(
    program, three, number
):
    gate = Gate(ALL // 2)
    with ScoringServer(answer, faults_of=gate) as server:
        process = program.start(*three.given, "--concurrency", str(AT_ONCE), OPENAI_BASE_URL=server.url)
        halfway(program, ALL // 2, AT_ONCE, server)
        (host,) = hosts(process.pid)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
        gate.open()
        wait_for(lambda: gone(host))
        asked, kept = len(server.requests), stored(program)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert sum(three.asked.values()) == ALL
    assert kept.total() == ALL // 2
    assert again == three.asked - kept
    assert document["status"] == "complete"
    assert figures(document) == figures(three.document)
    if number == signal.SIGINT:
        assert process.returncode == 130
        assert "**This run is interrupted:**" in output
        assert errors.splitlines()[-1].endswith(f"touchstone run --resume {document['run_id']} --db {program.db}")
        assert "Traceback" not in errors


def test_run_when_lm_eval_dies_then_it_ends_in_one_line_with_all_kept_and_resume_goes_on(program, unexecuted):
    gate = Gate(10)
    with ScoringServer(answer, faults_of=gate) as server:
        process = program.start(*unexecuted.given, "--concurrency", str(AT_ONCE), OPENAI_BASE_URL=server.url)
        halfway(program, 10, AT_ONCE, server)
        (host,) = hosts(process.pid)
        os.kill(host, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        gate.open()
        kept = stored(program)
        asked = len(server.requests)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert process.returncode == 1
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert lines == errors.splitlines()[-1:]
    assert "lm-eval ended before its work was done (exit -9)" in lines[0]
    assert "Traceback" not in errors
    assert f"--resume {document['run_id']}" in errors
    assert kept.total() >= 10
    assert again == unexecuted.asked - kept
    assert figures(document) == figures(unexecuted.document)


def test_run_when_answers_are_lost_then_the_rest_is_scored_and_resume_asks_for_those_alone(
    program, unexecuted, impatient, tmp_path
):
    """An answer of `sums`, one of three to a document of `votes`, and one of a document's choices in `arc_easy`."""
    mended = False
    lost = ("Q: 2 + 2 ?\nA: 7", "Think. Q: 1 + 1 ?\nA: 8", "Question: What is 3?\nAnswer: a letter None")

    def broken(body):
        text = f"{body['prompt']} {body.get('seed')}"
        return Fault(status=500, words="no such luck") if text in lost and not mended else None

    report = tmp_path / "report.md"
    with ScoringServer(answer, faults_of=broken) as server:
        done = program(
            *unexecuted.given, *impatient, "--json", "--report", str(report), OPENAI_BASE_URL=server.url
        )
        first = texts(server.requests)
        mended = True
        asked = len(server.requests)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert done.returncode == 3, done.stderr
    assert first == unexecuted.asked + dict.fromkeys(lost, 1)
    found = {result["suite"]: result for result in json.loads(done.stdout)["results"]}
    ns = {name: [metric["n"] for metric in result["metrics"].values()] for name, result in found.items()}
    assert ns == {"sums": [N_SUMS - 1], "votes": [N_SUMS], "arc_easy": [N_CHOICES - 1] * 2}
    ledgers = {name: {k: n for k, n in result["ledger"].items() if n} for name, result in found.items()}
    assert ledgers == {
        "sums": {"scored": N_SUMS - 1, "generation_error": 1},
        "votes": {"scored": 3 * N_SUMS - 1, "generation_error": 1},
        "arc_easy": {"scored": N_CHOICES - 1, "generation_error": 1},
    }
    text = report.read_text()
    assert "### Ungraded samples" in text and text.count("no such luck") == 3
    assert again == dict.fromkeys(lost, 1)
    assert figures(document) == figures(unexecuted.document)


def test_run_when_all_of_a_task_is_lost_then_its_figures_are_undefined_and_the_other_ones_are_not(
    program, unexecuted, impatient
):
    mended = False

    def broken(body):
        return Fault(status=500) if body["prompt"].startswith("Q: ") and not mended else None

    with ScoringServer(answer, faults_of=broken) as server:
        done = program(*unexecuted.given, *impatient, "--json", OPENAI_BASE_URL=server.url)
        mended = True
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
    assert done.returncode == 3, done.stderr
    found = {result["suite"]: result for result in json.loads(done.stdout)["results"]}
    assert {n: metric["value"] for n, metric in found["sums"]["metrics"].items() if metric["n"]} == {}
    assert found["sums"]["ledger"]["generation_error"] == N_SUMS
    assert figures(json.loads(done.stdout))["arc_easy"] == figures(unexecuted.document)["arc_easy"]
    assert figures(document) == figures(unexecuted.document)
