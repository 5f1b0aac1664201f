"""A pool of workers behind one interface: whoever isolates, this gives out the jobs, retries and replaces."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from core.types import Candidate, Case, Execution, Limits, Raised, Solution, Tests
from sandbox import wire
from sandbox.agent.watch import PATIENCE
from sandbox.base import Sandbox

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


class WorkerDied(Exception):
    """A worker failed: not the candidate's fault until it happens again and again."""


class Worker(ABC):
    """One confined place in which an agent serves."""

    jobs = 0

    @abstractmethod
    async def run(self, job: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The agent's header and blobs for a job. Raises WorkerDied."""

    @abstractmethod
    async def aclose(self) -> None:
        """End it and leave nothing behind."""


class Pool(Sandbox):
    """`size` workers, started when first needed."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._free: asyncio.Queue[Worker | None] = asyncio.Queue()
        for _ in range(size):
            self._free.put_nowait(None)
        self._workers: set[Worker] = set()
        self._alone = asyncio.Lock()

    @abstractmethod
    async def worker(self) -> Worker:
        """Start one. Raises WorkerDied."""

    async def start(self) -> None:
        """See that one worker starts: the rest will."""
        first = await self.worker()
        self._workers.add(first)
        self._free.get_nowait()
        self._free.put_nowait(first)

    async def run(self, candidate: Candidate) -> Execution:
        """Run one candidate. Alone once more what its wall time stopped while it had work to do, and what its worker
        did not survive: that is the candidate's doing where the worker dies again, and survives a harmless one."""
        if candidate.language != "python":
            fault = f"this version runs no programs in {candidate.language}"
            return Execution(stage="load", judging=wire.judging(candidate), fault=fault)
        execution, again = await self._run(candidate)
        if not again or (self.size == 1 and execution.fault is None):
            return execution
        async with self._alone:
            others: list[Worker | None] = []
            try:
                while len(others) < self.size - 1:
                    others.append(await self._free.get())
                for _ in range(TRIES - 1):
                    execution, again = await self._run(candidate)
                    if execution.fault is None or not again:
                        return execution
                if (await self._run(HARMLESS))[0].fault is None:
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

    async def _run(self, candidate: Candidate) -> tuple[Execution, bool]:
        """The execution, and whether it should be run again alone: because load may have made it slow, or because it
        was a worker's last, which is then its `fault`. Workers that do not even start are tried several times."""
        fault = ""
        for _ in range(TRIES):
            job = wire.job(candidate)
            worker = await self._free.get()
            began = False
            try:
                if worker is None:
                    worker = await self.worker()
                    self._workers.add(worker)
                patience_s = (1 + PATIENCE) * wire.longest(candidate) + GRACE_S
                began = True
                header, blobs = await asyncio.wait_for(worker.run(job), patience_s)
                worker.jobs += 1
                execution = wire.execution(candidate, job["nonce"], header, blobs)
                if not header["clean"] or worker.jobs >= JOBS_PER_WORKER:
                    await self._retire(worker)
                    worker = None
                busy = header["cpu_s"] + (header["delay_s"] or 0.0)
                return execution, execution.stopped_by == "wall" and busy > WAITED * execution.wall_s
            except (WorkerDied, TimeoutError) as error:
                fault = str(error) or "the worker gave no answer"
                await self._retire(worker)
                worker = None
                if began:
                    break
            except BaseException:  # cancelled: what the worker is doing is unknown
                retired, worker = worker, None
                await asyncio.shield(self._retire(retired))
                raise
            finally:
                self._free.put_nowait(worker)
        return Execution(stage="load", judging=wire.judging(candidate), fault=fault), began

    async def _retire(self, worker: Worker | None) -> None:
        if worker is not None:
            self._workers.discard(worker)
            await worker.aclose()
