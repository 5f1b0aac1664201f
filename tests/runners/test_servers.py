"""What a model's server does to a run, and what happens to the run while it waits for one."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import sqlite3

import pytest

from tests.loopback import Fault, OllamaServer, OpenAIServer, Reply
from tests.runners.processes import rows, run_id, wait_for

pytestmark = pytest.mark.engine

N = 20
"""Samples of each of the five problems."""


def number(body):
    """Which of the problems is asked."""
    return int(re.search(r"def add(\d)", str(body.get("prompt") or body["messages"]))[1])


def answer(body):
    """Right for every other sample."""
    return Reply(f"    return x + {number(body) + body['seed'] % 2}\n", usage=(100 + number(body), 7))


def sample(body):
    """Which sample a request is for, as the store numbers them."""
    return (number(body) + 1, body["seed"] - 1000, 0)


@pytest.fixture
def given(problems):
    """A run of 5 × N samples that can be told apart by their seeds."""
    return (
        *("-m", "openai/m", "-t", f"file:{problems}", "--prompt-style", "completion", "-n", str(N)),
        *("--k", "1,10", "--temperature", "0.8", "--seed", "1000", "--concurrency", "4"),
    )


def figures(document):
    (result,) = document["results"]
    return {name: result[name] for name in ("metrics", "ledger", "n_samples")} | {
        "tokens": result["usage"]["input_tokens"]
    }


def test_run_when_it_is_killed_at_random_then_no_answer_that_arrived_is_asked_for_again(program, given, tmp_path):
    moments = sorted(random.sample(range(1, 5 * N - 20), 3))
    again: tuple[str, ...] = ()
    with OpenAIServer(answer) as server:
        for moment in moments:
            process = program.start(*given, *again, OPENAI_BASE_URL=server.url)
            wait_for(lambda moment=moment: len(rows(program)) >= moment)
            process.kill()
            process.communicate()
            arrived, judged, asked = rows(program, "completions"), rows(program), len(server.requests)
            again = ("--resume", run_id(program))
        (document,) = program.documents(*given, *again, OPENAI_BASE_URL=server.url)
        requests = [sample(received.body) for received in server.requests]
        (undisturbed,) = type(program)(tmp_path / "other.db").documents(*given, OPENAI_BASE_URL=server.url)
    assert not arrived.keys() & set(requests[asked:]), moments
    assert arrived.items() <= rows(program, "completions").items(), moments
    assert judged.items() <= rows(program).items(), moments
    assert set(requests) == rows(program).keys()
    assert len(requests) <= 5 * N + 4 * len(moments), moments
    assert figures(document) == figures(undisturbed)
    assert document["results"][0]["ledger"]["passed"] == 5 * N / 2


def test_interrupt_when_answers_are_awaited_then_they_are_given_up_and_asked_for_on_resume(program, given):
    with OpenAIServer(answer, faults=lambda n: Fault(hold=True) if 20 < n <= 24 else None) as server:
        process = program.start(*given, OPENAI_BASE_URL=server.url)
        wait_for(lambda: server.held.is_set() and len(rows(program)) == 20)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 130, errors
        assert server.hung_up.wait(10)
        (document,) = program.documents("--resume", run_id(program), OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 5 * N + 4
    assert document["status"] == "complete"
    assert document["results"][0]["ledger"]["passed"] == 5 * N / 2


def test_interrupt_when_a_busy_server_asks_for_patience_then_the_run_ends_without_it(program, given):
    with OpenAIServer(answer, faults=lambda _: Fault(status=429, retry_after="300")) as server:
        process = program.start(*given, OPENAI_BASE_URL=server.url)
        wait_for(lambda: len(server.requests) >= 4)
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "**This run is interrupted:**" in output
    assert f"--resume {run_id(program)}" in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_when_nothing_has_begun_then_one_line_says_so_and_no_run_is_stored(program, given, number):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        process = program.start(*given, OPENAI_BASE_URL=address)
        connection, _ = silent.accept()
        os.killpg(process.pid, number)
        output, errors = process.communicate(timeout=30)
        connection.close()
    assert process.returncode == 130
    assert (output, errors.strip()) == ("", "error: interrupted")
    assert json.loads(program("list", "--json", module="runs").stdout) == []


def test_key_when_it_is_withdrawn_during_the_run_then_the_run_ends_and_goes_on_with_another(program, given):
    key = "sk-withdrawn-8d1f6a2b4c"
    fault = Fault(status=401, words=f"Incorrect API key provided: {key} ({key[:8]}****{key[-4:]})")
    with OpenAIServer(answer, faults=lambda n: fault if n == 30 else None) as server:
        done = program(*given, "--concurrency", "1", OPENAI_BASE_URL=server.url, OPENAI_API_KEY=key)
        assert done.returncode == 2, done.stderr
        stored = rows(program, "completions")
        assert len(stored) == 29
        assert "set OPENAI_API_KEY" in done.stderr.splitlines()[-1]
        assert f"--resume {run_id(program)}" in done.stderr
        written = [path.read_bytes() for path in program.db.parent.iterdir() if path.is_file()]
        for text in (done.stdout.encode(), done.stderr.encode(), *written):
            assert key.encode() not in text
            assert key[-4:].encode() not in text
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="another")
        assert len(server.requests) == 5 * N + 1
    assert document["status"] == "complete"
    assert stored.items() <= rows(program, "completions").items()


def test_models_when_one_of_them_fails_then_the_other_is_evaluated_to_its_end(program, problems):
    def told(body):
        return f"```python\ndef add{number(body)}(x):\n    return x + {number(body)}\n```"

    with OpenAIServer(told, faults=lambda n: Fault(status=403)) as bad, OllamaServer(told) as good:
        done = program(
            *("-m", "openai/m", "-m", "ollama/m", "-t", f"file:{problems}", "--prompt-style", "instruct", "--json"),
            OPENAI_BASE_URL=bad.url,
            OLLAMA_HOST=good.url,
        )
    assert done.returncode == 2
    failed, complete = map(json.loads, done.stdout.splitlines())
    assert (failed["results"][0]["model"], failed["status"]) == ("openai/m", "incomplete")
    assert failed["results"][0]["metrics"]["pass@1"]["value"] is None
    assert (complete["results"][0]["model"], complete["status"]) == ("ollama/m", "complete")
    assert complete["results"][0]["metrics"]["pass@1"]["value"] == 1.0
    assert "set OPENAI_API_KEY" in done.stderr.splitlines()[-1]


def test_samples_when_they_come_from_a_server_then_each_keeps_its_tokens_times_and_what_was_sent(
    program, problems, tmp_path
):
    dump = tmp_path / "samples.jsonl"
    with OpenAIServer(answer) as server:
        program.documents(
            *("-m", "openai/m", "-t", f"file:{problems}", "--prompt-style", "completion", "--seed", "1000"),
            *("--max-tokens", "99", "--dump-samples", str(dump)),
            OPENAI_BASE_URL=server.url,
        )
        sent = {number(received.body): received.body for received in server.requests}
    for line in map(json.loads, dump.read_text().splitlines()):
        n = int(line["task_id"][-1])
        assert (line["input_tokens"], line["output_tokens"], line["tries"]) == (100 + n, 7, 1)
        assert 0 < line["ttft_s"] <= line["total_s"]
        assert line["prompt"] == sent[n]["prompt"] == f'def add{n}(x):\n    """x plus {n}."""\n'
        assert line["model_served"] == "m-served"
        assert {name: line["effective"][name] for name in ("temperature", "seed", "max_tokens")} == {
            name: sent[n][name] for name in ("temperature", "seed", "max_tokens")
        }


def test_database_when_it_is_read_during_a_run_then_the_run_is_listed_as_it_stands(program, given):
    with OpenAIServer(answer, faults=lambda n: Fault(hold=True) if n == 12 else None) as server:
        process = program.start(*given, "--concurrency", "1", OPENAI_BASE_URL=server.url)
        wait_for(lambda: len(rows(program)) == 11)
        (listed,) = json.loads(program("list", "--json", module="runs").stdout)
        shown = json.loads(program("show", "latest", "--json", module="runs").stdout)
        process.kill()
        process.communicate()
    assert (listed["status"], listed["n_samples"]) == ("incomplete", 11)
    assert shown["status"] == "incomplete"
    assert sum(shown["results"][0]["ledger"].values()) == 11
    with sqlite3.connect(program.db) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
