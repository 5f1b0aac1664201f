"""From the words of a command line to a `RunSpec`: names are resolved, values checked, defaults filled in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import adapters
import models
from adapters.base import Driven, Harness
from core.errors import RunMismatch, UnknownName, UsageError
from core.types import PromptStyle, RunSpec, SamplingParams, SuiteRef
from models.pace import Allowance

DATA = Path("results/data")
"""What runs produce goes here, below the current folder, unless options say otherwise."""
DEFAULT_DB = DATA / "touchstone.db"


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `run`, as given: None or empty where one was not."""

    harnesses: Sequence[str] = ()
    tasks: Sequence[str] = ()
    models: Sequence[str] = ()
    generations: str | None = None
    datasets: Sequence[tuple[str, str]] = ()
    include: Sequence[str] = ()
    """Folders of further tasks."""
    num_fewshot: int | None = None
    system_prompt: str | None = None
    fewshot_as_multiturn: bool | None = None
    prompt_kind: str | None = None
    save_generations: str | None = None
    n_samples: int | None = None
    k: tuple[int, ...] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    limit: int | None = None
    sample: int | None = None
    dimensions: Sequence[str] = ()
    tags: Sequence[str] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    """Component of a rating → its weight."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Tier → seconds."""
    prompt_style: PromptStyle | None = None
    timeout_s: float | None = None
    memory_bytes: int | None = None
    sandbox: str | None = None
    runtime: str | None = None
    concurrency: int | None = None
    cache: bool | None = None
    """Whether answers are kept and found again; None: those at temperature 0."""
    max_cost: float | None = None
    """US dollars."""
    estimate: bool = False
    limits: Mapping[str, Allowance] = field(default_factory=dict)
    """PROVIDER or PROVIDER/NAME → what may be asked of it."""
    catalog: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """PROVIDER or PROVIDER/NAME → what the user knows of it; see `models.catalog`."""
    workers: int | None = None
    db: str = ""
    resume: str | None = None
    report: str | None = None
    dump_samples: str | None = None
    as_json: bool = False
    command: Sequence[str] = field(default_factory=tuple)
    """The command line, in words."""


def database(url: str | None) -> str:
    """Where runs are kept: the option, else TOUCHSTONE_DB, else `results/data/touchstone.db`."""
    return url or os.environ.get("TOUCHSTONE_DB") or str(DEFAULT_DB)


def allowance(options: Options, model: str) -> Allowance:
    """What may be asked of PROVIDER/NAME: the limits of its name, else its provider's; `--concurrency` comes first."""
    provider, _ = models.split(model)
    found = options.limits.get(model) or options.limits.get(provider) or Allowance()
    return found if options.concurrency is None else replace(found, concurrency=options.concurrency)


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def specs(options: Options) -> list[RunSpec]:
    """One for each model, in their order. Raises UsageError."""
    suites = tuple(resolve(options.harnesses, options.tasks, options.include))
    driven = {suite.harness for suite in suites if is_driven(suite.harness)}
    _refuse_unfit(options, suites, driven)
    given, own = options.generations, bool(driven)
    names = _models(options)
    if given is not None and len(suites) > 1:
        raise UsageError("--generations holds answers to one suite: name one --task")
    spec = RunSpec(
        model="",
        suites=suites,
        # What a harness's tasks say is left to them; of answers that exist, how they were drawn is not known.
        n_samples=options.n_samples or (None if own and given is None else 1),
        k=options.k or (1,),
        params=SamplingParams(
            temperature=0.0 if options.temperature is None and not own and given is None else options.temperature,
            top_p=options.top_p,
            max_tokens=options.max_tokens,
            seed=options.seed,
            stop=tuple(options.stop),
        ),
        limit=options.limit,
        sample=options.sample,
        dimensions=tuple(options.dimensions),
        tags=tuple(options.tags),
        weights=dict(options.weights),
        baselines=dict(options.baselines),
        prompt_style=options.prompt_style,
        timeout_s=options.timeout_s,
        memory_bytes=options.memory_bytes,
        sandbox=options.sandbox or "docker",
        generations=given,
        generations_sha256=None if given is None else _digest(given),
        datasets=tuple(options.datasets),
        include=tuple(options.include),
        num_fewshot=options.num_fewshot,
        system_prompt=options.system_prompt,
        fewshot_as_multiturn=options.fewshot_as_multiturn is not False,
        prompt_kind=options.prompt_kind,
    )
    if given is None and spec.n_samples is not None:
        refuse_too_few(max(spec.k), spec.n_samples)
    return [replace(spec, model=name) for name in names]


