"""What an invocation is to run: suites and models loaded, checked, and brought together. Nothing has run yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import adapters
import models
from adapters.base import Adapter
from core.errors import RunMismatch, UsageError
from core.types import PromptStyle, RunSpec, Suite
from models.base import Model
from results.records import RunRecord
from runners.pipeline import Part
from runners.settings import Options, differences, refuse_if_different, specs

COMPLETION_TOKENS = 1024
"""The limit of a continuation where none is asked for: servers of raw completions stop after 16 tokens otherwise."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run to be."""

    spec: RunSpec
    parts: tuple[Part, ...]
    model: Model


def fresh(options: Options) -> list[Plan]:
    """A plan for each model of a new invocation. Raises UsageError."""
    made = specs(options)
    loaded = _load(made[0])
    return [_plan(options, spec, loaded) for spec in made]


def resumed(options: Options, record: RunRecord) -> Plan:
    """The plan of a stored run. Raises RunMismatch where its settings or data are not what they were."""
    refuse_if_different(record.run_id, differences(options, record.spec))
    spec = record.spec
    if options.generations is not None:  # the same content, perhaps at another place by now
        spec = replace(spec, generations=options.generations)
    plan = _plan(options, spec, _load(spec))
    was = {(suite.harness, suite.name): suite for suite in record.suites}
    found = []
    for part in plan.parts:
        now, before = part.record(), was[part.suite.harness, part.suite.name]
        if now.data_hash != before.data_hash:
            found.append(f"the data of '{now.name}' is {now.data_hash[:12]} here, {before.data_hash[:12]} in the run")
        elif now != before:
            found.append(f"suite '{now.name}' asks other samples here than in the run")
    refuse_if_different(record.run_id, found)
    return plan


def _load(spec: RunSpec) -> list[tuple[Adapter, Suite]]:
    made: dict[str, Adapter] = {}
    datasets = dict(spec.datasets)
    loaded = []
    for reference in spec.suites:
        adapter = made.setdefault(reference.harness, adapters.registry.get(reference.harness)())
        loaded.append((adapter, adapter.suite(reference.name, datasets)))
    return loaded


def _plan(options: Options, spec: RunSpec, loaded: Sequence[tuple[Adapter, Suite]]) -> Plan:
    """Suites and model brought together: styles, stops, counts. Raises UsageError where they do not fit."""
    model: Model
    generations = None
    if spec.generations is not None:
        from models.recorded import Generations, Recorded

        generations = Generations.load(spec.generations)
        if spec.generations_sha256 != generations.sha256:
            raise RunMismatch(
                f"{spec.generations} is not what it was when the run began: its SHA-256 is "
                f"{generations.sha256[:12]} here, {str(spec.generations_sha256)[:12]} in the run; give that file again"
            )
        known = [problem.task_id for problem in loaded[0][1].problems]
        model = Recorded(spec.model, generations, known)
    else:
        model = models.make(spec.model, options.catalog)
        if max(spec.k) > 1 and spec.params.temperature == 0 and model.capabilities.temperature:
            raise UsageError(
                f"pass@{max(spec.k)} at temperature 0 compares a sample with itself: add --temperature 0.8, or --k 1"
            )
    parts = []
    for adapter, suite in loaded:
        problems = suite.problems[: spec.limit]
        ids = [problem.task_id for problem in problems]
        style = _style(spec, model, suite)
        params = spec.params
        if generations is not None:
            params = replace(params, stop=())
        elif style == "completion":
            limit = params.max_tokens or COMPLETION_TOKENS
            params = replace(params, stop=params.stop or suite.stops, max_tokens=limit)
        counts = [spec.n_samples] * len(problems)
        if generations is not None:
            counts = generations.counts(ids, [problem.task_id for problem in suite.problems])
            if max(counts) < max(spec.k):
                raise UsageError(
                    f"pass@{max(spec.k)} needs {max(spec.k)} samples of each problem, and {spec.generations} has "
                    f"{max(counts)} at most: lower --k"
                )
        parts.append(Part(adapter, suite, style, problems, tuple(counts), params))
    return Plan(spec, tuple(parts), model)


def _style(spec: RunSpec, model: Model, suite: Suite) -> PromptStyle:
    offered = model.capabilities.styles if spec.prompt_style is None else (spec.prompt_style,)
    for style in offered:
        if style in suite.styles and style in model.capabilities.styles:
            return style
    raise UsageError(
        f"suite '{suite.name}' can be put in the style {' or '.join(suite.styles)}, model '{spec.model}' takes "
        f"{' or '.join(model.capabilities.styles)}"
        + (f", and --prompt-style asks for {spec.prompt_style}" if spec.prompt_style else "")
    )
