"""The golden file is `tests/golden/report.md`: made again by running these tests with TOUCHSTONE_REGENERATE=1."""

import os
from dataclasses import replace

import pytest
from results_fakes import ROOT, run, sample, suite

from core.errors import UnknownName
from core.types import (
    CaseVerdict,
    Completion,
    Message,
    Metric,
    Reported,
    RunSpec,
    SamplingParams,
    Solution,
    Status,
    SuiteRef,
    Verdict,
)
from results.metrics import score
from results.report import SHOWN, render

GOLDEN = ROOT / "tests" / "golden" / "report.md"


def scored(record, samples):
    return [
        score(s, record.spec.model, [sample for sample in samples if sample.key.suite == s.name], record.spec.k)
        for s in record.suites
    ]


def rendered(record, samples, template="report"):
    return render(record, scored(record, samples), samples, template)


def failed(task_id="add", index=0, status=Status.FAILED, detail="add(1, 2) gave -1, not 3", **fields):
    return sample(
        task_id, index, status=status, verdict=Verdict(status, detail, (CaseVerdict(False),), "data"), **fields
    )


def golden_run():
    spec = RunSpec(
        "ollama/qwen2.5-coder:7b",
        (SuiteRef("native", "easy"), SuiteRef("native", "hard"), SuiteRef("bigcode", "multiple-js")),
        n_samples=2,
        k=(1, 2),
        params=SamplingParams(temperature=0.8, top_p=0.95, max_tokens=512, seed=7),
    )
    record = run(
        suite("easy", n_samples=2),
        suite("hard", ("lru_cache",), n_samples=2, turns=2),
        suite("multiple-js", ("HumanEval_0_js",), n_samples=2, harness="bigcode", style="completion"),
        spec=spec,
        status="incomplete",
        wall_s=83.25,
    )
    took = {"input_tokens": 40, "output_tokens": 120, "ttft_s": 0.21, "total_s": 1.5}
    fenced = "Here:\n````\n```python\ndef add(a, b):\n    return a - b\n```\n````"
    samples = [
        sample("add", 0, completion=Completion("def add(a, b): return a + b", **took), wall_s=0.02),
        failed(
            "add",
            1,
            completion=Completion(fenced, "length", **took),
            solution=Solution("def add(a, b):\n    return a - b\n", "fence"),
            prompt=(Message("system", "Answer in Python."), Message("user", "Write add. Show it in a ```fence```.")),
            wall_s=0.02,
        ),
        sample("sub", 0, completion=Completion("def sub(a, b): return a - b", **took), wall_s=0.02),
        sample("sub", 1, status=Status.GENERATION_ERROR, verdict=Verdict(Status.GENERATION_ERROR, "429 after 5 tries")),
        sample("lru_cache", 0, 0, suite="hard", wall_s=0.1),
        failed(
            "lru_cache",
            0,
            Status.CRASHED,
            "RecursionError: maximum recursion depth exceeded",
            turn=1,
            suite="hard",
            stderr="Traceback (most recent call last):\n" + "get(" * 600 + "\nRecursionError\n",
            wall_s=0.4,
        ),
        sample(
            "HumanEval_0_js",
            0,
            suite="multiple-js",
            verdict=Verdict(Status.PASSED, "", (), "one-process"),
            wall_s=0.3,
        ),
        sample("HumanEval_0_js", 1, suite="multiple-js", status=Status.NO_SOLUTION, completion=Completion("")),
    ]
    return record, samples


def test_render_of_the_golden_run_then_the_golden_file():
    got = rendered(*golden_run())
    if os.environ.get("TOUCHSTONE_REGENERATE"):
        GOLDEN.write_text(got, encoding="utf-8")
    assert got == GOLDEN.read_text(encoding="utf-8")


def test_render_of_a_summary_then_the_figures_and_no_sample_is_read():
    record, samples = golden_run()

    def unread():
        raise AssertionError("a sample was read")
        yield

    got = render(record, scored(record, samples), unread(), "summary")
    assert "| native/easy " in got
    assert " 75.00 % |" in got
    assert "Write add" not in got


@pytest.mark.parametrize("template", ["report", "summary"])
@pytest.mark.parametrize(
    ("model", "words"),
    [("control/reference", "answers with the reference solutions"), ("control/broken", "answers with wrong solutions")],
)
def test_render_of_a_control_then_says_that_no_model_was_measured(template, model, words):
    got = rendered(run(model=model), [], template)
    assert words in got
    assert "it measures no model" in got


def test_render_of_a_model_then_says_nothing_of_controls():
    assert "measures no model" not in rendered(run(), [])


def test_render_of_given_generations_then_says_that_no_model_was_called():
    record = run()
    got = rendered(replace(record, spec=replace(record.spec, generations="answers.jsonl")), [])
    assert "`answers.jsonl`: no model was called" in got


@pytest.mark.parametrize("template", ["report", "summary"])
def test_render_of_an_incomplete_run_then_says_how_many_are_graded_and_how_to_go_on(template):
    samples = [sample("add"), sample("sub", status=Status.SANDBOX_ERROR)]
    got = rendered(run(status="interrupted"), samples, template)
    assert "**This run is interrupted:** 1 of 2 samples are graded" in got
    assert "`touchstone run --resume 20260102-aaaa`" in got
    assert "all failed" in got


def test_render_of_a_complete_run_then_no_bounds_and_no_missing_samples():
    got = rendered(run(status="complete"), [sample("add"), sample("sub")])
    assert "Ungraded" not in got
    assert "missing" not in got
    assert "did not pass" not in got


def test_render_of_more_failures_than_are_shown_then_says_how_many_more():
    record = run(suite(n_samples=SHOWN + 5), suite("hard"))
    samples = [failed(index=index) for index in range(SHOWN + 5)] + [failed(suite="hard")]
    got = rendered(record, samples)
    assert got.count("\n#### ") == SHOWN + 1
    assert "And 5 more: `--dump-samples FILE`" in got


def test_render_of_hostile_text_then_it_stays_in_its_place():
    hostile = "```\n# Not a heading\n| not | a row |\n{{ 7 * 7 }} {% raw %}\x1b[2J\udc80<script>"
    record = run(suite(problems=(hostile,)), model="m/`|\n# x")
    got = rendered(
        record, [failed(hostile, prompt=hostile, completion=Completion(hostile), solution=None, stderr=hostile)]
    )
    got.encode()
    assert "{{ 7 * 7 }} {% raw %}" in got
    assert "\x1b" not in got
    headings = [line for line in got.splitlines() if line.startswith("# ")]
    assert headings[0].startswith("# Touchstone report")
    assert "\n````\n```\n# Not a heading" in got


def test_render_of_an_unknown_template_then_unknown_name_with_what_there_is():
    with pytest.raises(UnknownName, match="report, summary"):
        render(run(), [], [], "sumary")


@pytest.mark.parametrize("template", ["report", "summary"])
def test_render_when_a_harness_reports_then_its_table_stands_for_ours(template):
    figures = {"acc,none": Metric(0.5, 0.25, None, 2)}
    asked = suite(harness="lm-eval")
    record, samples = run(asked), [sample(status=Status.SCORED), sample("sub", status=Status.SCORED)]
    both = Reported("lm-eval", "both", figures, members=("easy",), group=True)
    scores = [score(asked, "m/x", samples, [1], Reported("lm-eval", "easy", figures))]
    text = render(record, scores, samples, template, [both])
    assert text.index("lm-eval/both (group)") < text.index("| lm-eval/easy ")
    assert "0.5000" in text and "pass@1" not in text
    assert "Samples that did not pass" not in text
