"""Whole runs: real processes, the real sandbox, real servers on loopback."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from adapters.native import Native
from tests.loopback import OllamaServer, OpenAIServer, Received
from tests.runners.conftest import ROOT

pytestmark = pytest.mark.engine


def schema(name):
    return json.loads((ROOT / "results" / "schemas" / f"{name}.schema.json").read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def occurring(result):
    return {status: count for status, count in result["ledger"].items() if count}


@pytest.mark.parametrize("style", ["completion", "instruct"])
@pytest.mark.parametrize(("control", "value"), [("reference", 1.0), ("broken", 0.0)])
def test_run_when_the_model_is_a_control_then_its_figure_is_the_known_one(program, problems, style, control, value):
    (document,) = program.documents(
        "-m", f"control/{control}", "-t", f"file:{problems}", "-t", "humaneval", "--limit", "5", "--prompt-style", style
    )
    assert document["status"] == "complete"
    for result in document["results"]:
        assert result["prompt_style"] == style
        assert result["n_samples"] == 5
        assert result["metrics"]["pass@1"]["value"] == value


@pytest.mark.parametrize(
    ("control", "passed"), [("reference", True), pytest.param("broken", False, marks=pytest.mark.slow)]
)
def test_run_when_the_native_tiers_are_run_on_a_control_then_each_task_passes_or_none(
    program, tmp_path, control, passed
):
    dump = tmp_path / "samples.jsonl"
    (document,) = program.documents("-m", f"control/{control}", "--dump-samples", str(dump))
    assert [result["suite"] for result in document["results"]] == ["easy", "medium", "hard", "extreme"]
    wholly: dict[str, list[bool]] = {}
    for line in lines(dump):
        wholly.setdefault(line["task_id"], []).append(line["status"] == "passed")
    assert len(wholly) >= 24
    assert [task for task, turns in wholly.items() if all(turns) is not passed] == []


def test_run_when_json_is_asked_for_then_documents_and_samples_fit_their_schemas(program, problems, tmp_path):
    dump = tmp_path / "samples.jsonl"
    models = ("-m", "control/broken", "-m", "control/reference")
    documents = program.documents(*models, "-t", f"file:{problems}", "--dump-samples", str(dump))
    assert [document["results"][0]["model"] for document in documents] == ["control/broken", "control/reference"]
    assert len({document["group_id"] for document in documents}) == 1
    for document in documents:
        jsonschema.validate(document, schema("run"))
    samples = lines(dump)
    assert len(samples) == 10
    for sample in samples:
        jsonschema.validate(sample, schema("sample"))


def test_run_when_it_ends_then_results_are_on_stdout_and_the_report_beside_the_database(program, problems):
    done = program("-m", "control/reference", "-t", f"file:{problems}")
    assert done.returncode == 0
    assert "100.00 %" in done.stdout
    assert "answers with the reference solutions" in done.stdout
    (path,) = (program.db.parent / "reports").iterdir()
    assert f"report: {path}" in done.stderr
    assert "report:" not in done.stdout
    report = path.read_text()
    for part in ("## Summary", "## What became of the samples", "## To reproduce it"):
        assert part in report


def test_report_when_asked_for_again_then_it_is_the_same_one(program, problems, tmp_path):
    first = tmp_path / "first.md"
    program("-m", "control/broken", "-t", f"file:{problems}", "--report", str(first))
    assert program("latest", module="report").stdout == first.read_text()
    listed = json.loads(program("list", "--json", module="runs").stdout)
    assert [(run["status"], run["model"], run["n_samples"]) for run in listed] == [("complete", "control/broken", 5)]
    shown = json.loads(program("show", listed[0]["run_id"], "--json", module="runs").stdout)
    assert shown["run_id"] == listed[0]["run_id"]


def test_run_when_a_configuration_is_given_then_the_command_line_comes_first(program, problems, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        "models: {names: [control/broken]}\n"
        f"suites: {{tasks: ['file:{problems}'], limit: 4}}\n"
        "sampling: {n_samples: 2}\n"
    )
    (document,) = program.documents("--config", str(config), "--limit", "3")
    assert document["results"][0]["n_samples"] == 6
    assert document["results"][0]["model"] == "control/broken"


def test_readme_when_its_example_is_run_then_the_figures_are_those_it_shows(program):
    readme = (ROOT / "README.md").read_text()
    words = re.search(r"^\$ touchstone run (.*)$", readme, re.MULTILINE)[1].split()
    done = program(*words)
    assert done.returncode == 0
    shown = [line for line in done.stdout.splitlines() if line.startswith("| native/file:")]
    assert len(shown) == 2
    for line in shown:
        assert line in readme


def test_generations_when_it_is_human_evals_own_example_then_half_pass(program, data):
    (document,) = program.documents(
        *("-t", f"file:{data('humaneval', 'example_problem.jsonl')}"),
        *("--generations", str(data("humaneval", "example_samples.jsonl"))),
    )
    (result,) = document["results"]
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(0.5, abs=1e-12)
    assert occurring(result) == {"passed": 3, "crashed": 2, "timed_out": 1}


@pytest.mark.slow
def test_generations_when_they_are_codegens_then_pass_at_k_is_the_references(program, data):
    """Their verdicts, one by one, are in `test_stability.py`."""
    problems, samples = data("humaneval", "HumanEval.jsonl.gz"), data("codegen16b", "samples.jsonl.gz")
    (document,) = program.documents("-t", f"file:{problems}", "--generations", str(samples), "--k", "1,10")
    (result,) = document["results"]
    assert sum(result["ledger"].values()) == 1640
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(0.212195121951219, abs=1e-9)
    assert result["metrics"]["pass@10"]["value"] == pytest.approx(0.469512195121951, abs=1e-9)
    assert result["ledger"]["sandbox_error"] == 0


class Knowing:
    """Answers HumanEval's prompts with the reference solutions, as a base model or as a chat would."""

    def __init__(self) -> None:
        self.problems = {p.turns[0].prompt: p for p in Native().suite("humaneval", {}).problems}

    def __call__(self, body):
        if "messages" not in body:
            return self.problems[body["prompt"]].turns[0].reference
        asked = re.search(r"```python\n(.*)```", body["messages"][-1]["content"], re.DOTALL)[1]
        return f"Sure.\n\n```python\n{asked}{self.problems[asked].turns[0].reference}```\n\nIt does what is asked."


