"""A pool of workers behind one interface: whoever isolates, this gives out the jobs, retries and replaces."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from core.errors import SandboxUnavailable, UnknownName, UsageError
from core.types import Candidate, Case, Execution, Limits, Raised, Solution, Tests
from sandbox import bounds, image, languages, wire
from sandbox.agent.watch import PATIENCE
from sandbox.base import Sandbox
from sandbox.programs import Programs
from sandbox.pythons import PYTHON, is_python
from sandbox.worker import Worker, WorkerDied

TRIES = 3
"""How often a worker is started for a candidate, and how often one may die of it."""
HARMLESS = Candidate(Solution("", "raw"), "", Tests((Case("None"),)), Limits(cpu_s=1.0, wall_margin_s=1.0))
"""What no worker dies of."""
JOBS_PER_WORKER = 5_000
"""A worker is replaced after so many, whatever it looks like."""
GRACE_S = 30.0
"""A worker counts as dead so long after the time that a candidate may take on a busy machine."""
WAITED = 0.1
"""The share of its wall time that a candidate may have spent working or waiting for a core, and still be asleep."""


SLEEPERS = 4
"""For each slot, so many candidates may sleep while others have their turn."""


class Pool(Sandbox):
    """`size` slots: in each one candidate at a time, and a worker for each language that was asked for there.

    Workers are started when first needed. A candidate that sleeps needs no core: another slot takes its turn meanwhile.

    memory_bytes: what a candidate may be allowed at most, where that is more than usual.
    runtime: the engine's runtime to use, where not its default.
    say: told when something takes its time, such as building an image.
    wanted: the languages of the candidates to come; those of others are made ready when they come.
    """

    backend: str
    """The registry's name for it."""

    def __init__(
        self,
        size: int,
        memory_bytes: int | None = None,
        runtime: str | None = None,
        say: Callable[[str], None] = lambda _: None,
        wanted: Collection[str] = (PYTHON,),
    ) -> None:
        self.size, self.asked_bytes, self.runtime, self.say = size, memory_bytes, runtime, say
        self.memory_bytes = bounds.memory_bytes(memory_bytes)
        self.wanted = sorted({PYTHON, *map(_canonical, wanted)})
        self._digests: dict[str, str] = {}
        """Of what the workers of each language that is ready are made of."""
        self._readying = asyncio.Lock()
        self._python = ""
        self._free: asyncio.Queue[dict[str, Worker]] = asyncio.Queue()
        for _ in range(size):
            self._free.put_nowait({})
        self._spare: list[dict[str, Worker]] = [{} for _ in range(SLEEPERS * size)]
        self._workers: set[Worker] = set()
        self._alone = asyncio.Lock()
        self._programs = Programs()

    @abstractmethod
    async def make_ready(self, language: str) -> str:
        """Make what a language's workers are started from, where it is missing; its digest. Called once for each.

        Raises SandboxUnavailable.
        """

    @abstractmethod
    async def start_worker(self, language: str) -> Worker:
        """Start a worker of a language that is ready, and leave nothing where that fails. Never cancelled.

        Raises WorkerDied, and SandboxUnavailable where it is no use to try again.
        """

    async def worker(self, language: str) -> Worker:
        """One more worker. Raises what `make_ready` and `start_worker` raise."""
        await self._ready(language)
        starting = asyncio.ensure_future(self.start_worker(language))
        try:
            worker = await asyncio.shield(starting)
        except asyncio.CancelledError:  # what is half started cannot be taken back: wait for it, then undo it
            with contextlib.suppress(WorkerDied, SandboxUnavailable):
                await (await starting).aclose()
            raise
        if language == PYTHON:
            self._python = worker.python
        return worker

    async def start(self) -> None:
        """Make the wanted languages ready, and see that one worker starts: the rest will.

        Raises WorkerDied where none does, tried several times.
        """
        for language in self.wanted:
            await self._ready(language)
        slot = self._free.get_nowait()
        try:
            for left in reversed(range(TRIES)):
                try:
                    await self._started(slot, PYTHON)
                    return
                except WorkerDied:
                    if not left:
                        raise
        finally:
            self._free.put_nowait(slot)

    async def run(self, candidate: Candidate) -> Execution:
        """Run one candidate. Alone once more what its wall time stopped while it had work to do, and what its worker
        did not survive: that is the candidate's doing where the worker dies again, and survives a harmless one."""
        try:
            candidate = replace(candidate, language=_canonical(candidate.language))
        except UnknownName as error:
            return _faulty(candidate, str(error))
        execution, again = await self._run(candidate)
        if not again or (self.size == 1 and execution.fault is None):
            return execution
        async with self._alone:
            others: list[dict[str, Worker]] = []
            try:
                while len(others) < self.size - 1:
                    others.append(await self._free.get())
                for _ in range(TRIES - 1):
                    execution, again = await self._run(candidate)
                    if execution.fault is None or not again:
                        return execution
                if (await self._run(_harmless(candidate.language)))[0].fault is None:
                    fatal = Raised(("FatalToItsWorker",), f"{execution.fault}, each time that it ran")
                    execution = replace(execution, fault=None, raised=fatal)
            finally:
                for other in others:
                    self._free.put_nowait(other)
        return execution

    async def aclose(self) -> None:
        """End every worker."""
        workers, self._workers = self._workers, set()
        await asyncio.gather(*(worker.aclose() for worker in workers))

    def describe(self) -> Mapping[str, Any]:
        """The digest and packages of what a worker is made of decide verdicts, and so does its Python."""
        return {
            "backend": self.backend,
            "runtime": self.runtime,
            "image": image.tag(),
            "image_digest": self._digests.get(PYTHON, ""),
            "packages": image.packages(),
            "python": self._python,
            "languages": {
                name: {"image": image.tag(name), "image_digest": digest, "packages": image.packages(name)}
                for name, digest in sorted(self._digests.items())
                if name != PYTHON
            },
            "workers": self.size,
            "container_memory_bytes": self.memory_bytes,
        }

    def _refuse_memory(self, there: int, whose: str) -> None:
        """See that what is asked for is not more than there is. there: bytes; 0: unknown. Raises UsageError."""
        if self.asked_bytes and 0 < there < self.asked_bytes:
            raise UsageError(
                f"--memory asks for {self.asked_bytes >> 20:,} MiB, and {whose} has {there >> 20:,}: lower it"
            )

    async def _ready(self, language: str) -> None:
        async with self._readying:
            if language not in self._digests:
                self._digests[language] = await self.make_ready(language)

    async def _run(self, candidate: Candidate) -> tuple[Execution, bool]:
        """The execution, and whether it should be run again alone: because load may have made it slow, or because it
        was a worker's last, which is then its `fault`. Workers that do not even start are tried several times."""
        fault, language = "", candidate.language
        for _ in range(TRIES):
            slot = await self._free.get()
            visit = None
            try:
                visit = _Visit(slot.get(language) or await self._started(slot, language), self._lend)
                if is_python(language):
                    execution = await wire.run(candidate, visit.ask)
                else:
                    execution = await self._programs.run(candidate, visit.ask)
                if not visit.clean or visit.worker.jobs >= JOBS_PER_WORKER:
                    await self._retire(slot, language)
                return execution, execution.stopped_by == "wall" and visit.busy_s > WAITED * execution.wall_s
            except (WorkerDied, TimeoutError) as error:
                fault = str(error) or "the worker gave no answer"
                await self._retire(slot, language)
                if visit is not None:
                    break
            except SandboxUnavailable as error:
                return _faulty(candidate, str(error)), False
            except BaseException:  # cancelled: what the worker is doing is unknown
                await asyncio.shield(self._retire(slot, language))
                raise
            finally:
                if visit is not None and visit.lent:
                    self._spare.append(slot)
                else:
                    self._free.put_nowait(slot)
        return _faulty(candidate, fault), visit is not None

    def _lend(self) -> bool:
        """Let another slot have a turn; whether there is one."""
        if not self._spare:
            return False
        self._free.put_nowait(self._spare.pop())
        return True

    async def _started(self, slot: dict[str, Worker], language: str) -> Worker:
        worker = slot[language] = await self.worker(language)
        self._workers.add(worker)
        return worker

    async def _retire(self, slot: dict[str, Worker], language: str) -> None:
        worker = slot.pop(language, None)
        if worker is not None:
            self._workers.discard(worker)
            await worker.aclose()


