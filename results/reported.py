"""What harnesses report, laid out beside our own figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from core.types import Metric, Reported, Score
from results.markdown import table

DIRECTIONS = {True: "↑", False: "↓", None: ""}


def ours(score: Score) -> Mapping[str, Metric]:
    """The figures of a score that are our own."""
    theirs = score.reported.metrics if score.reported else {}
    return {name: metric for name, metric in score.metrics.items() if name not in theirs}


def harness_table(scores: Sequence[Score], groups: Sequence[Reported]) -> str:
    """A row for each figure that a harness reports, groups before suites; empty where none does.

    ↑: more is better, ↓: less is.
    """
    rows = []
    of_suites = [(score.reported, score.prompt_style) for score in scores if score.reported]
    for reported, style in (*((group, "") for group in groups), *of_suites):
        name = f"{reported.harness}/{reported.name}"
        for key, metric in sorted(reported.metrics.items(), key=lambda item: _natural(item[0])):
            figure, _, filtered = key.partition(",")
            rows.append(
                (
                    f"{name} (group)" if reported.group else name,
                    _number(reported.details.get("version")),
                    style,
                    filtered,
                    _number(reported.details.get("n_shot")),
                    figure,
                    DIRECTIONS[reported.higher_is_better.get(figure)],
                    "undefined" if metric.value is None else f"{metric.value:.4f}",
                    "" if metric.stderr is None else f"{metric.stderr:.4f}",
                    f"{metric.n:,}",
                )
            )
    header = ("suite", "version", "style", "filter", "n-shot", "metric", "", "value", "±", "problems")
    return table(header, rows, "llllrlcrrr") if rows else ""


def _natural(text: str) -> list[tuple[int, int | str]]:
    """To sort by: numbers in a text count as such, so that pass@8 comes before pass@16."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text)]


def _number(value: object) -> str:
    return "" if value is None else str(value)
