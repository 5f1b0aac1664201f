"""Bad input: one line that names the mend, exit code 2; 1 where the environment is at fault. Nothing is executed."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

from results import sql
from tests.loopback import Fault, OllamaServer, OpenAIServer


def refused(done, code=2):
    """The one line that a command ended with."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-m", "contrl/reference"), "did you mean 'control'"),
        (("-m", "control/refrence"), "did you mean 'reference'"),
        (("-m", "control"), "not PROVIDER/NAME"),
        ((), "add --model PROVIDER/NAME"),
        (("-m", "control/reference", "--harness", "nativ"), "did you mean 'native'"),
        (("-m", "control/reference", "--harness", "native", "-t", "humanevl"), "did you mean 'humaneval'"),
        (("-m", "control/reference", "-t", "humaneval", "-n", "2", "--k", "5"), "add --n-samples 5"),
        (("-m", "control/reference", "-t", "humaneval", "-n", "5", "--k", "5"), "add --temperature 0.8"),
        (("-m", "control/reference", "--limit", "-1"), "'--limit': -1 is not in the range"),
        (("-m", "control/reference", "-n", "0"), "'--n-samples'"),
        (("-m", "control/reference", "--temperature", "nan"), "not a finite number"),
        (("-m", "control/reference", "--temperature", "-1"), "'--temperature'"),
        (("-m", "control/reference", "--top-p", "2"), "'--top-p'"),
        (("-m", "control/reference", "--timeout", "inf"), "'--timeout'"),
        (("-m", "control/reference", "--k", "0"), "whole numbers from 1"),
        (("-m", "control/reference", "--k", "1,x"), "whole numbers from 1"),
        (("-m", "control/reference", "--memory", "lots"), "such as 512m or 2g"),
        (("-m", "control/reference", "--memory", "1k"), "a size of 32m or more"),
        (("-m", "control/reference", "--dataset", "easy"), "not NAME=PATH"),
        (("-m", "control/reference", "-t", "easy", "--dataset", "esay=/tmp"), "unknown suite of this run 'esay'"),
        (("-m", "control/reference", "-t", "easy", "--dataset", "easy=/nowhere"), "/nowhere: there is no such folder"),
        (("-m", "control/reference", "--prompt-style", "chat"), "'completion', 'instruct'"),
        (("-m", "control/reference", "-t", "easy", "--prompt-style", "completion"), "can be put in the style instruct"),
        (("-m", "control/reference", "-t", "humaneval", "--sandbox", "chroot"), "unknown sandbox 'chroot'"),
        (("-m", "control/reference", "-t", "file:/nowhere.jsonl"), "/nowhere.jsonl: it cannot be read"),
        (("-m", "control/reference", "--config", "/nowhere.yaml"), "/nowhere.yaml: cannot be read"),
        (("-m", "openai/gpt-4.1", "-t", "humaneval"), "set OPENAI_API_KEY"),
        (("-m", "openrouter/a/b", "-t", "humaneval"), "set OPENROUTER_API_KEY"),
        (("-t", "humaneval", "--generations", "/nowhere.jsonl"), "/nowhere.jsonl: cannot be read"),
        (("-m", "control/reference", "-m", "control/broken", "--report", "r.md"), "leave it out"),
        (("--resume", "20200101"), "unknown run '20200101'"),
        (("--nonsense",), "No such option '--nonsense'"),
    ],
)
def test_run_when_the_input_is_bad_then_one_line_names_the_mend(inside, arguments, says):
    assert says in refused(inside(*arguments))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"task_id": "sum/9", "completion": ""}\n', "no problem of the suite is called 'sum/9'"),
        ('{"task_id": "sum/1", "completion": ""}\n', "has no completion for 4 of 5 problems"),
        ('{"task_id": "sum/1"', ":1:"),
        ('{"task_id": "sum/1"}\n', ":1: completion:"),
        ("", "is empty"),
    ],
)
def test_generations_when_they_do_not_fit_the_problems_then_the_fault_is_named(inside, problems, tmp_path, text, says):
    path = tmp_path / "answers.jsonl"
    path.write_text(text)
    line = refused(inside("-t", f"file:{problems}", "--generations", str(path)))
    assert str(path) in line
    assert says in line