class _Visit:
    """A candidate's time with a worker: one job, or several."""

    def __init__(self, worker: Worker, lend: Callable[[], bool]) -> None:
        self.worker, self._lend = worker, lend
        self.lent = False
        """Whether another slot has its turn."""
        self.clean = True
        """Whether nothing of it is left in the worker."""
        self.busy_s = 0.0
        """CPU seconds of the last job, and those that it waited for a core."""

    async def ask(self, job: dict[str, Any], payload: bytes, longest_s: float) -> tuple[dict[str, Any], list[bytes]]:
        """As `Worker.run`. longest_s: after which the job has ended, on an idle machine. Raises TimeoutError too."""
        patience_s = (1 + PATIENCE) * longest_s + GRACE_S
        async with asyncio.timeout(patience_s):
            header, blobs = await self.worker.run(job, payload, self._asleep)
        self.worker.jobs += 1
        self.clean = self.clean and header["clean"]
        self.busy_s = header["cpu_s"] + (header["delay_s"] or 0.0)
        return header, blobs

    def _asleep(self) -> None:
        self.lent = self.lent or self._lend()


def _canonical(language: str) -> str:
    """A language's own name. Raises UnknownName."""
    return language if is_python(language) else languages.load(language).name


def recipe(language: str) -> str | None:
    """What `sandbox.image` calls a language of candidates: Python has a recipe of its own."""
    return None if language == PYTHON else language


def _harmless(language: str) -> Candidate:
    """What no worker of a language dies of."""
    if is_python(language):
        return replace(HARMLESS, language=language)
    return Candidate(
        Solution("", "raw"), "", Tests(source=languages.load(language).passes, calls=("tests",)), language=language
    )


def _faulty(candidate: Candidate, fault: str) -> Execution:
    return Execution(stage="load", judging=wire.judging(candidate), fault=fault)