def _models(options: Options) -> list[str]:
    """The models that are named. Raises UsageError."""
    names = list(options.models)
    if options.generations is not None:
        if len(names) > 1:
            raise UsageError("--generations holds one model's answers: name one --model, or none")
        if options.n_samples is not None:
            raise UsageError("--generations has its own number of samples: leave --n-samples out")
        names = names or [f"recorded/{Path(options.generations).name.split('.')[0]}"]
    if not names:
        raise UsageError("no model is named: add --model PROVIDER/NAME (control/reference tries the set-up out)")
    for name in names:
        provider, _ = models.split(name)
        if options.generations is None and provider not in models.registry.names():
            raise UnknownName("provider", provider, models.registry.names(), f"asked for by --model {name}")
    if len(set(names)) < len(names):
        raise UsageError("--model names one model twice: each is run once")
    return names


SHORT = 100
"""Characters of a mend that is said although it was not asked for."""


def is_driven(harness: str) -> bool:
    """Whether a harness owns its loop."""
    return issubclass(adapters.registry.get(harness), Driven)


def refuse_too_few(k: int, n_samples: int, suite: str = "") -> None:
    """Raises UsageError where pass@k is undefined for so many samples."""
    if k > n_samples:
        of_suite = f" of '{suite}', which has {n_samples}" if suite else ""
        raise UsageError(f"pass@{k} needs {k} samples of each problem{of_suite}: add --n-samples {k}")


def _refuse_unfit(options: Options, suites: Sequence[SuiteRef], driven: set[str]) -> None:
    """Raises UsageError for settings that these suites cannot have, or cannot share."""
    others = sorted({suite.harness for suite in suites} - driven)
    for name, harness, value in (
        ("--include-path", "lm-eval", tuple(options.include) or None),
        ("--num-fewshot", "lm-eval", options.num_fewshot),
        ("--system-prompt", "lm-eval", options.system_prompt),
        ("--fewshot-as-multiturn", "lm-eval", options.fewshot_as_multiturn),
        ("--prompt", "bigcode", options.prompt_kind),
        ("--save-generations", "bigcode", options.save_generations),
    ):
        if value is not None and harness not in driven:
            raise UsageError(
                f"{name} is a setting of {harness}'s tasks, and this run has none: add --harness {harness}"
            )
    for name, asked in (("--sample", options.sample), ("--dimension", options.dimensions), ("--tag", options.tags)):
        if asked and driven:
            harness = sorted(driven)[0]
            raise UsageError(
                f"{name} chooses among native tasks, and {harness}'s are its own: leave it out, or --limit N"
            )
    if options.save_generations is not None and (len(suites) > 1 or len(options.models) > 1):
        raise UsageError("--save-generations names one file, for one --model on one --task")
    if len(driven) > 1:
        raise UsageError(f"{' and '.join(sorted(driven))} are not evaluated in one run: make a run for each")
    lacking = [n for n, v in (("--temperature", options.temperature), ("--n-samples", options.n_samples)) if v is None]
    known = {suite.name for suite in suites}
    for name, _ in () if driven else options.datasets:
        if name not in known:
            raise UnknownName("suite of this run", name, known, f"--dataset {name}=… gives data to none: name one")
    if driven and others and lacking and options.generations is None:
        raise UsageError(
            f"{sorted(driven)[0]}'s tasks have settings of their own, {others[0]}'s have the run's: state "
            f"{' and '.join(lacking)} for both, or make two runs"
        )