@pytest.mark.parametrize("limit", ["10", pytest.param("164", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("make", "model", "variable", "style"),
    [
        (OpenAIServer, "openai/m", "OPENAI_BASE_URL", "completion"),
        (OpenAIServer, "openai/m", "OPENAI_BASE_URL", "instruct"),
        (OllamaServer, "ollama/m", "OLLAMA_HOST", "instruct"),
    ],
)
def test_run_when_a_server_answers_rightly_then_all_are_graded_and_pass(program, make, model, variable, style, limit):
    with make(Knowing()) as server:
        (document,) = program.documents(
            *("-m", model, "-t", "humaneval", "--limit", limit, "-n", "5", "--prompt-style", style),
            **{variable: server.url},
        )
        asked: list[Received] = server.requests
    (result,) = document["results"]
    n = 5 * int(limit)
    assert occurring(result) == {"passed": n}
    assert len(asked) == n
    assert result["prompt_style"] == style
    assert result["usage"]["output_tokens"] > 0
    assert 0 < result["timing"]["ttft_p50_s"] < result["timing"]["wall_s"]


def test_keys_when_a_server_echoes_them_then_they_are_written_nowhere(program, problems, tmp_path):
    key = "sk-loopback-5f0e8d7c6b5a4938"

    def echo(body):
        return f"    return '{len(body)}'\n"

    from tests.loopback import Fault

    faults = {1: Fault(status=400, words=f"Incorrect API key provided: {key}")}
    dump, report = tmp_path / "samples.jsonl", tmp_path / "report.md"
    with OpenAIServer(echo, faults=faults.get) as server:
        done = program(
            *("-m", "openai/m", "-t", f"file:{problems}", "--prompt-style", "completion"),
            *("--report", str(report), "--dump-samples", str(dump)),
            OPENAI_BASE_URL=server.url,
            OPENAI_API_KEY=key,
        )
        assert server.requests[0].headers["authorization"].endswith(key)
    assert done.returncode == 3
    written = [path.read_bytes() for path in program.db.parent.rglob("*") if path.is_file()]
    assert len(written) >= 3
    for text in (done.stdout.encode(), done.stderr.encode(), *written):
        assert key.encode() not in text
        assert key[-12:].encode() not in text


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (("--runtime", "runk"), "unknown runtime of the container engine 'runk'; did you mean 'runc'"),
        (("--memory", "99999g"), "--memory asks for 102,398,976 MiB, and the engine's host has"),
    ],
)
def test_run_when_the_engine_has_not_what_is_asked_for_then_the_mend_is_said_and_no_run_begins(program, option, says):
    done = program("-m", "control/reference", "-t", "easy", *option)
    assert (done.returncode, done.stdout) == (2, "") and says in done.stderr
    assert json.loads(program("list", "--json", module="runs").stdout) == []
