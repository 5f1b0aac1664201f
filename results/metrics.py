"""The figures: pure functions from counts and samples to scores.

Problems are the sampling unit: pass@k is estimated for each, then averaged, and the standard error is that of the
average over problems. What is undefined is None, never 0 or 1.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from core.types import Completion, Metric, Rating, Reported, Sample, Score, Status
from results.ratings import means
from results.records import SuiteRecord

Z95 = 1.959963984540054
"""The standard normal distribution's 97.5 % quantile."""


@dataclass(frozen=True, slots=True)
class Counts:
    """One problem's samples."""

    n: int
    """Graded."""
    c: int
    """Passed, of those graded."""
    ungraded: int = 0
    """Asked for, but without a verdict: infrastructure failed, or they are still to come."""


def pass_at_k(n: int, c: int, k: int) -> float | None:
    """The chance that of k samples, drawn of n of which c passed, one at least passed; None where n < k.

    1 − C(n−c, k) / C(n, k) as the product 1 − Π_{i=n−c+1..n} (1 − k/i): Chen et al. 2021, "Evaluating Large Language
    Models Trained on Code", arXiv:2107.03374, section 2.1. The operations are those of its own code, in its order, so
    that the figures are equal to the last digit.
    """
    if not 0 <= c <= n or k < 1:
        raise ValueError(f"no pass@{k} of {c} passed of {n}")
    if n < k:
        return None
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def metric(counts: Sequence[Counts], k: int) -> Metric:
    """pass@k over problems.

    value: the mean of the problems' estimates, over those that have k graded samples. stderr: the sample standard
    deviation of these estimates over the square root of their number; None for fewer than two. ci95: value ± Z95 ·
    stderr within 0 and 1; Wilson's interval (1927) where the estimates are all equal, as at 0 and 1, and stderr says
    nothing. bounds: over all problems, so that value lies outside where those left out of it differ from the rest.
    """
    estimates = [e for e in (pass_at_k(p.n, p.c, k) for p in counts) if e is not None]
    m = len(estimates)
    bounds = _bounds(counts, k) if any(p.ungraded for p in counts) else None
    if not m:
        return Metric(None, None, None, 0, len(counts), bounds)
    value = _mean(estimates)
    stderr = math.sqrt(math.fsum((e - value) ** 2 for e in estimates) / (m - 1) / m) if m > 1 else None
    if stderr is None or len(set(estimates)) == 1:
        interval = _wilson(value, m)
    else:
        interval = max(0.0, value - Z95 * stderr), min(1.0, value + Z95 * stderr)
    return Metric(value, stderr, interval, m, len(counts) - m, bounds)


def score(
    suite: SuiteRecord,
    model: str,
    samples: Iterable[Sample],
    ks: Sequence[int],
    reported: Reported | None = None,
    ratings: Iterable[Rating] = (),
) -> Score:
    """One suite's score over a run's samples of it: pass@k, where samples pass or do not, and what its harness reports.

    samples: in the store's order, so far as a sample's turns come together; read once. A problem's several turns count
    as one sample: ungraded if one of them is, passed if all of them passed, else what the first other one was.

    `n_samples` is the number asked for, and the ledger holds those whose fate is known: the difference is still
    missing, and counts as ungraded. `usage` counts turns: `completions`, those of them that came from the cache
    (`cached`), the `requests` made for all, lost ones included; tokens summed over the `counted` completions, whose
    tokens are known; `cost_usd` by list prices, None unless all of it is known; `length_share`, the share of
    completions that the token limit cut; `judged_data`, `judged_two_process` and `judged_one_process`, by judging mode.
    `timing`: seconds summed over samples, and the median time to the first token.

    Raises ValueError for a sample that is not one of the suite's, or comes twice.
    """
    tally, usage = _Tally(suite), _Usage()
    for (task_id, index), turns in groupby(usage.watch(samples), key=lambda s: (s.key.task_id, s.key.index)):
        tally.add(task_id, index, list(turns))
    counts = tally.counts()
    ours = {} if tally.ledger[Status.SCORED] else {f"pass@{k}": metric(counts, k) for k in ks}
    return Score(
        harness=suite.harness,
        suite=suite.name,
        suite_version=suite.version,
        prompt_style=suite.style,
        model=model,
        n_problems=len(suite.problems),
        n_samples=sum(problem.n_samples for problem in suite.problems),
        metrics={**ours, **(reported.metrics if reported else {})},
        ledger={status: tally.ledger[status] for status in Status},
        usage=usage.usage(),
        timing=usage.timing(),
        reported=reported,
        ratings=means(ratings),
    )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _wilson(p: float, n: int) -> tuple[float, float]:
    z2 = Z95 * Z95
    center, scale = p + z2 / (2 * n), 1 + z2 / n
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return max(0.0, min(p, (center - half) / scale)), min(1.0, max(p, (center + half) / scale))


