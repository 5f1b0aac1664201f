"""From a candidate and what happened to it to the sample that is kept."""

from __future__ import annotations

from dataclasses import replace

from core.types import Candidate, Completion, Execution, Limits, Prompt, RunSpec, Sample, SampleKey, Status, Verdict
from sandbox import languages
from sandbox.pythons import is_python
from sandbox.verdict import verdict

REFUSED = Verdict(Status.REFUSED, "the provider or the model declined")


def limited(candidate: Candidate, spec: RunSpec) -> Candidate:
    """The candidate under the run's limits, where it states some: they take the place of the tasks' own."""
    limits, tests = candidate.limits, candidate.tests
    if not is_python(candidate.language) and limits == Limits():  # its harness states none
        own = languages.load(candidate.language).limits
        limits = replace(limits, cpu_s=own.cpu_s, memory_bytes=own.memory_bytes)
    if spec.timeout_s is not None:
        limits = replace(limits, cpu_s=spec.timeout_s)
        tests = replace(tests, cases=tuple(replace(case, cpu_s=None) for case in tests.cases))
    if spec.memory_bytes is not None:
        limits = replace(limits, memory_bytes=spec.memory_bytes)
    return replace(candidate, limits=limits, tests=tests)


def judged(
    key: SampleKey, prompt: Prompt, completion: Completion, candidate: Candidate, execution: Execution
) -> Sample:
    """A sample with its verdict."""
    return Sample(
        key,
        verdict(candidate, execution),
        prompt,
        completion,
        candidate.solution,
        execution.stdout,
        execution.stderr,
        execution.cpu_s,
        execution.wall_s,
        execution.peak_memory_bytes,
        completion.tries,
    )
