"""What a run would take, before it is begun: calls, tokens, cost, time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from core.types import Completion, Prompt, Request, SampleKey
from models.line import CHARACTERS, characters
from results.records import RunRecord
from results.store import Store
from runners.driven import DrivenPart
from runners.pipeline import Part
from runners.plan import Plan
from runners.source import Source


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one suite would take of one model. None: not known."""

    model: str
    suite: str
    calls: int
    """Requests that are left to make, if none has to be made again."""
    cached: int
    """Answers that the cache has."""
    stored: int
    """Answers that the run has already."""
    input_tokens: int
    output_tokens: int
    most_output_tokens: int | None
    """If every answer went to its limit."""
    cost_usd: float | None
    most_cost_usd: float | None
    time_s: float | None
    basis: str
    """What the figures come from."""


async def estimate(plan: Plan, source: Source, store: Store, run: RunRecord | None = None) -> list[Estimate]:
    """One for each suite. run: the stored run that would go on."""
    driven: dict[str, list[Request]] = {}
    if plan.drive is not None:
        async for request in plan.drive.requests():
            driven.setdefault(request.suite, []).append(request)
    return [
        _of_part(
            plan,
            part,
            _requests(part) if isinstance(part, Part) else driven.get(part.suite.name, ()),
            source,
            store,
            run,
        )
        for part in plan.parts
    ]


def written(estimates: Sequence[Sequence[Estimate]], as_json: bool) -> str:
    """The estimates of several models, as a document of JSON a model, or as a table."""
    from results.markdown import code, table
    from results.report import dollars

    if as_json:
        return "\n".join(
            json.dumps({"schema": "touchstone.estimate/1", "suites": [asdict(each) for each in of_model]})
            for of_model in estimates
        )
    header = ("model", "suite", "calls", "cached", "stored", "input tokens", "output tokens", "cost", "time")
    flat = [each for of_model in estimates for each in of_model]
    rows = [
        (
            code(e.model),
            e.suite,
            f"{e.calls:,}",
            f"{e.cached:,}",
            f"{e.stored:,}",
            f"{e.input_tokens:,}",
            _range(f"{e.output_tokens:,}", None if e.most_output_tokens is None else f"{e.most_output_tokens:,}"),
            "unknown"
            if e.cost_usd is None
            else _range(dollars(e.cost_usd), None if e.most_cost_usd is None else dollars(e.most_cost_usd)),
            "unknown" if e.time_s is None else f"{e.time_s:,.0f} s",
        )
        for e in flat
    ]
    notes = dict.fromkeys(f"- {e.suite}: {e.basis}" for e in flat)
    return "\n".join((table(header, rows, "llrrrrrrr"), "", *notes))


def _range(expected: str, most: str | None) -> str:
    return f"about {expected}" + (f", at most {most}" if most is not None and most != expected else "")


def _of_part(
    plan: Plan,
    part: Part | DrivenPart,
    requests: Iterable[Request],
    source: Source,
    store: Store,
    run: RunRecord | None,
) -> Estimate:
    calls = cached = stored = read = written = 0
    for request in requests:
        key = SampleKey(request.suite, request.task_id, request.index, request.turn)
        if run is not None and store.completion(run.run_id, key) is not None:
            stored += 1
        elif source.cached(request) is not None:
            cached += 1
        else:
            calls += 1
            read += characters(request)
            written += len(request.answers.reference) if request.continuation is None else 0
    known = store.experience(plan.spec.model, part.suite.name, part.style)
    seen = known.completions > 0 and known.input_tokens is not None and known.output_tokens is not None
    if seen:
        basis = f"the averages of {known.completions:,} stored answers of this model"
        input_tokens, output_tokens = calls * (known.input_tokens or 0), calls * (known.output_tokens or 0)
    else:
        basis = (
            f"{CHARACTERS:g} characters a token, and answers as long as the reference solutions: models mostly say "
            "more, and those that reason much more"
        )
        input_tokens, output_tokens = read / CHARACTERS, written / CHARACTERS
    limit = source.line.limit(part.first())
    most = None if limit is None else calls * limit
    if most is not None:
        output_tokens = min(output_tokens, most)
    return Estimate(
        plan.spec.model,
        part.suite.name,
        calls,
        cached,
        stored,
        round(input_tokens),
        round(output_tokens),
        most,
        source.line.cost_usd(input_tokens, output_tokens) if calls else 0.0,
        None if most is None else source.line.cost_usd(input_tokens, most) if calls else 0.0,
        _time_s(source, calls, input_tokens + output_tokens, known.total_s),
        basis,
    )


def _time_s(source: Source, calls: int, tokens: float, each_s: float | None) -> float | None:
    """How long so many calls take, if one takes `each_s`, within the limits that are set; None: unknown."""
    if not calls:
        return 0.0
    if each_s is None:
        return None
    allowance = source.line.allowance
    at_once = min(source.line.pace.window.size, calls)
    by_rate = 60 * calls / (allowance.requests_per_minute or math.inf)
    by_tokens = 60 * tokens / (allowance.tokens_per_minute or math.inf)
    return max(calls * each_s / at_once, by_rate, by_tokens)


def _requests(part: Part) -> Iterator[Request]:
    """Everything that is asked; the turns after the first as if the reference had been answered before."""
    for problem, count in zip(part.problems, part.counts, strict=True):
        history: list[tuple[Prompt, Completion]] = []
        for turn in range(len(problem.turns)):
            prompt = part.adapter.prompt(problem, turn, part.style, history)
            answers = part.adapter.answers(problem, turn, part.style)
            for index in range(count):
                yield Request(part.suite.name, problem.task_id, index, turn, prompt, part.params, answers)
            history.append((prompt, Completion(answers.reference)))
