"""What a task must be before its figures mean anything: the health gate of `touchstone tasks validate`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters import project
from adapters.native import given
from core.checks import LITERAL
from core.types import Candidate, Problem, Solution, Status, Turn, Verdict, Wrong
from quality.mutants import Mutant, mutants
from sandbox.base import Sandbox
from sandbox.verdict import verdict

TESTS, WRONG = 8, 4
"""How many tests and wrong solutions a task has at least."""
TIMES = 5
"""How often a reference must pass, of as many times."""
KILLED = 0.9
"""The least share of a tier's mutants that its tests must notice."""
MUTANTS = 40
"""Of a task's mutants, so many are tried when many tasks are, spread over its reference."""
MUTANT_S, TIMES_SLOWER = 0.5, 10.0
"""A mutant may take so many CPU seconds a case, or so many times what the reference took, where that is more."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task file that has been read."""

    file: Path
    problem: Problem
    metadata: Any = None


@dataclass(slots=True)
class Health:
    """What was found of a task."""

    faults: list[str] = field(default_factory=list)
    mutants: int = 0
    survivors: list[str] = field(default_factory=list)


class Gate:
    """Judges tasks in a sandbox.

    box: one that takes equal programs together, and checks sources. fresh: one that runs each anew. most: mutants of
    each task; None: all.
    """

    def __init__(self, box: Sandbox, fresh: Sandbox, most: int | None) -> None:
        self._box, self._fresh, self._most = box, fresh, most

    async def task(self, task: Task, *, mutate: bool) -> Health:
        """Try its references, wrong solutions and mutants."""
        found = Health([*stated(task.problem)])
        for number, turn in enumerate(task.problem.turns):
            where = f"turns[{number}]"
            found.faults += [f"{where}.{fault}" for fault in await self._turn(task.problem, number, turn)]
            if mutate and not found.faults:
                await self._mutate(task.problem, number, turn, found)
        return found

    async def _turn(self, problem: Problem, number: int, turn: Turn) -> list[str]:
        candidate = given(problem, number, Solution(turn.reference, "raw"))
        first, *again = [await self._verdict(candidate), *await self._again(candidate)]
        faults = [_told("reference", each) for each in (first, *again) if each.status is not Status.PASSED][:1]
        answers = [("an empty solution", Wrong("", ""))]
        answers += [(f"wrong[{index}]", wrong) for index, wrong in enumerate(turn.wrong)]
        tried = [self._wrong(problem, number, turn, name, wrong) for name, wrong in answers]
        return faults + [fault for fault in await asyncio.gather(*tried) if fault]

    async def _again(self, candidate: Candidate) -> list[Verdict]:
        """Once more and again, at the same time: what depends on chance or on haste shows."""
        tests = replace(candidate.tests, checks=())
        plain = replace(candidate, tests=tests)
        ran = await asyncio.gather(*(self._fresh.run(plain) for _ in range(TIMES - 1)))
        return [verdict(plain, execution) for execution in ran]

    async def _wrong(self, problem: Problem, number: int, turn: Turn, name: str, wrong: Wrong) -> str:
        """What is the matter with a wrong solution; empty text if nothing is."""
        judged = await self._verdict(given(problem, number, Solution(wrong.code, "raw")))
        if judged.status in (Status.PASSED, Status.SANDBOX_ERROR):
            return _told(name, judged)
        if not wrong.fails:
            return (
                f"{name}: `fails` is missing; it fails {', '.join(_failed(turn, judged)) or 'all'}" if wrong.why else ""
            )
        failed = _failed(turn, judged)
        return "" if wrong.fails in failed else f"{name}: it does not fail {wrong.fails}, but {', '.join(failed)}"

    async def _mutate(self, problem: Problem, number: int, turn: Turn, found: Health) -> None:
        """Try mutants of a reference. Those of an answer that is a literal would say nothing."""
        if any(check.name == LITERAL for check in turn.tests.checks):
            return
        reference = given(problem, number, Solution(turn.reference, "raw"))
        ran = await self._box.run(reference)
        slowest = max((case.cpu_s for case in ran.cases), default=0.0)
        limits = replace(turn.limits, cpu_s=min(turn.limits.cpu_s, max(MUTANT_S, TIMES_SLOWER * slowest)))
        cases = tuple(replace(case, cpu_s=None) for case in turn.tests.cases)
        tests = replace(turn.tests, cases=cases, checks=())

        async def judged(mutant: Mutant) -> Verdict:
            candidate = given(problem, number, Solution(mutant.code, "raw"))
            candidate = replace(candidate, tests=tests, limits=limits)
            return verdict(candidate, await self._fresh.run(candidate))

        tried = _spread(list(_mutants(turn)), self._most)
        for mutant, came in zip(tried, await asyncio.gather(*map(judged, tried)), strict=True):
            where = f"turns[{number}].reference, line {mutant.line}: {mutant.what}"
            if came.status is Status.SANDBOX_ERROR:  # which notices nothing
                found.faults.append(_told(where, came))
                continue
            found.mutants += 1
            if came.status is Status.PASSED:
                found.survivors.append(where)

    async def _verdict(self, candidate: Candidate) -> Verdict:
        return verdict(candidate, await self._box.run(candidate))


