"""Trying a sandbox: hostile programs run in it, each followed by a correct one in the same place, and what came of it.

`touchstone sandbox check` and the tests both judge by this.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from core.types import Candidate, Execution, Status
from sandbox import languages, wire
from sandbox.agent.watch import PATIENCE
from sandbox.base import Sandbox
from sandbox.corpus import Neighbour, Probe
from sandbox.pythons import is_python
from sandbox.verdict import verdict

LANES = 4
"""Sandboxes at a time, of one worker each, so that a program's neighbour follows it in the same worker."""
LATE_S = 5.0
"""What the end of a program may take on a busy machine beyond its limits."""
STARTING_S = 60.0
"""What starting a worker anew may take in addition, where a program was the end of one."""


class Outcome(StrEnum):
    """What came of a hostile program."""

    WITHSTOOD = "withstood"
    """It failed in time, and its neighbour passed."""
    PASSED = "passed"
    HUNG = "hung"
    """It was not stopped in time."""
    DISTURBED = "neighbour disturbed"
    """The correct program after it did not pass, or found something of it."""
    FAULT = "sandbox fault"
    """The sandbox could not judge it, or its neighbour."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One hostile program and what came of it."""

    probe: Probe
    outcome: Outcome
    detail: str = ""
    """One line for a person: how it was judged, or what went wrong."""
    status: Status | None = None
    """How it was judged; None: it never ended."""
    wall_s: float = 0.0

    @property
    def known(self) -> bool:
        """Whether it passed, as is known that it does."""
        return self.outcome is Outcome.PASSED and bool(self.probe.undefended)

    @property
    def failed(self) -> bool:
        """Whether the sandbox did not withstand it, and should have."""
        return self.outcome is not Outcome.WITHSTOOD and not self.known


async def trials(
    make: Callable[[], Sandbox],
    probes: Iterable[Probe],
    neighbour: Neighbour,
    done: Callable[[Trial], None],
    lanes: int = LANES,
) -> None:
    """Try them all, several at once.

    make: a new sandbox of one worker, not started. done: called with each trial when it has ended. Raises what starting
    a sandbox raises; whatever ends it, no sandbox is left.
    """
    todo = list(probes)[::-1]

    async def lane() -> None:
        while todo:
            async with make() as sandbox:
                while todo:
                    trial = await attempt(sandbox, todo.pop(), neighbour)
                    done(trial)
                    if trial.outcome not in (Outcome.WITHSTOOD, Outcome.PASSED):
                        break  # what is wrong with this sandbox is not the next program's doing

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(lanes, len(todo))):
                group.create_task(lane())
    except ExceptionGroup as error:
        raise error.exceptions[0] from None


async def attempt(sandbox: Sandbox, probe: Probe, neighbour: Neighbour) -> Trial:
    """Run a hostile program, and a correct one after it."""
    execution = await _run(sandbox, probe.candidate)
    after = None if execution is None else await _run(sandbox, neighbour.candidate)
    return judge(probe, neighbour, execution, after)


async def unsound(sandbox: Sandbox, neighbour: Neighbour) -> str | None:
    """What is wrong with a sandbox in which the correct program does not pass before any hostile one has run."""
    return _disturbed(neighbour, await sandbox.run(neighbour.candidate))


def judge(probe: Probe, neighbour: Neighbour, execution: Execution | None, after: Execution | None) -> Trial:
    """What came of a hostile program, by its execution and its neighbour's; None: one that did not end.

    The first that is true counts: the sandbox's own fault, a disturbed neighbour, one that was not stopped in time, one
    that passed.
    """
    limit_s = longest(probe.candidate)
    if execution is None:
        return Trial(probe, Outcome.HUNG, f"it had not ended after {limit_s + STARTING_S:,.0f} s")
    judged = verdict(probe.candidate, execution)
    outcome, detail = Outcome.WITHSTOOD, f"{judged.status.value}: {judged.detail}".removesuffix(": ")
    wrong = "it did not end" if after is None else _disturbed(neighbour, after)
    if not judged.status.graded:
        outcome = Outcome.FAULT
    elif after is not None and after.fault is not None:
        outcome, detail = Outcome.FAULT, f"{detail}; the correct program after it: {after.fault}"
    elif wrong is not None:
        outcome, detail = Outcome.DISTURBED, f"{detail}; the correct program after it: {wrong}"
    elif execution.wall_s >= limit_s:
        outcome, detail = Outcome.HUNG, f"{detail}, after {execution.wall_s:,.0f} s"
    elif judged.status is Status.PASSED:
        outcome = Outcome.PASSED
    return Trial(probe, outcome, detail, judged.status, execution.wall_s)


def longest(candidate: Candidate) -> float:
    """Seconds after which a candidate has been stopped, compiling included, however busy the machine may be."""
    compiling = 0.0
    if not is_python(candidate.language):
        compiling = languages.load(candidate.language).limits.compile_cpu_s + candidate.limits.wall_margin_s
    return (1 + PATIENCE) * (wire.longest(candidate) + compiling) + LATE_S


async def _run(sandbox: Sandbox, candidate: Candidate) -> Execution | None:
    """A candidate's execution; None where the sandbox does not come back with it."""
    try:
        return await asyncio.wait_for(sandbox.run(candidate), longest(candidate) + STARTING_S)
    except TimeoutError:
        return None


def _disturbed(neighbour: Neighbour, execution: Execution) -> str | None:
    """What is wrong with the correct program's execution."""
    judged = verdict(neighbour.candidate, execution)
    if judged.status is not Status.PASSED:
        return f"{judged.status.value}: {judged.detail}".removesuffix(": ")
    if neighbour.stdout is not None and execution.stdout != neighbour.stdout:
        return f"its output was {execution.stdout[:100]!r}"
    return None
