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


class Progress:
    """Counts samples as they are stored, for one run.

    total: the turns that the run asks for. already: those that were graded before.
    say: takes a plain line, where standard error is no terminal.
    """

    def __init__(self, title: str, total: int, already: int, say: Callable[[str], None]) -> None:
        self.title, self.total, self.already, self._say = title, total, already, say
        self.ledger: Counter[Status] = Counter()
        self._start = self._said = time.monotonic()
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        self._say(self.line())

    def done(self, sample: Sample) -> None:
        """One more sample is stored."""
        self.ledger[sample.verdict.status] += 1
        if self._live is not None:
            self._live.update(self._task, advance=1, words=self._words())
        elif time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            self._say(self.line())

    def line(self) -> str:
        """The state in one line."""
        done = sum(self.ledger.values())
        rate = done / max(time.monotonic() - self._start, 1e-9)
        left = self.total - self.already - done
        time_left = f", {left / rate:,.0f} s left" if done and left else ""
        return f"{self.title}: {self.already + done:,}/{self.total:,} done, {rate:,.1f}/s{time_left}; {self._words()}"

    def _words(self) -> str:
        """The share that passed, and what became of the rest."""
        graded = sum(count for status, count in self.ledger.items() if status.graded)
        passed = self.ledger[Status.PASSED]
        share = f"{100 * passed / graded:.1f} % passed" if graded else "none graded yet"
        rest = [f"{status.value} {self.ledger[status]:,}" for status in Status if self.ledger[status]]
        return ", ".join([share, *rest])

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Live

        self._live = Live(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._live.add_task(self.title, total=self.total, completed=self.already, words="")
        self._live.start()