def stated(problem: Problem) -> Iterator[str]:
    """What a task lacks, as it stands."""
    turns = problem.turns
    tests = sum(len(turn.tests.cases) + len(turn.tests.calls) for turn in turns)
    wrong = sum(len(turn.wrong) for turn in turns)
    if tests < TESTS:
        yield f"{tests} tests, at least {TESTS}"
    if wrong < WRONG:
        yield f"{wrong} wrong solutions, at least {WRONG}"
    if not problem.dimensions:
        yield "it does not say what it measures: add dimensions"
    if not problem.changes:
        yield "it does not say what changed: add changes, a line for each version"
    name = problem.entry_point.rpartition(":")[2]
    so_far = ""
    for number, turn in enumerate(turns):
        so_far += turn.prompt
        if not re.search(rf"\b{re.escape(name)}\b", so_far):
            yield f"turns[{number}].prompt does not name the entry point {name}"
        for case in turn.tests.cases:
            if case.raises and case.raises not in f"{so_far} {case.setup} {case.call}":
                yield f"turns[{number}].prompt does not name {case.raises}, which {case.name or case.call} expects"
            if case.raises is None and telling(case.output) and repr(case.output) in so_far:
                yield f"turns[{number}].prompt holds what {case.name or case.call} expects: {case.output!r}"
            if not case.name:
                yield f"turns[{number}] has a case without a name: {case.call}"


def telling(value: Any) -> bool:
    """Whether a value is hardly in a text by chance: a collection of several values."""
    return isinstance(value, list | tuple | dict | set | frozenset) and len(value) >= 2


def difficulty(problem: Problem) -> int:
    """How much there is to get right, from 0 to 100: half of it is reached where the references of all turns have 40
    decisions and statements together, to which each turn after the first adds half."""
    from quality.reading import decisions, parsed, statements

    parts = [part for turn in problem.turns for part in _sources(turn)]
    trees = [tree for part in parts if (tree := parsed(part)) is not None]
    amount = sum(statements(tree) + decisions(tree) for tree in trees) * (1 + 0.5 * (len(problem.turns) - 1))
    return round(100 * amount / (amount + 40))


def _sources(turn: Turn) -> Iterable[str]:
    return [turn.reference] if turn.files is None else project.split(turn.reference).values()


def _mutants(turn: Turn) -> Iterator[Mutant]:
    """Those of a reference, in each of its files."""
    if turn.files is None:
        yield from mutants(turn.reference)
        return
    files = project.split(turn.reference)
    for path, content in files.items():
        for mutant in mutants(content) if path.endswith(".py") else ():
            yield replace(
                mutant, what=f"{path}: {mutant.what}", code=project.joined({**files, path: f"{mutant.code}\n"})
            )


def _spread(found: Sequence[Mutant], most: int | None) -> list[Mutant]:
    """So many of them at most, evenly."""
    if most is None or len(found) <= most:
        return list(found)
    return [found[i * len(found) // most] for i in range(most)]


def _failed(turn: Turn, judged: Verdict) -> list[str]:
    """The names of what was not passed."""
    tests = turn.tests
    names = [case.name or case.call for case in tests.cases]
    names += [call.removesuffix("()") for call in tests.calls] + [check.name for check in tests.checks]
    return [name for name, case in zip(names, judged.cases, strict=True) if not case.passed]


def _told(name: str, judged: Verdict) -> str:
    return f"{name}: {judged.status.value}: {judged.detail or 'every test passed'}"