def test_generations_when_two_tasks_are_named_then_one_is_asked_for(inside, problems, answers):
    given = ("-t", f"file:{problems}", "-t", "humaneval", "--generations", str(answers({"sum/0": [""]})))
    assert "name one --task" in refused(inside(*given))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sampling: {temprature: 1}", "did you mean 'temperature'"),
        ("sampling: {n_samples: 1.5}", "'--n-samples' / '-n': '1.5' is not"),
        ("sampling: {n_samples: true}", "'--n-samples' / '-n': 'True' is not"),
        ("execution: {timeout: .nan}", "'--timeout': 'nan' is not"),
        ("output: {db: '${NOT_SET}'}", "${NOT_SET}, which is not set"),
        ("models: [", "config.yaml:1: is not YAML"),
        ("sampling: {}\nsampling: {}", "config.yaml:2: the key 'sampling' is given twice: drop one"),
    ],
)
def test_config_when_it_is_broken_then_the_fault_is_named(inside, tmp_path, text, says):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    assert says in refused(inside("--config", str(path), "-m", "control/reference", "-t", "humaneval"))


def test_generations_when_k_is_above_their_number_then_it_is_said(inside, problems, answers):
    path = answers({f"sum/{n}": ["    return 1"] * 2 for n in range(5)})
    assert "lower --k" in refused(inside("-t", f"file:{problems}", "--generations", str(path), "--k", "3"))


