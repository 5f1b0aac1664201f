"""What harnesses report, as a table."""

import pytest
from results_fakes import sample, suite

from core.types import Metric, Reported, Status
from results.metrics import score
from results.reported import harness_table, ours


def reported(name="sums", metrics=None, **fields):
    figures = {"acc,none": Metric(0.25, 0.125, None, 1234)} if metrics is None else metrics
    return Reported("lm-eval", name, figures, **fields)


def scored(what, status=Status.SCORED):
    return score(suite(what.name if what else "easy"), "m/x", [sample(suite=what.name if what else "easy",
                 status=status)], [1], what)  # fmt: skip


def cells(table):
    """The rows of a table, below its header."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_table_when_no_harness_reports_then_empty():
    assert harness_table([scored(None)], []) == ""
    assert harness_table([scored(reported(metrics={}))], []) == ""


def test_table_then_a_row_for_each_figure_groups_first():
    figures = {
        "pass@16,strict-match": Metric(0.123456, 0.01, None, 5),
        "pass@8,none": Metric(31.5, None, None, 5),
        "byte_perplexity,none": Metric(12.0, None, None, 5),
    }
    better = {"pass@16": True, "byte_perplexity": False, "pass@8": None}
    details = {"version": 3, "n_shot": 5}
    both = reported("both", members=("sums",), group=True, details={"version": None, "n_shot": None})
    found = cells(harness_table([scored(reported(metrics=figures, higher_is_better=better, details=details))], [both]))
    assert [row[:1] + row[3:] for row in found] == [
        ["lm-eval/both (group)", "none", "", "acc", "", "0.2500", "0.1250", "1,234"],
        ["lm-eval/sums", "none", "5", "byte_perplexity", "↓", "12.0000", "", "5"],
        ["lm-eval/sums", "none", "5", "pass@8", "", "31.5000", "", "5"],
        ["lm-eval/sums", "strict-match", "5", "pass@16", "↑", "0.1235", "0.0100", "5"],
    ]
    assert [row[1:3] for row in found] == [["", ""]] + [["3", "instruct"]] * 3


def test_table_when_a_figure_is_none_then_undefined_and_never_zero():
    (row,) = cells(harness_table([scored(reported(metrics={"acc,none": Metric(None, None, None, 0)}))], []))
    assert row[-3:] == ["undefined", "", "0"]


@pytest.mark.parametrize("status", [Status.PASSED, Status.FAILED])
def test_ours_then_the_figures_that_the_harness_does_not_have(status):
    assert list(ours(scored(reported(), status))) == ["pass@1"]
    assert list(ours(scored(reported()))) == []
    assert list(ours(scored(None, status))) == ["pass@1"]