def _bounds(counts: Sequence[Counts], k: int) -> tuple[float, float] | None:
    whole = [p for p in counts if p.n + p.ungraded >= k]
    failed = [pass_at_k(p.n + p.ungraded, p.c, k) or 0.0 for p in whole]
    passed = [pass_at_k(p.n + p.ungraded, p.c + p.ungraded, k) or 0.0 for p in whole]
    return (_mean(failed), _mean(passed)) if whole else None


class _Tally:
    """The fate of each (task, index). Its memory grows with the problems: one bit a sample tells what was seen."""

    def __init__(self, suite: SuiteRecord) -> None:
        self.ledger: Counter[Status] = Counter()
        self._suite = suite.name
        self._problems = {problem.task_id: problem for problem in suite.problems}
        self._seen = dict.fromkeys(self._problems, 0)
        self._graded: Counter[str] = Counter()
        self._passed: Counter[str] = Counter()

    def add(self, task_id: str, index: int, turns: Sequence[Sample]) -> None:
        problem = self._problems.get(task_id)
        where = f"sample {index} of '{task_id}'"
        if problem is None or not 0 <= index < problem.n_samples or any(s.key.suite != self._suite for s in turns):
            raise ValueError(f"{where} is not one that the run asks of suite '{self._suite}'")
        if self._seen[task_id] >> index & 1 or len({s.key.turn for s in turns}) < len(turns):
            raise ValueError(f"{where} came twice")
        self._seen[task_id] |= 1 << index
        status = _fate([s.verdict.status for s in turns], problem.turns)
        if status is None:
            return
        self.ledger[status] += 1
        self._graded[task_id] += status.graded
        self._passed[task_id] += status is Status.PASSED

    def counts(self) -> list[Counts]:
        return [
            Counts(n := self._graded[p.task_id], self._passed[p.task_id], p.n_samples - n)
            for p in self._problems.values()
        ]


def _fate(turns: Sequence[Status], expected: int) -> Status | None:
    """The status of a sample by those of its turns; None where more are to come."""
    ungraded = next((status for status in turns if not status.graded), None)
    end = next((status for status in turns if not status.goes_on), None)
    return ungraded or end or (turns[-1] if len(turns) == expected else None)


class _Usage:
    """What the samples that pass by took."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._ttft_s = array("d")
        self._counts: Counter[str] = Counter()

    def watch(self, samples: Iterable[Sample]) -> Iterable[Sample]:
        for sample in samples:
            self._add("execution_s", sample.wall_s)
            self._counts["requests"] += sample.tries
            if sample.verdict.judging is not None:
                self._counts["judged_" + sample.verdict.judging.replace("-", "_")] += 1
            if sample.completion is not None:
                self._take(sample.completion)
            elif sample.tries:  # for nothing, but perhaps not for free
                self._counts["unpriced"] += 1
            yield sample

    def _take(self, completion: Completion) -> None:
        self._counts["completions"] += 1
        self._counts["cut"] += completion.finish_reason == "length"
        self._counts["cached"] += completion.cached
        self._counts["counted"] += None not in (completion.input_tokens, completion.output_tokens)
        self._counts["priced"] += completion.cost_usd is not None
        self._add("input_tokens", completion.input_tokens)
        self._add("output_tokens", completion.output_tokens)
        self._add("cost_usd", completion.cost_usd)
        self._add("generation_s", completion.total_s)
        if completion.ttft_s is not None:
            self._ttft_s.append(completion.ttft_s)

    def usage(self) -> dict[str, int | float | None]:
        counts = self._counts
        all_priced = counts["priced"] == counts["completions"] and not counts["unpriced"]
        return {
            "completions": counts["completions"],
            "requests": counts["requests"],
            "cached": counts["cached"],
            "input_tokens": self._sums.get("input_tokens"),
            "output_tokens": self._sums.get("output_tokens"),
            "counted": counts["counted"],
            "cost_usd": self._sums.get("cost_usd") if all_priced else None,
            "length_share": counts["cut"] / counts["completions"] if counts["completions"] else None,
            "judged_data": counts["judged_data"],
            "judged_two_process": counts["judged_two_process"],
            "judged_one_process": counts["judged_one_process"],
        }

    def timing(self) -> dict[str, float | None]:
        return {
            "generation_s": self._sums.get("generation_s"),
            "execution_s": self._sums.get("execution_s"),
            "ttft_p50_s": median(self._ttft_s) if self._ttft_s else None,
        }

    def _add(self, name: str, amount: float | None) -> None:
        if amount is not None:
            self._sums[name] = self._sums.get(name, 0) + amount