def resolve(harnesses: Sequence[str], tasks: Sequence[str], include: Sequence[str] = ()) -> list[SuiteRef]:
    """The suites that names, aliases and patterns stand for, each once, in the order given.

    Without a harness a name finds its own, `native` first; without a task a harness runs its default.
    include: folders of further tasks.
    """
    known = adapters.registry.names()
    chosen = list(harnesses) or sorted(known, key=lambda name: (name != "native", name))
    made: dict[str, Harness] = {name: adapters.registry.get(name)(include) for name in chosen}
    found: dict[SuiteRef, None] = {}
    if not tasks:
        for name in chosen if harnesses else ["native"]:
            for task in made[name].default:
                found.update(dict.fromkeys(_expand(made[name], task)))
    for task in tasks:
        matches: list[SuiteRef] = []
        lacking: dict[str, str] = {}
        for adapter in made.values():
            try:
                matches += _expand(adapter, task)
            except UsageError as error:  # it is not installed, which matters where it is asked for
                if harnesses:
                    raise
                words = str(error)
                lacking[adapter.name] = words if len(words) < SHORT else words.partition(":")[0]
            if matches and not harnesses:
                break
        if not matches:
            there = [adapter for adapter in made.values() if adapter.name not in lacking]
            names = {name for adapter in there for name in (*adapter.names(), *adapter.aliases())}
            hint = "; ".join(["`touchstone tasks list` shows them all", *lacking.values()])
            raise UnknownName("task", task, names, hint)
        found.update(dict.fromkeys(matches))
    return list(found)


def differences(options: Options, stored: RunSpec) -> list[str]:
    """What options given with --resume ask for otherwise than the run did, in words."""
    given: dict[str, tuple[Any, Any]] = {}
    if options.models:
        given["--model"] = (tuple(options.models), (stored.model,))
    if options.tasks or options.harnesses:
        named = resolve(options.harnesses, options.tasks, options.include or stored.include)
        given["--task"] = (_names(named), _names(stored.suites))
    if options.generations is not None:
        given["--generations"] = (_digest(options.generations), stored.generations_sha256)
    if options.datasets:
        given["--dataset"] = (tuple(options.datasets), stored.datasets)
    params = stored.params
    given |= {
        name: (value, was)
        for name, value, was in (
            ("--n-samples", options.n_samples, stored.n_samples),
            ("--k", options.k, stored.k),
            ("--temperature", options.temperature, params.temperature),
            ("--top-p", options.top_p, params.top_p),
            ("--max-tokens", options.max_tokens, params.max_tokens),
            ("--seed", options.seed, params.seed),
            ("--stop", tuple(options.stop) or None, params.stop),
            ("--limit", options.limit, stored.limit),
            ("--sample", options.sample, stored.sample),
            ("--dimension", tuple(options.dimensions) or None, stored.dimensions),
            ("--tag", tuple(options.tags) or None, stored.tags),
            ("weights", options.weights or None, stored.weights),
            ("baselines", options.baselines or None, stored.baselines),
            ("--prompt-style", options.prompt_style, stored.prompt_style),
            ("--timeout", options.timeout_s, stored.timeout_s),
            ("--memory", options.memory_bytes, stored.memory_bytes),
            ("--sandbox", options.sandbox, stored.sandbox),
            ("--include-path", tuple(options.include) or None, stored.include),
            ("--num-fewshot", options.num_fewshot, stored.num_fewshot),
            ("--system-prompt", options.system_prompt, stored.system_prompt),
            ("--fewshot-as-multiturn", options.fewshot_as_multiturn, stored.fewshot_as_multiturn),
            ("--prompt", options.prompt_kind, stored.prompt_kind),
        )
        if value is not None
    }
    return [f"{name} is {_say(now)} here, {_say(was)} in the run" for name, (now, was) in given.items() if now != was]


def refuse_if_different(run_id: str, found: Sequence[str]) -> None:
    """Raises RunMismatch that names the differences, where there are some."""
    if found:
        raise RunMismatch(
            f"run {run_id} cannot be resumed: {'; '.join(found)}; give what it had, or leave --resume out for a new run"
        )


def _expand(adapter: Harness, task: str) -> Iterable[SuiteRef]:
    aliases: Mapping[str, tuple[str, ...]] = adapter.aliases()
    if task in aliases:
        return [SuiteRef(adapter.name, name) for name in aliases[task]]
    if adapter.claims(task):
        return [SuiteRef(adapter.name, task)]
    return [SuiteRef(adapter.name, name) for name in adapter.matching(task)]


def _digest(path: str) -> str:
    from models.recorded import Generations

    return Generations.load(path).sha256


def _names(suites: Iterable[SuiteRef]) -> tuple[str, ...]:
    return tuple(sorted(f"{suite.harness}/{suite.name}" for suite in suites))


def _say(value: object) -> str:
    if value in (None, ()):
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
