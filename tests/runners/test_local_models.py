"""Whole runs of a tiny random transformer: in this process, and behind a server that is not ours."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.models import tiny
from tests.models.serving import NAME, serving
from tests.runners import lm_eval_tasks
from tests.runners.test_bad_input import refused

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.checkpoint(tmp_path_factory.mktemp("model"), chat_template=tiny.WITH_BOS, context=2048))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("home")) as address:
        yield address


def judged(program, tmp_path, *given, **variables):
    samples = tmp_path / "samples.jsonl"
    (document,) = program.documents(*given, "--max-tokens", "16", "--dump-samples", str(samples), **variables)
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        assert line["status"] in ("failed", "crashed", "compile_error")  # it babbles
        assert line["completion"] and line["solution"]
        assert line["input_tokens"] > 10 and 0 < line["output_tokens"] <= 16
        assert 0 < line["ttft_s"] <= line["total_s"]
        assert line["effective"]["max_tokens"] == 16
    return document, lines


@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_run_when_the_model_is_in_this_process_then_its_samples_are_judged_and_their_seeds_give_them_again(
    program, problems, folder, style, tmp_path
):
    given = (
        *("-m", f"hf/{folder}", "-t", f"file:{problems}", "--prompt-style", style, "-n", "3"),
        *("--temperature", "1", "--seed", "5", "--no-cache"),
    )
    first, lines = judged(program, tmp_path, *given, HF_BATCH="4")
    _, again = judged(program, tmp_path, *given, HF_BATCH="1")
    assert first["results"][0]["n_samples"] == len(lines) == 15
    assert [line["completion"] for line in again] == [line["completion"] for line in lines]
    assert all(len({line["completion"] for line in lines if line["task_id"] == f"sum/{n}"}) == 3 for n in range(5))
    assert {line["effective"]["seed"] for line in lines} == {5, 6, 7}
    assert len(first["manifest"]["settings"]["effective"]["revision"]) == 64


@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_run_when_the_model_is_behind_a_real_server_then_its_tokens_and_times_are_recorded(
    program, problems, address, style, tmp_path
):
    document, lines = judged(
        *(program, tmp_path, "-m", f"openai/{NAME}", "-t", f"file:{problems}", "--prompt-style", style),
        OPENAI_BASE_URL=address,
    )
    usage = document["results"][0]["usage"]
    assert (usage["completions"], usage["counted"], usage["requests"]) == (5, 5, 5)
    assert usage["output_tokens"] == sum(line["output_tokens"] for line in lines)


def test_run_when_the_models_folder_is_not_there_then_one_line_says_so(inside):
    assert "there is no folder '~nobody-at-all/x'" in refused(inside("-m", "hf/~nobody-at-all/x", "-t", "humaneval"))


@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_run_when_lm_eval_asks_a_model_in_this_process_then_it_answers_and_scores_alone_as_in_batches(
    program, folder, style, tmp_path
):
    given = (
        *("-m", f"hf/{folder}", "-t", "sums", "-t", "arc_easy", "--prompt-style", style, "--no-cache"),
        *("--num-fewshot", "0", *lm_eval_tasks.write(tmp_path), *lm_eval_tasks.datasets(tmp_path, "sums", "arc_easy")),
    )
    found = []
    for batch in ("1", "8"):
        samples = tmp_path / f"samples{batch}.jsonl"
        (document,) = program.documents(*given, "--dump-samples", str(samples), HF_BATCH=batch)
        answers, choices = document["results"]
        assert answers["ledger"]["scored"] == lm_eval_tasks.N_SUMS
        assert choices["ledger"]["scored"] == lm_eval_tasks.N_CHOICES
        assert choices["usage"]["completions"] == lm_eval_tasks.N_CHOICES * lm_eval_tasks.CHOICES
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        found.append([[(line["suite"], line["completion"], line["status"]) for line in lines]])
        found[-1].append([result["metrics"] for result in document["results"]])
    assert found[0] == found[1]
