"""The commands beside `run`: what they show of what there is."""

from __future__ import annotations

import json
from importlib import import_module

import click
import pytest

from core.errors import SandboxUnavailable, StorageError, UnknownName
from core.types import Status
from results.store import Store
from runners import doctor
from tests.loopback import Fault, OpenAIServer
from tests.results.results_fakes import run, sample, suite

MODULES = {"doctor": "doctor", "report": "report", "runs": "runs", "sandbox": "sandbox", "tasks": "tasks"}


@pytest.fixture
def call(capsys):
    """A command in this process: its exit code, standard output, standard error."""

    def call(name: str, *arguments: str):
        command: click.Command = getattr(import_module(f"runners.{name}"), MODULES[name])
        code = command.main(list(arguments), standalone_mode=False)
        printed = capsys.readouterr()
        return code or 0, printed.out, printed.err

    return call


@pytest.fixture
def db(tmp_path):
    """Two runs: an older one that is complete, a newer one that is not."""
    path = tmp_path / "runs.db"
    older = run(run_id="20260102-aaaa")
    newer = run(suite(), suite("hard", ("x",)), run_id="20260103-bbbb", started_at="2026-01-03T00:00:00+00:00")
    with Store.open(str(path)) as store:
        for each in (older, newer):
            store.begin(each)
        store.append(older.run_id, sample("add"))
        store.append(older.run_id, sample("sub", status=Status.FAILED))
        store.finish(older.run_id, "complete", 1.0)
        store.append(newer.run_id, sample("add"))
    return str(path)


def test_runs_list_when_there_are_some_then_the_newest_comes_first(call, db):
    _, out, _ = call("runs", "list", "--db", db, "--json")
    assert json.loads(out) == [
        {
            "run_id": "20260103-bbbb",
            "status": "incomplete",
            "started_at": "2026-01-03T00:00:00+00:00",
            "model": "ollama/qwen2.5-coder",
            "suites": ["easy", "hard"],
            "n_samples": 1,
        },
        {
            "run_id": "20260102-aaaa",
            "status": "complete",
            "started_at": "2026-01-02T03:04:05+00:00",
            "model": "ollama/qwen2.5-coder",
            "suites": ["easy"],
            "n_samples": 2,
        },
    ]
    _, out, _ = call("runs", "list", "--db", db)
    assert out.index("20260103-bbbb") < out.index("20260102-aaaa")


def test_runs_list_when_there_are_none_then_it_says_what_makes_one(call, tmp_path):
    place = str(tmp_path / "new.db")
    assert json.loads(call("runs", "list", "--db", place, "--json")[1]) == []
    assert "`touchstone run`" in call("runs", "list", "--db", place)[1]


def test_runs_show_when_the_beginning_of_an_id_is_given_then_the_run_is_found(call, db):
    document = json.loads(call("runs", "show", "20260102", "--db", db, "--json")[1])
    assert (document["run_id"], document["status"]) == ("20260102-aaaa", "complete")
    assert document["results"][0]["metrics"]["pass@1"]["value"] == 0.5
    assert "50.00 %" in call("runs", "show", "20260102", "--db", db)[1]


@pytest.mark.parametrize("command", [("runs", "show"), ("report",)])
def test_a_run_when_it_is_unknown_then_the_closest_is_said(call, db, command):
    with pytest.raises(UnknownName, match="did you mean '20260102-aaaa'"):
        call(*command, "20260102-aaab", "--db", db)


def test_report_when_files_are_named_then_it_and_the_samples_are_written_there(call, db, tmp_path):
    _, shown, _ = call("report", "20260102", "--db", db)
    page, dump = tmp_path / "new" / "report.md", tmp_path / "new" / "samples.jsonl"
    _, out, err = call("report", "20260102", "--db", db, "-o", str(page), "--dump-samples", str(dump))
    assert page.read_text() == shown
    assert (out, err) == ("", f"report: {page}\n")
    assert [json.loads(line)["status"] for line in dump.read_text().splitlines()] == ["passed", "failed"]


def test_report_when_its_file_cannot_be_written_then_another_place_is_asked_for(call, db, tmp_path):
    with pytest.raises(StorageError, match=r"cannot be written .*name another place"):
        call("report", "--db", db, "-o", str(tmp_path))


