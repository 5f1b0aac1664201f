"""How far a run is: a live display on a terminal, plain lines elsewhere. On standard error."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Self

from core.types import Sample, Status

EVERY_S = 10.0
"""How often a plain line is written."""
TELLING = 50
"""Before one in so many is done, nobody can tell when all will be."""


class Display:
    """What the runs of an invocation show themselves on: one line each, kept up to date where there is a terminal."""

    def __init__(self) -> None:
        self.live: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[words]}"),
            )
            self.live = Progress(*columns, console=Console(stderr=True), transient=True)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.stop()


class Tally:
    """Counts the samples of one run as they are stored, and shows them.

    total: the turns that the run asks for. already: those that were graded before.
    say: takes a plain line, where there is no terminal and at the end.
    """

    def __init__(self, display: Display, title: str, total: int, already: int, say: Callable[[str], None]) -> None:
        self.title, self.total, self.already, self._say, self._live = title, total, already, say, display.live
        self.ledger: Counter[Status] = Counter()
        self.answers = 0
        self._start = self._said = time.monotonic()
        if self._live is not None:
            self._task = self._live.add_task(title, total=total, completed=already, words="")

    def done(self, sample: Sample) -> None:
        """One more sample is stored."""
        self.ledger[sample.verdict.status] += 1
        self._show(1)

    def answered(self) -> None:
        """One more answer has come."""
        self.answers += 1
        self._show(0)

    def _show(self, advance: int) -> None:
        if self._live is not None:
            self._live.update(self._task, advance=advance, words=self._words())
        elif time.monotonic() - self._said >= EVERY_S and self.already + sum(self.ledger.values()) < self.total:
            self._said = time.monotonic()
            self._say(self.line())

    def line(self) -> str:
        """The state in one line."""
        done, rate = sum(self.ledger.values()), self._rate()
        left = self.total - self.already - done
        # The first few say nothing of the rest, where a harness hands over all at the end.
        time_left = f", {left / rate:,.0f} s left" if left and done > left / TELLING else ""
        return f"{self.title}: {self.already + done:,}/{self.total:,} done{time_left}, {self._words()}"

    def _rate(self) -> float:
        """Samples a second, in this session."""
        return sum(self.ledger.values()) / max(time.monotonic() - self._start, 1e-9)

    def _words(self) -> str:
        """The rate, the share that passed, and what became of the rest."""
        graded = sum(count for status, count in self.ledger.items() if status.graded)
        judged = graded - self.ledger[Status.SCORED]
        share = f"{100 * self.ledger[Status.PASSED] / judged:.1f} % passed" if judged else "none graded yet"
        if graded and not judged:
            share = "scored by the harness"
        elif not graded and self.answers:
            share = f"{self.answers:,} answers"
        rest = [f"{status.value} {self.ledger[status]:,}" for status in Status if self.ledger[status]]
        return f"{self._rate():,.1f}/s, {share}{': ' if rest else ''}{', '.join(rest)}"
