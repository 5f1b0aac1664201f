"""What lm-eval is given: its tasks by name, those of further folders, their data, answers that exist; good and bad."""

from __future__ import annotations

import json

import pytest

from adapters import lm_eval_index
from tests.loopback import AnthropicServer, OllamaServer
from tests.loopback.scoring import ScoringServer
from tests.runners.lm_eval_tasks import (
    N_SUMS,
    answer,
    choices,
    datasets,
    sums,
    write,
    write_lines,
)
from tests.runners.test_bad_input import refused

REFERENCE = ("-m", "control/reference")


@pytest.fixture
def tasks(tmp_path):
    """A folder of tasks: `sums`, `votes` and `draws`, and what is written there further."""
    write(tmp_path)
    return tmp_path / "tasks"


def own(folder, name, text):
    (folder / f"{name}.yaml").write_text(f"include: sums.yaml\ntask: {name}\n{text}\n")


# ── good ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_run_when_a_task_of_a_further_folder_is_named_then_it_is_found_and_comes_before_a_stock_one(
    program, tasks, tmp_path
):
    own(tasks, "arc_easy", "")
    (found, stock_named) = program.documents(
        *("-m", "control/reference", "-m", "control/broken"),
        *("-t", "sums", "-t", "arc_easy", "--include-path", str(tasks)),
        *("--dataset", f"nobody/sums={write_lines(tmp_path / 'sums.jsonl', sums())}"),
    )
    for document, value in ((found, 1.0), (stock_named, 0.0)):
        assert [result["suite"] for result in document["results"]] == ["sums", "arc_easy"]
        for result in document["results"]:
            assert result["metrics"]["exact_match,none"]["value"] == value
            assert result["n_problems"] == N_SUMS


@pytest.mark.parametrize("form", ["lists", "lines"])
def test_generations_when_they_are_by_document_then_they_are_scored_as_they_are(program, tasks, tmp_path, form):
    texts = [[f"{2 * n if n < 4 else 7}\nQ: and so on", "7", "7"] for n in range(N_SUMS)]
    path = tmp_path / "answers.json"
    if form == "lists":
        path.write_text(json.dumps(texts))
    else:
        write_lines(path, ({"task_id": str(n), "completion": text} for n, each in enumerate(texts) for text in each))
    (document,) = program.documents(
        *("-t", "sums", "--include-path", str(tasks), "--generations", str(path)), *datasets(tmp_path, "sums")
    )
    (result,) = document["results"]
    assert result["metrics"]["exact_match,none"]["value"] == 4 / N_SUMS  # of the first answers
    assert result["n_samples"] == result["ledger"]["scored"] == 3 * N_SUMS


def test_tasks_when_a_pattern_is_given_then_those_of_lm_eval_are_listed(program):
    done = program("list", "--harness", "lm-eval", "arc*", "--json", module="tasks")
    assert done.returncode == 0, done.stderr
    rows = {row["suite"]: row for row in json.loads(done.stdout)}
    assert all(name.startswith("arc") for name in rows)
    easy = {"harness": "lm-eval", "suite": "arc_easy", "kind": "task", "output": "multiple_choice", "of": None}
    assert rows["arc_easy"] == {**easy, "data": "allenai/ai2_arc"}
    table = program("list", "--harness", "lm-eval", "arc_e*", module="tasks")
    assert "| arc_easy " in table.stdout and "multiple_choice" in table.stdout


@pytest.mark.slow
def test_tasks_when_they_are_read_then_that_is_once_for_a_version(program, tmp_path):
    given = ("list", "--harness", "lm-eval", "arc_easy", "--json")
    first, second = (program(*given, module="tasks", XDG_CACHE_HOME=str(tmp_path)) for _ in range(2))
    assert first.stderr.splitlines() == ["reading lm-eval's tasks, once for this version: some 10 s"]
    assert second.stderr == ""
    assert first.stdout == second.stdout and json.loads(first.stdout)
    assert [path.suffix for path in (tmp_path / "touchstone").iterdir()] == [".json"]


# ── bad ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--harness", "lm-eval", "-t", "arc_eazy"), "unknown task 'arc_eazy'; did you mean 'arc_easy'"),
        (("-t", "humaneval", "--num-fewshot", "3"), "--num-fewshot is a setting of lm-eval's tasks"),
        (("-t", "humaneval", "--include-path", "/nowhere"), "--include-path /nowhere: there is no such folder"),
        (("--harness", "lm-eval", "-t", "arc_easy", "-t", "tiers"), "unknown task 'tiers'"),
        (("--harness", "lm-eval", "-t", "arc_easy", "-n", "2", "--k", "5"), "add --n-samples 5"),
        (("-t", "arc_easy", "-t", "easy"), "state --temperature and --n-samples for both"),
    ],
)
def test_run_when_its_settings_do_not_fit_lm_eval_then_one_line_names_the_mend(inside, arguments, says):
    assert says in refused(inside(*REFERENCE, *arguments))