def test_tasks_list_when_a_suite_is_named_then_its_tasks_are_shown(call):
    listed = json.loads(call("tasks", "list", "easy", "--json")[1])
    assert {row["suite"] for row in listed} == {"easy"}
    assert all(row["tests"] > 0 and row["turns"] > 0 for row in listed)
    assert "easy/redact-fields" in {row["task_id"] for row in listed}
    assert "easy/redact-fields" in call("tasks", "list", "eas*")[1]
    rows = json.loads(call("tasks", "list", "humaneval", "--json")[1])
    assert sum(row["harness"] == "native" for row in rows) == 164
    assert [row["suite"] for row in rows if row["harness"] == "lm-eval"] == ["humaneval"]


def test_tasks_show_when_a_task_is_named_then_prompt_tests_and_answers_are_shown(call):
    _, out, _ = call("tasks", "show", "easy/redact-fields")
    for part in ("# easy/redact-fields", "### tests", "### reference", "### wrong: "):
        assert part in out
    shown = json.loads(call("tasks", "show", "HumanEval/0", "--json")[1])
    assert shown["entry_point"] == "has_close_elements"
    assert "def check(candidate)" in shown["turns"][0]["tests"]["source"]


def test_tasks_show_when_a_task_is_unknown_then_the_closest_is_said(call):
    with pytest.raises(UnknownName, match="did you mean 'easy/redact-fields'"):
        call("tasks", "show", "easy/redact-field")


@pytest.mark.parametrize("paths", [(), ("empty",)])
def test_validate_when_no_task_is_named_then_it_says_what_to_give(paths, tmp_path, program):
    (tmp_path / "empty").mkdir()
    done = program(*(str(tmp_path / path) for path in paths), module="validate_task")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert ("--all" if not paths else "task files end in .yaml") in done.stderr


def test_doctor_when_all_is_well_then_each_finding_is_shown_and_no_key_is(call, db, monkeypatch):
    monkeypatch.setattr(doctor, "check_sandbox", lambda: {"backend": "docker", "image": "an-image", "python": "3.11"})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-never-shown-4711")
    with OpenAIServer(lambda _: "ready") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, err = call("doctor", "-m", "openai/m", "--db", db, "--json")
    found = {each["what"]: each for each in json.loads(out)}
    assert code == 0
    assert found["key OPENAI_API_KEY"]["ok"] is True
    assert found["sandbox"]["detail"] == "docker, an-image, Python 3.11"
    assert found["model openai/m"]["detail"].startswith("answered 'ready' in ")
    assert found["disk"]["ok"] is True
    assert "4711" not in out + err


def test_doctor_when_something_does_not_work_then_its_mend_is_said_and_the_code_is_1(call, db, monkeypatch):
    def none():
        raise SandboxUnavailable("no engine answers: start one")

    monkeypatch.setattr(doctor, "check_sandbox", none)
    with OpenAIServer(faults=lambda _: Fault(status=401)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        code, out, _ = call("doctor", "-m", "openai/m", "--db", db)
    assert code == 1
    assert "NOT OK sandbox: no engine answers: start one" in out
    assert "set OPENAI_API_KEY" in out


@pytest.mark.parametrize("address", ["http://[::1/v1", "http://h:99999/v1", "http://h/v1?key=never-shown"])
def test_doctor_when_a_setting_is_malformed_then_the_other_findings_stand(call, db, monkeypatch, address):
    monkeypatch.setattr(doctor, "check_sandbox", lambda: {"backend": "docker", "image": "an-image", "python": "3.11"})
    monkeypatch.setenv("OPENAI_API_KEY", "never shown")
    monkeypatch.setenv("VLLM_BASE_URL", address)
    code, out, err = call("doctor", "-m", "vllm/m", "--db", db, "--json")
    found = {each["what"]: each for each in json.loads(out)}
    assert code == 1
    assert [what for what, each in found.items() if each["ok"] is False] == ["key OPENAI_API_KEY", "model vllm/m"]
    assert "OPENAI_API_KEY holds a character" in found["key OPENAI_API_KEY"]["detail"]
    assert "VLLM_BASE_URL" in found["model vllm/m"]["detail"]
    assert found["sandbox"]["ok"] is True
    assert "never" not in out + err
