"""What an invocation is to run: suites and models loaded, checked, and brought together. Nothing has run yet."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import adapters
import models
from adapters.base import Adapter, Drive, DrivenSuite
from core.errors import BadData, RunMismatch, UsageError
from core.types import Problem, PromptStyle, RunSpec, Suite
from models.base import Model
from models.recorded import Generations, Recorded
from results.records import RunRecord
from runners.driven import DrivenPart
from runners.pipeline import Part
from runners.settings import Options, differences, is_driven, refuse_if_different, refuse_too_few

COMPLETION_TOKENS = 1024
"""The limit of a continuation where none is asked for: servers of raw completions stop after 16 tokens otherwise."""


@dataclass(slots=True)
class Plan:
    """One run to be. Its driven parts come with `load`."""

    spec: RunSpec
    parts: list[Part | DrivenPart]
    model: Model
    drive: Drive | None = None
    generations: Generations | None = None


def started(specs: Sequence[RunSpec], stack: ExitStack) -> list[tuple[RunSpec, Drive | None]]:
    """Runs to be, with the harnesses that drive some of their suites: these load while other things are done, and are
    ended by `stack`."""
    return [(spec, _drive(spec, stack)) for spec in specs]


def fresh(options: Options, begun: Sequence[tuple[RunSpec, Drive | None]]) -> list[Plan]:
    """A plan for each model of a new invocation. Raises UsageError."""
    loaded = _load(begun[0][0])
    return [_plan(options, spec, loaded, drive) for spec, drive in begun]


def resumed(options: Options, record: RunRecord, stack: ExitStack) -> Plan:
    """The plan of a stored run. Raises RunMismatch where its settings are not what they were."""
    refuse_if_different(record.run_id, differences(options, record.spec))
    spec = record.spec
    if options.generations is not None:  # the same content, perhaps at another place by now
        spec = replace(spec, generations=options.generations)
    [(spec, drive)] = started([spec], stack)
    return _plan(options, spec, _load(spec), drive)


async def load(plan: Plan, *, references: bool) -> None:
    """Have the harness load what it drives, if there is one.

    references: whether requests are to come with what would be right. Raises UsageError, HostError.
    """
    if plan.drive is None:
        return
    spec, model = plan.spec, plan.model
    harness = adapters.registry.get(next(suite.harness for suite in spec.suites if is_driven(suite.harness)))
    style = _style(spec, model, f"a task of {harness.name}", harness.styles, first=harness.styles)
    prefill = model.capabilities.prefill and style == "instruct"
    control = model.provider == "control"
    n_samples = spec.n_samples if plan.generations is None else _equally_many(plan.generations)
    suites = await plan.drive.load(
        style,
        n_samples,
        prefill=prefill,
        references=references or control,
        final=plan.generations is not None,
    )
    _refuse_unscored(spec, model, style, suites)
    for suite in suites:
        if suite.languages and max(spec.k) > 1:
            refuse_too_few(max(spec.k), suite.n_samples, suite.name)
            if suite.params.temperature == 0 and model.answers_anew and model.capabilities.temperature:
                raise UsageError(_greedy(max(spec.k)))
        plan.parts.append(DrivenPart(suite, style))
        if plan.generations is not None:
            ids = [task_id for task_id, _ in suite.problems]
            known = ids if spec.limit is None else [*ids, *_beyond(plan.generations, ids)]
            plan.generations.counts(ids, known)
            plan.model = Recorded(spec.model, plan.generations, known)


def refuse_other_data(plan: Plan, record: RunRecord) -> None:
    """Raises RunMismatch where a stored run asked something else than its plan does now."""
    was = {(suite.harness, suite.name): suite for suite in record.suites}
    found = []
    for part in plan.parts:
        now = part.record()
        before = was.get((now.harness, now.name))
        if before is None:
            found.append(f"'{now.name}' is asked here, and was not in the run")
        elif now.data_hash != before.data_hash:
            found.append(f"the data of '{now.name}' is {now.data_hash[:12]} here, {before.data_hash[:12]} in the run")
        elif now != before:
            found.append(f"suite '{now.name}' asks other samples here than in the run")
    refuse_if_different(record.run_id, found)


def _drive(spec: RunSpec, stack: ExitStack) -> Drive | None:
    """The evaluation by the harness that drives some of the run's suites, started; None where there is none."""
    for suite in spec.suites:
        if is_driven(suite.harness):
            drive: Drive = stack.enter_context(adapters.registry.get(suite.harness)(spec.include).drive(spec))
            return drive
    return None


def chosen(suite: Suite, spec: RunSpec) -> tuple[Problem, ...]:
    """The problems of a suite that a run asks."""
    problems = [
        problem
        for problem in suite.problems
        if (not spec.dimensions or {*spec.dimensions} & {*problem.dimensions})
        and (not spec.tags or {*spec.tags} & {*problem.tags})
    ]
    if spec.sample is not None and spec.sample < len(problems):
        places = random.Random(spec.params.seed or 0).sample(range(len(problems)), spec.sample)
        problems = [problems[place] for place in sorted(places)]
    return tuple(problems[: spec.limit])


