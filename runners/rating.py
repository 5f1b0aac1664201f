"""What samples of the native tiers are worth beyond their verdicts: rated when they are all judged, in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from adapters import project
from adapters.extraction import defined
from adapters.native import given
from core.checks import LITERAL
from core.errors import HostError
from core.registry import Registry
from core.types import Problem, Rating, RunSpec, Sample, Solution, Status, Turn
from quality import scores
from quality.reading import parsed
from quality.scores import Reading
from quality.source import read
from results.store import Store
from runners.judging import limited
from runners.pipeline import Part
from sandbox.base import Sandbox

Scorer = Callable[[Problem, Sample], float | None]
"""A score from 0 to 100 for a sample; None: it cannot be said."""
registry = Registry("scorer", "touchstone.scorers", {})
"""Further components, which other packages add. They count in the overall score where the weights name them."""
NOTHING = Reading(0, None, None, readable=False)
BATCH = 500
"""Samples that are rated together."""


async def rate(run_id: str, spec: RunSpec, parts: Iterable[Part], store: Store, sandbox: Sandbox) -> None:
    """Rate what is judged and not rated yet, and keep it. Problems without a tier are not rated."""
    for part in parts:
        problems = {problem.task_id: problem for problem in part.problems if problem.tier is not None}
        if not problems:
            continue
        known = {rating.key for rating in store.ratings(run_id, part.suite.name)}
        found = (sample for sample in store.samples(run_id, part.suite.name) if sample.key not in known)
        batch: list[Sample] = []
        for sample in found:
            if sample.verdict.status.graded:
                batch.append(sample)
            if len(batch) == BATCH:
                store.rate(run_id, await _rated(spec, problems, batch, sandbox))
                batch = []
        if batch:
            store.rate(run_id, await _rated(spec, problems, batch, sandbox))


async def _rated(
    spec: RunSpec, problems: Mapping[str, Problem], samples: Sequence[Sample], sandbox: Sandbox
) -> list[Rating]:
    sources, later = [], []
    for sample in samples:
        problem = problems[sample.key.task_id]
        sources.append(_files(problem.turns[sample.key.turn], sample.solution))
        later.append(problem.language != "python")
    readings = await asyncio.to_thread(read, sources, later=later)
    used = await asyncio.gather(*(_reference(spec, problems[s.key.task_id], s, sandbox) for s in samples))
    return [
        _rating(spec, problems[sample.key.task_id], sample, reading, of_reference)
        for sample, reading, of_reference in zip(samples, readings, used, strict=True)
    ]


async def _reference(spec: RunSpec, problem: Problem, sample: Sample, sandbox: Sandbox) -> tuple[float, int] | None:
    """CPU seconds and peak bytes of the reference on the sample's tests; None where they are not needed."""
    turn = problem.turns[sample.key.turn]
    if sample.verdict.status is not Status.PASSED or _literal(turn):
        return None
    candidate = limited(given(problem, sample.key.turn, Solution(turn.reference, "fence")), spec)
    ran = await sandbox.run(replace(candidate, tests=replace(candidate.tests, checks=())))
    return (ran.cpu_s, ran.peak_memory_bytes) if ran.fault is None else None


def _rating(
    spec: RunSpec, problem: Problem, sample: Sample, reading: Reading, used: tuple[float, int] | None
) -> Rating:
    turn, cases = problem.turns[sample.key.turn], sample.verdict.cases
    expected = [case.raises is not None for case in turn.tests.cases]
    told = not _literal(turn)
    there = sample.solution is not None and _defines(problem, turn, sample.solution)
    parts: dict[str, float | None] = scores.parts(reading if there else NOTHING) if told else {}
    total_s = sample.completion.total_s if sample.completion else None
    baseline = {**scores.BASELINES, **spec.baselines}[str(problem.tier)]
    passed = sample.verdict.status is Status.PASSED
    found: dict[str, float | None] = {
        "correctness": scores.correctness(cases),
        "speed": scores.speed(total_s, baseline) if sample.solution is not None else 0.0,
        "quality": scores.weighted(parts, scores.QUALITY) if told else None,
        "efficiency": 0.0 if told else None,
        "completeness": scores.completeness(
            [case.passed for case in cases[1:]],
            [case.passed for case, raises in zip(cases, expected, strict=False) if raises],
            (reading.documented if there else 0.0) if told else None,
        ),
    }
    if passed and told:
        found["efficiency"] = used and scores.efficiency(sample.cpu_s, sample.peak_memory_bytes, *used)
        parts |= {"reference_cpu_s": used[0], "reference_peak_memory_bytes": used[1]} if used else {}
    for name in registry.names():
        found[name] = _further(name, problem, sample)
    overall = scores.weighted(found, dict(spec.weights) or scores.WEIGHTS)
    extra: dict[str, Any] = {
        "passed": float(passed),
        "cpu_s": sample.cpu_s,
        "peak_memory_bytes": sample.peak_memory_bytes,
    }
    ttft_s = sample.completion.ttft_s if sample.completion else None
    times = {"total_s": total_s, "ttft_s": ttft_s, "baseline_s": baseline}
    return Rating(sample.key, {"overall": overall, **found}, {**parts, **extra, **times}, problem.dimensions)


def _further(name: str, problem: Problem, sample: Sample) -> float | None:
    """What another package's scorer says. Raises HostError where it fails, or says no score."""
    try:
        score = registry.get(name)(problem, sample)
    except Exception as error:
        raise HostError(f"scorer '{name}' fails on {problem.task_id}: {type(error).__name__}: {error}") from error
    if score is not None and not (isinstance(score, int | float) and 0 <= score <= 100):
        raise HostError(f"scorer '{name}' says {score!r} of {problem.task_id}: a number from 0 to 100, or None, is due")
    return None if score is None else float(score)


def _defines(problem: Problem, turn: Turn, solution: Solution) -> bool:
    """Whether a solution has what it is asked for, as far as that can be read."""
    if turn.files is not None:
        return bool(_files(turn, solution))
    tree = parsed(solution.code)
    return tree is None or problem.entry_point in defined(tree.body)


def _literal(turn: Turn) -> bool:
    return any(check.name == LITERAL for check in turn.tests.checks)


def _files(turn: Turn, solution: Solution | None) -> dict[str, str]:
    """The Python of a solution, by path."""
    if solution is None:
        return {}
    if turn.files is None:
        return {"solution.py": solution.code}
    return {path: text for path, text in project.split(solution.code).items() if path.endswith(".py")}
