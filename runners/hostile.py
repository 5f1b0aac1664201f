"""Has a sandbox run every hostile program that there is, and says what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import HostError
from results.markdown import line, table
from runners.progress import Display
from sandbox.base import Sandbox
from sandbox.corpus import Corpus
from sandbox.corpus.trial import Outcome, Trial, trials, unsound

WIDTH = 100
"""Columns that a line takes at most, where it can be broken."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one language's programs."""

    language: str
    trials: tuple[Trial, ...] = ()
    fault: str | None = None
    """Why not all were run: a correct program does not pass to begin with, or no sandbox starts any more."""

    @property
    def ok(self) -> bool:
        """Whether all that should be was withstood."""
        return self.fault is None and not any(trial.failed for trial in self.trials)


async def attack(
    make: Callable[[], Sandbox],
    corpora: Sequence[Corpus],
    quick: bool,
    lanes: int,
    ready: Callable[[Mapping[str, Any]], None],
) -> list[Tried]:
    """Have each language's programs run; what came of them.

    make: a new sandbox of one worker, not started. quick: without the slow programs. lanes: how many at once.
    ready: called with the sandbox's description, once one has started. Raises what starting the first one raises.
    """
    async with make() as sandbox:
        wrongs = [await unsound(sandbox, each.neighbour) for each in corpora]
        ready(sandbox.describe())
    with Display() as display:
        return [
            Tried(each.language, fault=f"a correct program is not judged right ({wrong})")
            if wrong
            else await _one(make, each, quick, lanes, display)
            for each, wrong in zip(corpora, wrongs, strict=True)
        ]


async def _one(make: Callable[[], Sandbox], corpus: Corpus, quick: bool, lanes: int, display: Display) -> Tried:
    probes = [probe for probe in corpus.probes if not (quick and probe.slow)]
    came: dict[str, Trial] = {}
    task = None if display.live is None else display.live.add_task(corpus.language, total=len(probes), words="")

    def done(trial: Trial) -> None:
        came[trial.probe.key] = trial
        if display.live is not None:
            failed = sum(each.failed for each in came.values())
            display.live.update(task, advance=1, words=f"{failed} failed; {trial.probe.key}")

    fault = None
    try:
        await trials(make, probes, corpus.neighbour, done, lanes)
    except HostError as error:  # what has been found out by then still counts
        fault = str(error)
    return Tried(corpus.language, tuple(came[probe.key] for probe in probes if probe.key in came), fault)


def written(found: Sequence[Tried]) -> str:
    """For a person: a table by file, then what failed, and what is known to pass."""
    rows = [row for tried in found for row in _rows(tried)]
    parts = []
    if rows:
        total = [sum(counts) for counts in zip(*(row[1:] for row in rows), strict=True)]
        cells = [[str(cell) for cell in row] for row in (*rows, ("all", *total))]
        parts.append(table(("hostile programs", "run", "withstood", "known to pass", "failed"), cells, "lrrrr"))
    parts += [
        wrapped(f"{tried.language}: {'no more' if tried.trials else 'none'} could be run: {tried.fault}")
        for tried in found
        if tried.fault is not None
    ]
    failed = [trial for tried in found for trial in tried.trials if trial.failed]
    if failed:
        parts.append("\n".join(["failed:", *(_failed(trial) for trial in failed)]))
    known = list(_known(found))
    if known:
        parts.append("\n".join(["known to pass, for want of a defence:", *known]))
    return "\n\n".join(parts)


def record(tried: Tried) -> dict[str, Any]:
    """For a program: the same, and every trial."""
    return {
        "language": tried.language,
        "ok": tried.ok,
        "fault": tried.fault,
        "files": [
            {"file": file, "run": run, "withstood": withstood, "known": known, "failed": failed}
            for file, run, withstood, known, failed in _rows(tried)
        ],
        "trials": [
            {
                "file": trial.probe.file,
                "name": trial.probe.name,
                "mode": trial.probe.mode,
                "outcome": trial.outcome.value,
                "failed": trial.failed,
                "status": None if trial.status is None else trial.status.value,
                "detail": trial.detail,
                "undefended": trial.probe.undefended or None,
                "wall_s": round(trial.wall_s, 3),
            }
            for trial in tried.trials
        ],
    }


def wrapped(text: str, first: str = "", rest: str = "  ") -> str:
    """A text on lines as wide as a terminal. first, rest: what stands before its first line, and before the others."""
    return textwrap.fill(
        line(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rows(tried: Tried) -> Iterator[tuple[str, int, int, int, int]]:
    for file in dict.fromkeys(trial.probe.file for trial in tried.trials):
        those = [trial for trial in tried.trials if trial.probe.file == file]
        withstood = sum(trial.outcome is Outcome.WITHSTOOD for trial in those)
        known, failed = sum(trial.known for trial in those), sum(trial.failed for trial in those)
        yield file if file == tried.language else f"{tried.language}/{file}", len(those), withstood, known, failed


def _failed(trial: Trial) -> str:
    return wrapped(f"{trial.probe.language} {trial.probe.key}: {trial.outcome.value} ({trial.detail})", "- ")


def _known(found: Sequence[Tried]) -> Iterator[str]:
    names: dict[tuple[str, str, str, str], list[str]] = {}
    for trial in (trial for tried in found for trial in tried.trials if trial.known):
        probe = trial.probe
        names.setdefault((probe.language, probe.file, probe.mode, probe.undefended), []).append(probe.name)
    for (language, file, mode, why), those in names.items():
        place = language if file == language else f"{language}/{file}, {mode}"
        yield wrapped(f"{place}: {', '.join(those)}: {why}", "- ")