def test_problems_when_a_line_is_broken_then_it_is_named(inside, tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text('{"task_id": "a"}\n')
    assert f"{path}:1: prompt: it is missing" in refused(inside("-m", "control/reference", "-t", f"file:{path}"))


@pytest.mark.parametrize("module", ["validate_task", "tasks"])
def test_validate_when_a_task_is_broken_then_file_line_and_field_are_named(program, tmp_path, module):
    path = tmp_path / "easy" / "a.yaml"
    path.parent.mkdir()
    path.write_text("id: easy/a\nversion: 1\ntier: easy\ncategory: x\nentry_point: f\nturn: []\n")
    done = program(*(["validate"] if module == "tasks" else []), str(path), module=module)
    assert done.returncode == 2
    assert f"{path}:6: turn:" in done.stdout
    assert "Traceback" not in done.stderr


def test_database_when_it_is_of_a_newer_version_then_both_versions_are_named(program):
    assert program("list", module="runs").returncode == 0
    with sqlite3.connect(program.db) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(_sqlite_migrations)")]
        values = {"migration_set": "touchstone", "name": "9999_future", "applied_at": "2099-01-01"}
        names = [name for name in columns if name in values]
        marks = ", ".join("?" * len(names))
        db.execute(
            f"INSERT INTO _sqlite_migrations ({', '.join(names)}) VALUES ({marks})", [values[name] for name in names]
        )
    db.close()
    line = refused(program("-m", "control/reference", "-t", "humaneval"))
    assert f"version {len(sql.MIGRATIONS) + 1}" in line
    assert f"knows {len(sql.MIGRATIONS)}" in line


def test_database_when_the_file_is_something_else_then_it_is_left_alone(inside, program):
    program.db.write_text("a letter to a friend, long enough to be no empty database at all")
    assert "name another file: --db" in refused(inside("-m", "control/reference", "-t", "humaneval"))
    assert program.db.read_text().startswith("a letter")


def test_model_when_the_server_lacks_it_then_those_it_has_are_said(inside):
    with OllamaServer(lambda _: "", models=("qwen2.5-coder:7b",)) as server:
        line = refused(inside("-m", "ollama/qwen2.5-codr", "-t", "humaneval", OLLAMA_HOST=server.url))
    assert "qwen2.5-coder:7b" in line
    assert "ollama pull qwen2.5-codr" in line


def test_model_when_a_server_of_openais_protocol_lacks_it_then_those_it_has_are_said(inside):
    with OpenAIServer(lambda _: "", models=("gpt-best", "gpt-good")) as server:
        line = refused(inside("-m", "openai/gpt-bset", "-t", "humaneval", OPENAI_BASE_URL=server.url))
    assert "did you mean 'gpt-best'" in line
    assert "gpt-good" in line


def test_key_when_the_server_refuses_it_then_the_variable_is_named_and_the_key_is_not(inside):
    with OpenAIServer(lambda _: "", key="the-right-key") as server:
        line = refused(
            inside(
                "-m", "openai/m", "-t", "humaneval", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="sk-wrong-0123456789"
            )
        )
    assert "set OPENAI_API_KEY" in line
    assert "0123456789" not in line


@pytest.mark.parametrize(
    "address", ["http://[::1/v1", "http://h:99999", "http://h/v1?key=a-secret", "http://a:1/a-secret@h"]
)
@pytest.mark.parametrize(
    ("model", "variable"),
    [("openai/m", "OPENAI_BASE_URL"), ("anthropic/m", "ANTHROPIC_BASE_URL"), ("ollama/m", "OLLAMA_HOST")],
)
def test_address_when_it_is_malformed_then_the_variable_is_named_and_the_address_is_not(
    inside, model, variable, address
):
    line = refused(inside("-m", model, "-t", "humaneval", **{variable: address}))
    assert variable in line
    assert "secret" not in line


def test_address_when_ollamas_own_library_cannot_read_it_then_the_variable_is_named(program):
    done = program("-m", "ollama/m", "-t", "humaneval", OLLAMA_HOST="http://127.0.0.1:99999")
    assert "OLLAMA_HOST is no address of a server" in refused(done)


def test_server_when_none_answers_then_the_address_and_the_mend_are_said(inside):
    with OpenAIServer(lambda _: "") as server:
        address = server.url
    line = refused(inside("-m", "openai/m", "-t", "humaneval", OPENAI_BASE_URL=address), code=1)
    assert address in line
    assert "set OPENAI_BASE_URL" in line


def test_sandbox_when_no_engine_answers_then_the_ways_out_are_said(program):
    done = program("-m", "control/reference", "-t", "humaneval", DOCKER_HOST="unix:///nowhere/docker.sock")
    line = refused(done, code=1)
    assert "no container engine answers at unix:///nowhere/docker.sock" in line
    assert "touchstone sandbox build" in line
    assert json.loads(program("list", "--json", module="runs").stdout) == []


@pytest.mark.engine
def test_samples_when_a_server_will_not_have_one_then_the_rest_is_graded_and_resume_brings_it(program, problems):
    def answer(body):
        return body["prompt"] and f"    return x + {body['prompt'][7]}\n"

    given = ("-m", "openai/m", "-t", f"file:{problems}", "--prompt-style", "completion", "--concurrency", "1")
    with OpenAIServer(answer, faults=lambda n: Fault(status=400) if n == 3 else None) as server:
        done = program(*given, "--json", OPENAI_BASE_URL=server.url)
        assert done.returncode == 3, done.stderr
        document = json.loads(done.stdout)
        result = document["results"][0]
        assert document["status"] == "incomplete"
        assert {status: n for status, n in result["ledger"].items() if n} == {"passed": 4, "generation_error": 1}
        assert result["metrics"]["pass@1"]["bounds"] == [0.8, 1.0]
        assert f"--resume {document['run_id']}" in done.stderr
        (report,) = (program.db.parent / "reports").iterdir()
        assert re.search(r"\| +1 \| pass@1 \| +100.00 % \| +80.00 % \| +100.00 % \|", report.read_text())
        (resumed,) = program.documents(*given, "--resume", document["run_id"], OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 6
    assert resumed["status"] == "complete"
    assert resumed["results"][0]["metrics"]["pass@1"]["value"] == 1.0
