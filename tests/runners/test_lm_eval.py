"""lm-eval's tasks as whole runs: whatever goes wrong, nothing is lost, nothing asked twice, and no figure changes."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from contextlib import contextmanager

import pytest
from jsonschema import validate

from tests.loopback import Fault, Reply
from tests.loopback.scoring import ScoringServer
from tests.runners.lm_eval_tasks import (
    CHOICES,
    N_CHOICES,
    N_PROGRAMS,
    N_SUMS,
    Gate,
    answer,
    figures,
    gone,
    halfway,
    hosts,
    stored,
    texts,
    undisturbed,
)
from tests.runners.processes import wait_for
from tests.runners.test_end_to_end import schema

AT_ONCE = 4
ALL = N_SUMS + CHOICES * N_CHOICES + 3 * N_PROGRAMS
"""Answers to `sums`, `arc_easy` and `draws`."""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Answers of a model, likelihoods, and programs that are executed, three to a problem."""
    return undisturbed(tmp_path_factory.mktemp("three"), "sums", "arc_easy", "draws")


@pytest.fixture(scope="module")
def unexecuted(tmp_path_factory):
    """Answers, three answers to a document, a group of the two, and likelihoods."""
    return undisturbed(tmp_path_factory.mktemp("unexecuted"), "both", "arc_easy")


@pytest.fixture
def impatient(tmp_path):
    """Options with which little is tried again."""
    path = tmp_path / "impatient.yaml"
    path.write_text("limits: {openai: {tries: 2, first_s: 0.01}}\n")
    return "--config", str(path)


@pytest.mark.engine
def test_run_then_document_and_samples_fit_their_schemas_and_hold_what_each_turn_came_to(three, tmp_path):
    dump = tmp_path / "samples.jsonl"
    assert three.program("latest", "--dump-samples", str(dump), module="report").returncode == 0
    lines = [json.loads(line) for line in dump.read_text().splitlines()]
    validate(three.document, schema("run"))
    for line in lines:
        validate(line, schema("sample"))
    parts = {name: [line for line in lines if line["suite"] == name] for name in ("sums", "arc_easy", "draws")}
    assert {line["status"] for line in parts["sums"] + parts["arc_easy"]} == {"scored"}
    assert {line["status"] for line in parts["draws"]} == {"passed", "failed"}
    assert all(line["logprob"] < 0 and line["greedy"] in (True, False) for line in parts["arc_easy"])
    assert all(line["logprob"] is None for line in parts["sums"] + parts["draws"])
    # What lm-eval says of a document stands with the first of its samples.
    assert all(bool(line["reported"]) == (line["index"] == line["turn"] == 0) for line in lines)
    passed = [line["reported"]["create_test"]["metrics"]["pass@1"] for line in parts["draws"] if line["reported"]]
    found = {result["suite"]: result["metrics"] for result in three.document["results"]}["draws"]
    assert found["pass@1"]["value"] == found["pass@1,create_test"]["value"] == pytest.approx(sum(passed) / N_PROGRAMS)


@contextmanager
def running(program, *given, **variables):
    """A run in a process of its own, killed at the end if it goes on."""
    with program.start(*given, "--concurrency", str(AT_ONCE), **variables) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.engine
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_run_when_it_ends_in_the_middle_then_resume_asks_for_the_rest_alone_and_the_figures_are_the_same(
    program, three, number
):
    gate = Gate(ALL // 2)
    with ScoringServer(answer, faults_of=gate) as server:
        with running(program, *three.given, OPENAI_BASE_URL=server.url) as process:
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
        with running(program, *unexecuted.given, OPENAI_BASE_URL=server.url) as process:
            halfway(program, 10, AT_ONCE, server)
            (host,) = hosts(process.pid)
            os.kill(host, signal.SIGKILL)
            gate.open()
            _, errors = process.communicate(timeout=60)
        asked, kept = len(server.requests), stored(program)
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
        done = program(*unexecuted.given, *impatient, "--json", "--report", str(report), OPENAI_BASE_URL=server.url)
        first = texts(server.requests)
        mended = True
        asked = len(server.requests)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert done.returncode == 3, done.stderr
    assert first == unexecuted.asked + Counter(lost)
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
    assert "## Samples that did not pass" in text and text.count("no such luck") == 3
    assert again == Counter(lost)
    assert figures(document) == figures(unexecuted.document)


@pytest.mark.slow
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


def test_run_when_it_was_made_before_then_neither_answers_nor_likelihoods_are_asked_for_again(program, unexecuted):
    given = [word for word in unexecuted.given if word != "--no-cache"]
    with ScoringServer(answer) as server:
        (estimate,) = program.documents(*given, "--estimate", OPENAI_BASE_URL=server.url)
        assert server.requests == [] and json.loads(program("list", "--json", module="runs").stdout) == []
        program.documents(*given, "--cache", OPENAI_BASE_URL=server.url)
        asked = len(server.requests)
        (document,) = program.documents(*given, "--cache", OPENAI_BASE_URL=server.url)
        (again,) = program.documents(*given, "--estimate", OPENAI_BASE_URL=server.url)
        assert len(server.requests) == asked == unexecuted.asked.total()
    calls = {"sums": N_SUMS, "votes": 3 * N_SUMS, "arc_easy": CHOICES * N_CHOICES}
    assert {suite["suite"]: suite["calls"] for suite in estimate["suites"]} == calls
    # Without --cache, answers at a temperature above 0 are not looked for.
    assert {suite["suite"]: suite["cached"] for suite in again["suites"]} == calls | {"votes": 0}
    assert figures(document) == figures(unexecuted.document)


@pytest.mark.slow
def test_run_when_it_would_cost_too_much_then_it_stops_in_order_and_resume_goes_on(program, unexecuted, tmp_path):
    price = {"input": 1000.0, "output": 1000.0}
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"catalog": {"openai/m": {"price": price}}}))
    with ScoringServer(lambda body: Reply(answer(body), usage=(7, 11))) as server:
        priced = ("--config", str(config), "--max-cost", "0.2")
        done = program(*unexecuted.given, *priced, "--json", OPENAI_BASE_URL=server.url)
        kept, asked = stored(program), len(server.requests)
        (document,) = program.documents("--resume", "latest", "--config", str(config), OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert done.returncode == 3, done.stderr
    assert "stopped before it costs more than --max-cost 0.2 USD" in done.stderr
    assert 0 < kept.total() == asked < unexecuted.asked.total()
    spent = [result["usage"]["cost_usd"] for result in json.loads(done.stdout)["results"]]
    assert sum(cost or 0.0 for cost in spent) <= 0.2
    assert again == unexecuted.asked - kept
    assert figures(document) == figures(unexecuted.document)