def _load(spec: RunSpec) -> list[tuple[Adapter, Suite]]:
    made: dict[str, Adapter] = {}
    datasets = dict(spec.datasets)
    loaded = []
    for reference in spec.suites:
        if is_driven(reference.harness):
            continue
        adapter = made.setdefault(reference.harness, adapters.registry.get(reference.harness)())
        loaded.append((adapter, adapter.suite(reference.name, datasets)))
    return loaded


def _plan(options: Options, spec: RunSpec, loaded: Sequence[tuple[Adapter, Suite]], drive: Drive | None) -> Plan:
    """Suites and model brought together: styles, stops, counts. Raises UsageError where they do not fit."""
    model: Model
    generations = None
    if spec.generations is not None:
        generations = Generations.load(spec.generations)
        if spec.generations_sha256 != generations.sha256:
            raise RunMismatch(
                f"{spec.generations} is not what it was when the run began: its SHA-256 is "
                f"{generations.sha256[:12]} here, {str(spec.generations_sha256)[:12]} in the run; give that file again"
            )
        # A harness that owns its loop says its problems' names later.
        known = [problem.task_id for problem in loaded[0][1].problems] if loaded else []
        model = Recorded(spec.model, generations, known)
    else:
        model = models.make(spec.model, options.catalog)
        if max(spec.k) > 1 and spec.params.temperature == 0 and model.capabilities.temperature:
            raise UsageError(_greedy(max(spec.k)))
    parts: list[Part | DrivenPart] = []
    for adapter, suite in loaded:
        problems = chosen(suite, spec)
        if not problems:
            continue
        ids = [problem.task_id for problem in problems]
        style = _style(spec, model, f"suite '{suite.name}'", suite.styles, first=model.capabilities.styles)
        params = spec.params
        if generations is not None:
            params = replace(params, stop=())
        elif style == "completion":
            limit = params.max_tokens or COMPLETION_TOKENS
            params = replace(params, stop=params.stop or suite.stops, max_tokens=limit)
        counts = [spec.n_samples or 1] * len(problems)
        if generations is not None:
            counts = generations.counts(ids, [problem.task_id for problem in suite.problems])
            if max(counts) < max(spec.k):
                raise UsageError(
                    f"pass@{max(spec.k)} needs {max(spec.k)} samples of each problem, and {spec.generations} has "
                    f"{max(counts)} at most: lower --k"
                )
        parts.append(Part(adapter, suite, style, problems, tuple(counts), params))
    if loaded and not parts:
        wanted = ", ".join((*spec.dimensions, *spec.tags))
        raise UsageError(f"no problem of these suites is one of {wanted}: `touchstone tasks list` shows what there is")
    return Plan(spec, parts, model, drive, generations)


def _greedy(k: int) -> str:
    return f"pass@{k} at temperature 0 compares a sample with itself: add --temperature 0.8, or --k 1"


def _refuse_unscored(spec: RunSpec, model: Model, style: PromptStyle, suites: Sequence[DrivenSuite]) -> None:
    """Raises UsageError where suites ask for log-probabilities, and the model gives none."""
    names = ", ".join(f"'{suite.name}'" for suite in suites if suite.scores)
    if not names:
        return
    if spec.generations is not None:
        raise UsageError(f"{names} asks for log-probabilities, which --generations cannot hold: name a --model")
    if not model.capabilities.logprobs:
        able = ", ".join(f"{name}/" for name in models.registry.names() if _scores(name))
        raise UsageError(
            f"{names} asks for the log-probabilities of given texts, which {spec.model} does not give; these do: "
            f"{able} (openai/ where another server is at OPENAI_BASE_URL)"
        )
    if style == "instruct" and not model.scores_chats:
        raise UsageError(
            f"{names} asks for log-probabilities after a chat, which {spec.model} does not give: leave --prompt-style "
            "out, or take a model of hf/"
        )


def _scores(provider: str) -> bool:
    try:
        return bool(models.registry.get(provider).capabilities.logprobs)
    except UsageError:  # for want of a package
        return provider == "hf"


def _beyond(generations: Generations, ids: Sequence[str]) -> list[str]:
    """Names for what a file holds beyond the first problems: what those after them are called is not known."""
    if generations.by_task is None:
        return [f"beyond --limit, {number}" for number in range(len(ids), len(generations.in_order))]
    return [name for name in generations.by_task if name not in ids]


def _equally_many(generations: Generations) -> int:
    """How many completions each problem has. Raises BadData where they have different numbers."""
    lists = generations.in_order if generations.by_task is None else generations.by_task.values()
    found = sorted({len(completions) for completions in lists})
    if len(found) > 1:
        fault = f"has {found[0]} completions of one problem and {found[-1]} of another"
        raise BadData(generations.path, f"{fault}: a harness with a loop of its own takes the same number of each")
    return found[0]


def _style(
    spec: RunSpec, model: Model, what: str, styles: Sequence[PromptStyle], *, first: Sequence[PromptStyle]
) -> PromptStyle:
    """The style that both take, the first of `first` unless the run asks for one. Raises UsageError."""
    for style in first if spec.prompt_style is None else (spec.prompt_style,):
        if style in styles and style in model.capabilities.styles:
            return style
    raise UsageError(
        f"{what} can be put in the style {' or '.join(styles)}, model '{spec.model}' takes "
        f"{' or '.join(model.capabilities.styles)}"
        + (f", and --prompt-style asks for {spec.prompt_style}" if spec.prompt_style else "")
    )
