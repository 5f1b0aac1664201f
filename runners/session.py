"""One invocation of `run`: everything that the pipeline needs is made, and what it gives is written out."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import sandbox as sandboxes
from core.errors import StorageError
from core.types import RunSpec, Score
from results.records import RunRecord, RunStatus
from results.store import Store
from runners.launch import INTERRUPTED, say
from runners.pipeline import Pipeline
from runners.plan import Plan, fresh, resumed
from runners.progress import Display, Tally
from runners.settings import Options, cores, database, refuse_if_different
from sandbox.base import Sandbox

UNGRADED = 3


@dataclass(slots=True)
class Run:
    """One run of the invocation."""

    record: RunRecord
    plan: Plan
    graded: int = 0
    """Turns that were graded before this session."""

    @property
    def turns(self) -> int:
        """The turns that it asks for."""
        return sum(problem.n_samples * problem.turns for suite in self.record.suites for problem in suite.problems)


def evaluate(options: Options) -> int:
    """Do what the options ask; the exit code. Raises TouchstoneError, and KeyboardInterrupt after a second Ctrl+C."""
    with Store.open(options.db) as store:
        try:
            return asyncio.run(_evaluate(options, store))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


async def _evaluate(options: Options, store: Store) -> int:
    interrupt = _Interrupt()
    with interrupt:
        if options.resume is None:
            runs, errors = await _session(fresh(options), None, options, store, interrupt)
        else:
            stored = store.run(options.resume)
            plan = resumed(options, stored)
            if stored.status == "complete":
                say(f"run {stored.run_id} is complete: nothing is left to do")
                _write(options, store, [stored])
                return 0
            with store.writing(stored.run_id):
                runs, errors = await _session([plan], stored, options, store, interrupt)
    if len(errors) == len(runs):
        raise errors[0]
    records = [store.run(run.record.run_id) for run in runs]
    _write(options, store, records)
    if errors:  # of one model of several: the others have gone on without it
        raise errors[0]
    unfinished = [record.run_id for record in records if record.status != "complete"]
    for run_id in unfinished:
        _say_resume(options, run_id)
    return INTERRUPTED if interrupt.asked else UNGRADED if unfinished else 0


async def _session(
    plans: Sequence[Plan], stored: RunRecord | None, options: Options, store: Store, interrupt: _Interrupt
) -> tuple[list[Run], list[BaseException]]:
    """Run plans side by side in one sandbox: the runs, and what ended those that ended early."""
    workers = options.workers or cores()
    async with AsyncExitStack() as stack:
        for plan in plans:
            await stack.enter_async_context(plan.model)
        for plan in plans:
            await plan.model.check()
        sandbox = await stack.enter_async_context(_sandbox(plans[0].spec, options, workers))
        if stored is not None:
            runs = [_continued(stored, plans[0], store, sandbox)]
        else:
            group = secrets.token_hex(4)
            runs = [_begun(plan, group, options, store, sandbox) for plan in plans]
            for run in runs:
                stack.enter_context(store.writing(run.record.run_id))
        display = stack.enter_context(Display())
        ends = (_run(run, options, store, sandbox, workers, interrupt, display) for run in runs)
        return runs, [end for end in await asyncio.gather(*ends, return_exceptions=True) if end is not None]


# ── before ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sandbox(spec: RunSpec, options: Options, workers: int) -> Sandbox:
    make = sandboxes.registry.get(spec.sandbox)
    made: Sandbox = make(workers, memory_bytes=spec.memory_bytes, runtime=options.runtime, say=say)
    return made


def _begun(plan: Plan, group: str, options: Options, store: Store, sandbox: Sandbox) -> Run:
    """Enter a new run into the store."""
    from results.manifest import collect

    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    suites = tuple(part.record() for part in plan.parts)
    manifest = collect(plan.spec, suites, sandbox.describe(), options.command, _effective(plan))
    record = RunRecord(run_id, group, plan.spec, manifest, now.isoformat(timespec="seconds"), suites)
    store.begin(record)
    return Run(record, plan)


def _continued(record: RunRecord, plan: Plan, store: Store, sandbox: Sandbox) -> Run:
    """A stored run, where it goes on under the same sandbox as it began. Raises RunMismatch."""
    was, now = record.manifest["sandbox"], sandbox.describe()
    names = [name for name in ("backend", "image", "python") if now[name] != was[name]]
    refuse_if_different(record.run_id, [f"the sandbox's {n} is {now[n]} here, {was[n]} in the run" for n in names])
    return Run(record, plan, _graded(store, record))


def _effective(plan: Plan) -> dict[str, Any]:
    """The settings after defaults and the provider's limits."""
    takes, params = plan.model.capabilities, plan.spec.params
    return {
        "temperature": params.temperature if takes.temperature else None,
        "seed": params.seed if takes.seed else None,
        "suites": {
            part.suite.name: {
                "style": part.style,
                "max_tokens": part.params.max_tokens,
                "stop": list(part.params.stop),
            }
            for part in plan.parts
        },
    }


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
            run.plan.model,
            sandbox,
            store,
            concurrency=options.concurrency,
            workers=workers,
            done=tally.done,
        )
        interrupt.pipelines.append(pipeline)
        try:
            await pipeline.run()
        finally:
            say(tally.line())
        if not pipeline.stopped:
            status = "complete" if _graded(store, record) == run.turns else "incomplete"
    except BaseException as error:
        status = "interrupted" if isinstance(error, asyncio.CancelledError) else "incomplete"
        if not isinstance(error, StorageError):
            _say_resume(options, record.run_id)
        raise
    finally:
        with contextlib.suppress(StorageError):  # it is what ended the run
            store.finish(record.run_id, status, time.monotonic() - start)


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


# ── after ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _write(options: Options, store: Store, records: Sequence[RunRecord]) -> None:
    """Results to standard output, then reports and samples to their files. Neither goes without for the other."""
    from results.document import document
    from results.report import render

    found = [(record, scored(store, record)) for record in records]
    try:
        for record, scores in found:
            if options.as_json:
                print(json.dumps(document(record, scores), allow_nan=False))
            else:
                print(render(record, scores, (), "summary"))
        sys.stdout.flush()
    finally:
        for record, scores in found:
            path = Path(options.report) if options.report else store.path.parent / "reports" / f"{record.run_id}.md"
            to_file(path, [render(record, scores, store.samples(record.run_id))])
            say(f"report: {path}")
        if options.dump_samples is not None:
            to_file(Path(options.dump_samples), dumped(store, records))


def scored(store: Store, record: RunRecord) -> list[Score]:
    """The scores of a run as it is stored: one for each suite."""
    from results.metrics import score

    return [
        score(suite, record.spec.model, store.samples(record.run_id, suite.name), record.spec.k)
        for suite in record.suites
    ]


def dumped(store: Store, records: Sequence[RunRecord]) -> Iterable[str]:
    """A line of JSON for each sample of the runs."""
    from results.records import sample_line

    for record in records:
        for sample in store.samples(record.run_id):
            yield json.dumps(sample_line(sample), allow_nan=False) + "\n"


def to_file(path: Path, texts: Iterable[str]) -> None:
    """Write a text file, and its folder where that is missing. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(texts)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): name another place") from error


def _say_resume(options: Options, run_id: str) -> None:
    """The command that goes on; with the database, where that is not in its usual place."""
    place = "" if options.db == database(None) else f" --db {options.db}"
    say(f"what is done is kept; go on with: touchstone run --resume {run_id}{place}")