@pytest.mark.parametrize(("kind", "variable"), [(OllamaServer, "OLLAMA_HOST"), (AnthropicServer, "ANTHROPIC_BASE_URL")])
def test_run_when_the_model_gives_no_likelihoods_then_those_that_do_are_named_and_nothing_is_asked(
    program, tasks, tmp_path, kind, variable
):
    name = kind.__name__.removesuffix("Server").lower()
    with kind(lambda _: "") as server:
        done = program(
            *("-m", f"{name}/m", "-t", "sums", "-t", "arc_easy", "--include-path", str(tasks)),
            *datasets(tmp_path, "sums", "arc_easy"),
            **{variable: server.url, "ANTHROPIC_API_KEY": "k"},
        )
        assert server.requests == []
    line = refused(done)
    assert "'arc_easy'" in line and "'sums'" not in line
    assert all(provider in line for provider in ("hf/", "openai/", "vllm/"))


def test_run_when_lm_eval_is_not_installed_then_the_command_that_installs_it_is_said(inside, monkeypatch):
    monkeypatch.setattr(lm_eval_index, "find_spec", lambda _: None)
    lm_eval_index.names.cache_clear()
    line = refused(inside(*REFERENCE, "--harness", "lm-eval", "-t", "arc_easy"))
    assert "pip install 'touchstone[lm-eval]'" in line
    lm_eval_index.names.cache_clear()
    line = refused(inside(*REFERENCE, "-t", "arc_easy"))
    assert "unknown task 'arc_easy'" in line and "pip install 'touchstone[lm-eval]'" in line


def test_data_when_it_is_of_no_task_then_its_name_is_said(inside, tasks, tmp_path):
    given = ("-t", "sums", "--include-path", str(tasks), *datasets(tmp_path, "sums"))
    line = refused(inside(*REFERENCE, *given, "--dataset", f"sum={tmp_path}"))
    assert "--dataset sum=…: no task of this run takes its data from 'sum'" in line


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("nowhere.jsonl", None, "there is no such file or folder"),
        ("broken.jsonl", '{"question": "Q: 1', "cannot be read"),
        ("data.txt", "Q: 1 + 1 ?", "a file of .json, .jsonl"),
        ("empty.jsonl", "", "sums"),
        ("other.jsonl", '{"text": "of something else"}\n', "sums"),
    ],
)
def test_data_when_the_file_is_bad_then_it_is_named(inside, tasks, tmp_path, name, text, says):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    line = refused(inside(*REFERENCE, "-t", "sums", "--include-path", str(tasks), "--dataset", f"sums={path}"))
    assert says in line


@pytest.mark.parametrize("folder", [True, False])
def test_data_when_worked_examples_have_no_split_then_it_is_named(inside, tmp_path, folder):
    path = tmp_path / "data"
    path.mkdir()
    file = write_lines(path / "test.jsonl", choices())
    given = ("--dataset", f"arc_easy={path if folder else file}", "--num-fewshot", "2")
    line = refused(inside(*REFERENCE, "-t", "arc_easy", *given))
    assert "task 'arc_easy' takes the split 'train' too" in line and "such as train.jsonl" in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("metric_list: [{metric: nobody/metric, hf_evaluate: true}]", "takes the metric 'nobody/metric' from the hub"),
        ("class: !function broken.Broken", "cannot be loaded: ArithmeticError: out of order"),
        ("doc_to_text: !function nowhere.text", "cannot be loaded"),
        ("output_type: sing", "cannot be loaded"),
        ("metric_list: [{metric: nonsense}]", "nonsense"),
        ("doc_to_text: '{{ question'", "own"),
    ],
)
def test_task_when_it_cannot_be_used_then_one_line_says_why(inside, tasks, tmp_path, text, says):
    (tasks / "broken.py").write_text(
        "class Broken:\n    def __init__(self, *_, **__):\n        raise ArithmeticError('out of order')\n"
    )
    own(tasks, "own", text)
    line = refused(
        inside(*REFERENCE, "-t", "own", "--include-path", str(tasks), *datasets(tmp_path, "sums")[:1],
               f"own={tmp_path / 'sums.jsonl'}")
    )  # fmt: skip
    assert says in line


def test_task_when_its_file_is_no_yaml_then_it_is_named(inside, tasks):
    (tasks / "broken.yaml").write_text("task: [broken\n")
    line = refused(inside(*REFERENCE, "-t", "sums", "--include-path", str(tasks)))
    assert f"{tasks / 'broken.yaml'}: cannot be read as YAML" in line


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("-t", "draws", "--k", "1,5"), "pass@5 needs 5 samples of each problem of 'draws', which has 3"),
        (("-t", "humaneval", "--harness", "lm-eval", "-n", "2", "--k", "2"), "add --temperature 0.8"),
    ],
)
def test_samples_when_pass_at_k_is_undefined_or_of_one_sample_then_the_mend_is_said(
    program, tasks, tmp_path, given, says
):
    with ScoringServer(answer) as server:
        done = program(
            *("-m", "openai/m", *given, "--include-path", str(tasks)),
            *datasets(tmp_path, "draws")[:1],
            f"{given[1]}={tmp_path / 'programs.jsonl'}",
            OPENAI_BASE_URL=server.url,
        )
        assert server.requests == []
    assert says in refused(done)


def test_hub_when_it_is_out_of_reach_then_the_option_that_does_without_is_said(inside):
    line = refused(inside(*REFERENCE, "-t", "arc_easy", HF_HUB_OFFLINE="1", HF_HOME="/nowhere"), code=1)
    assert "the data set 'allenai/ai2_arc' of task 'arc_easy' cannot be loaded" in line
    assert line.endswith("give it from a file or folder: --dataset arc_easy=PATH")
