"""One invocation of `run`: everything that the pipeline needs is made, and what it gives is written out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sandbox as sandboxes
from adapters.base import Drive
from core.errors import StorageError
from core.types import RunSpec
from results.records import RunRecord, RunStatus, to_record
from results.store import Store
from runners.checked import Checked
from runners.estimate import estimate, written
from runners.launch import INTERRUPTED, say
from runners.output import to_file, write
from runners.pipeline import Pipeline
from runners.plan import Plan, fresh, load, refuse_other_data, resumed, started
from runners.progress import Display, Tally
from runners.rating import rate
from runners.settings import Options, cores, database, refuse_if_different, specs
from runners.source import Source
from runners.sources import sources
from sandbox.base import Sandbox, Unused
from sandbox.merged import Merged

UNGRADED = 3


@dataclass(slots=True)
class Run:
    """One run of the invocation."""

    record: RunRecord
    plan: Plan
    source: Source
    graded: int = 0
    """Turns that were graded before this session."""

    @property
    def turns(self) -> int:
        """The turns that it asks for."""
        return sum(problem.n_samples * problem.turns for suite in self.record.suites for problem in suite.problems)


def evaluate(options: Options) -> int:
    """Do what the options ask; the exit code. Raises TouchstoneError, and KeyboardInterrupt after a second Ctrl+C."""
    with ExitStack() as stack:
        # First of all what takes longest to be ready.
        begun = started(specs(options), stack) if options.resume is None else []
        store = stack.enter_context(Store.open(options.db))
        try:
            return asyncio.run(_evaluate(options, store, begun))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _evaluate(options: Options, store: Store, begun: Sequence[tuple[RunSpec, Drive | None]]) -> int:
    interrupt = _Interrupt()
    async with AsyncExitStack() as stack:
        stack.enter_context(interrupt)
        for _, drive in begun:
            if drive is not None:
                stack.enter_context(drive)
        stored = None if options.resume is None else store.run(options.resume)
        ends = stack.enter_context(ExitStack())
        plans = fresh(options, begun) if stored is None else [resumed(options, stored, ends)]
        if stored is not None:
            if stored.status == "complete" and not options.estimate:
                say(f"run {stored.run_id} is complete: nothing is left to do")
                write(options, store, [stored])
                return 0
            if not options.estimate:
                stack.enter_context(store.writing(stored.run_id))
        sandbox = await _ready(plans, options, stack)
        if stored is not None:
            refuse_other_data(plans[0], stored)
        found = sources(plans, options, store, stack)
        if options.estimate:
            pairs = zip(plans, found, strict=True)
            print(written([await estimate(plan, source, store, stored) for plan, source in pairs], options.as_json))
            return 0
        runs, errors = await _session(plans, found, stored, options, store, sandbox, interrupt)
    for model, error in errors[1:]:
        say(f"{model}: {error}")
    if len(errors) == len(runs):
        raise errors[0][1]
    records = [store.run(run.record.run_id) for run in runs]
    write(options, store, records)
    _save_generations(options, plans[0], records[0])
    if errors:  # of one model of several: the others have gone on without it
        raise errors[0][1]
    unfinished = [record.run_id for record in records if record.status != "complete"]
    for run_id in unfinished:
        _say_resume(options, run_id)
    return INTERRUPTED if interrupt.asked else UNGRADED if unfinished else 0


def _save_generations(options: Options, plan: Plan, record: RunRecord) -> None:
    """Write what a harness has made of the answers to its only suite: a list for each problem."""
    if options.save_generations is not None and plan.drive is not None:
        [suite] = record.suites
        made = plan.drive.generations.get(suite.name, {})
        lists = [made.get(number, []) for number in range(len(suite.problems))]
        to_file(Path(options.save_generations), [json.dumps(lists)])


async def _session(
    plans: Sequence[Plan],
    sources: Sequence[Source],
    stored: RunRecord | None,
    options: Options,
    store: Store,
    sandbox: Sandbox,
    interrupt: _Interrupt,
) -> tuple[list[Run], list[tuple[str, BaseException]]]:
    """Run plans side by side in one sandbox: the runs, and what ended those that ended early, by their models."""
    workers = options.workers or cores()
    with ExitStack() as stack:
        if stored is not None:
            runs = [_continued(stored, plans[0], sources[0], store, sandbox)]
        else:
            group = secrets.token_hex(4)
            pairs = zip(plans, sources, strict=True)
            runs = [_begun(plan, source, group, options, store, sandbox) for plan, source in pairs]
            for run in runs:
                stack.enter_context(store.writing(run.record.run_id))
        display = stack.enter_context(Display())
        ends = (_run(run, options, store, sandbox, workers, interrupt, display) for run in runs)
        ended = await asyncio.gather(*ends, return_exceptions=True)
        models = [plan.spec.model for plan in plans]
        return runs, [(model, end) for model, end in zip(models, ended, strict=True) if end is not None]


# ── before ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _ready(plans: Sequence[Plan], options: Options, stack: AsyncExitStack) -> Sandbox:
    """The sandbox, started while harnesses load their data and models are looked for. `stack` ends all of it."""
    for plan in plans:
        await stack.enter_async_context(plan.model)
    sandbox = Unused() if options.estimate else _sandbox(plans, options)
    stack.push_async_callback(sandbox.aclose)
    loads, checks = (load(plan, references=options.estimate) for plan in plans), (plan.model.check() for plan in plans)
    await _all(*loads, *checks, sandbox.start())
    if isinstance(sandbox, Unused) and not options.estimate:  # a harness may say only now what it has executed
        sandbox = await stack.enter_async_context(_sandbox(plans, options))
    return sandbox


async def _all(*steps: Coroutine[Any, Any, None]) -> None:
    """Take steps side by side. Raises the first error in their order, when all have ended."""
    for ended in await asyncio.gather(*steps, return_exceptions=True):
        if ended is not None:
            raise ended


def _sandbox(plans: Sequence[Plan], options: Options) -> Sandbox:
    """The one for all runs of the invocation, whose settings are the same but for the model: of what is known so far
    to be executed."""
    spec, workers = plans[0].spec, options.workers or cores()
    wanted = {language for plan in plans for part in plan.parts for language in part.languages}
    wanted |= {language for plan in plans if plan.drive is not None for language in plan.drive.languages}
    if not wanted:
        return Unused()
    make = sandboxes.registry.get(spec.sandbox)
    made = make(workers, memory_bytes=spec.memory_bytes, runtime=options.runtime, say=say, wanted=wanted)
    return Checked(Merged(made))


def _begun(plan: Plan, source: Source, group: str, options: Options, store: Store, sandbox: Sandbox) -> Run:
    """Enter a new run into the store."""
    from results.manifest import collect

    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    suites = tuple(part.record() for part in plan.parts)
    manifest = collect(plan.spec, suites, sandbox.describe(), options.command, _effective(plan))
    record = RunRecord(run_id, group, plan.spec, manifest, now.isoformat(timespec="seconds"), suites)
    store.begin(record)
    return Run(record, plan, source)


def _continued(record: RunRecord, plan: Plan, source: Source, store: Store, sandbox: Sandbox) -> Run:
    """A stored run, where it goes on as it began: the same sandbox, weights and parameters. Raises RunMismatch."""
    was, now = record.manifest["sandbox"], sandbox.describe()
    names = [name for name in ("backend", "image", "python") if now.get(name) != was.get(name)]
    found = [f"the sandbox's {n} is {now.get(n)} here, {was.get(n)} in the run" for n in names]
    images = {name: used["image"] for name, used in was.get("languages", {}).items()}
    for name, used in now.get("languages", {}).items():
        if images.get(name, used["image"]) != used["image"]:
            found.append(f"the sandbox's image for {name} is {used['image']} here, {images[name]} in the run")
    refuse_if_different(record.run_id, [*found, *_changed(record.manifest["settings"]["effective"], _effective(plan))])
    return Run(record, plan, source, _graded(store, record))


def _effective(plan: Plan) -> dict[str, Any]:
    """The settings as they are sent: after defaults, and what the model does not take."""
    return {
        "revision": plan.model.revision,
        "price": to_record(plan.model.price),
        "suites": {
            part.suite.name: {
                "style": part.style,
                "stop": list(part.params.stop),
                "sent": plan.model.parameters(part.first()),
            }
            for part in plan.parts
        },
    }


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """How settings in effect differ, in words; but for the address, for a server may move."""
    revision = was.get("revision")
    if None not in (revision, now["revision"]) and revision != now["revision"]:
        yield f"the model's revision is {now['revision']} here, {revision} in the run"
    for name, suite in now["suites"].items():
        before, after = was["suites"][name].get("sent"), suite["sent"]
        if before is None:  # of a run that an earlier version began
            continue
        for key in sorted({*before, *after} - {"endpoint"}):
            if before.get(key) != after.get(key):
                yield f"{key} is sent as {after.get(key)} for '{name}' here, as {before.get(key)} in the run"


def _graded(store: Store, record: RunRecord) -> int:
    """The turns of a run that are graded."""
    return sum(len(store.graded(record.run_id, suite.name)) for suite in record.suites)


# ── during ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _run(
    run: Run, options: Options, store: Store, sandbox: Sandbox, workers: int, interrupt: _Interrupt, display: Display
) -> None:
    """One run, and how its session ended into the store, whatever ends it."""
    start = time.monotonic()
    status: RunStatus = "interrupted"
    record = run.record
    say(f"run {record.run_id}: {record.spec.model} on {', '.join(suite.name for suite in record.suites)}")
    tally = Tally(display, record.spec.model, run.turns, run.graded, say)
    try:
        pipeline = Pipeline(
            record.run_id,
            record.spec,
            run.plan.parts,
            run.source,
            sandbox,
            store,
            workers=workers,
            done=tally.done,
            answered=tally.answered,
            drive=run.plan.drive,
            say=say,
        )
        interrupt.pipelines.append(pipeline)
        try:
            await pipeline.run()
            if not pipeline.stopped:
                await rate(record.run_id, record.spec, pipeline.parts, store, sandbox)
        finally:
            say(tally.line())
            if pipeline.stopped == "over budget":
                say(f"stopped before it costs more than --max-cost {options.max_cost:g} USD")
            if run.source.found:
                say(f"{run.source.found:,} answers came from the cache; --no-cache asks anew")
        if pipeline.stopped != "interrupted":
            status = "complete" if _graded(store, record) == run.turns else "incomplete"
    except BaseException as error:
        status = "interrupted" if isinstance(error, asyncio.CancelledError) else "incomplete"
        if not isinstance(error, StorageError):
            _say_resume(options, record.run_id)
        raise
    finally:
        with contextlib.suppress(StorageError):  # it is what ended the run
            store.finish(record.run_id, status, time.monotonic() - start)


def _say_resume(options: Options, run_id: str) -> None:
    """The command that goes on; with the database, where that is not in its usual place."""
    place = "" if options.db == database(None) else f" --db {options.db}"
    say(f"what is done is kept; go on with: touchstone run --resume {run_id}{place}")


class _Interrupt:
    """Ctrl+C: once, the runs take no new work and end in order; twice, at once. What is stored stays."""

    def __init__(self) -> None:
        self.pipelines: list[Pipeline] = []
        self.asked = False
        self._task = asyncio.current_task()

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().remove_signal_handler(number)

    def _signal(self) -> None:
        if self.asked or not self.pipelines:
            if self._task is not None:
                self._task.cancel()
            return
        self.asked = True
        say("stopping: what runs is finished and stored; again to stop at once")
        for pipeline in self.pipelines:
            pipeline.stop()
