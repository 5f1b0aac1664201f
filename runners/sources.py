"""Where the completions of an invocation's runs come from: a source for each, with one cache and one budget for all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack

from core.errors import BadData, StorageError, UsageError
from models.line import Line
from results.cache import Cache, path_beside
from results.store import Store
from runners.launch import say
from runners.plan import Plan
from runners.settings import Options, allowance
from runners.source import Budget, Source


def sources(plans: Sequence[Plan], options: Options, store: Store, stack: AsyncExitStack) -> list[Source]:
    """Where the completions of each plan come from. Closed by `stack`."""
    budget, cache = Budget(options.max_cost), None
    if options.cache is not False and any(plan.model.answers_anew for plan in plans):
        try:
            cache = stack.enter_context(Cache.open(path_beside(store.path)))
        except (StorageError, BadData, UsageError) as error:
            say(f"going on without the cache: {error}; or remove it")
    made = [
        Source(
            Line(plan.model, allowance(options, plan.spec.model)),
            budget,
            cache,
            cache_all=options.cache is True,
            say=say,
        )
        for plan in plans
    ]
    if options.max_cost is not None:
        for plan, source in zip(plans, made, strict=True):
            _affordable(plan, source, options.max_cost)
    return made


def _affordable(plan: Plan, source: Source, most_usd: float) -> None:
    """See that a budget can be kept. Raises UsageError, with the mend."""
    model = plan.spec.model
    if not plan.model.answers_anew:
        return
    if plan.model.price is None:
        raise UsageError(
            f"--max-cost needs the price of {model}, which is not known: state it in a --config, as in "
            f"catalog: {{'{model}': {{price: {{input: …, output: …}}}}}}, in dollars for a million tokens"
        )
    for part in plan.parts:
        first = part.first()
        if source.line.limit(first) is None:
            raise UsageError("--max-cost needs a limit of the answers' length, which nothing sets: add --max-tokens")
        if (most := source.most_usd(first)) > most_usd:
            raise UsageError(
                f"one answer of {model} may cost {most:.2g} USD, which is more than --max-cost {most_usd:g}: lower "
                "--max-tokens, or allow more"
            )
