from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from core.errors import SandboxUnavailable
from core.types import Candidate, Execution, Status, Tests
from sandbox import pool
from sandbox.pool import Pool
from sandbox.verdict import verdict
from sandbox.worker import Worker, WorkerDied
from tests.sandbox.candidates import candidate, case

Report = tuple[dict[str, Any], list[bytes]]
Script = Callable[[dict[str, Any]], Awaitable[Report]]

ASLEEP = {"stopped_by": "wall", "cpu_s": 0.0, "delay_s": 0.0}
"""It slept until its wall time was up."""
HELD_UP = {"stopped_by": "wall", "cpu_s": 0.5, "delay_s": 0.4}
"""Its wall time was up while it worked or waited for a core."""


def report(job: dict[str, Any], **facts: Any) -> Report:
    """What an agent says of a solution that gives 3."""
    spent = {"nonce": job["nonce"], "cpu_s": 0.1, "wall_s": 0.1, "peak": 1}
    frames = [{"nonce": job["nonce"], "stage": "tests"}, {"value": 3, **spent}, {**spent, "stage": "done"}]
    bodies = [json.dumps(frame).encode() for frame in frames]
    header = {
        "exit_code": 0,
        "signal": None,
        "stopped_by": None,
        "cpu_s": 0.1,
        "wall_s": 1.0,
        "delay_s": None,
        "calls": [],
        "fault": None,
    }
    header |= {"peak_memory_bytes": 1, "clean": True, **facts}
    return header, [b"".join(struct.pack(">I", len(body)) + body for body in bodies), b"", b""]


async def at_once(job: dict[str, Any]) -> Report:
    return report(job)


class FakeWorker(Worker):
    def __init__(self, owner: FakePool, language: str) -> None:
        self.owner, self.language, self.closed = owner, language, 0

    async def run(self, job: dict[str, Any], payload: bytes = b"", asleep: Callable[[], None] = lambda: None) -> Report:
        assert not self.closed, "a closed worker was given a job"
        solution = job.get("solution", "")
        self.owner.active.append(solution)
        self.owner.seen.append((solution, self))
        try:
            if solution.startswith("sleeps"):
                asleep()
            return await self.owner.script(job)
        finally:
            self.owner.active.remove(solution)

    async def aclose(self) -> None:
        self.closed += 1


class FakePool(Pool):
    """Workers in this process, all of which do as the script says."""

    backend = "fake"

    def __init__(self, size: int, script: Script = at_once) -> None:
        super().__init__(size)
        self.script = script
        self.made: list[FakeWorker] = []
        self.readied: list[str] = []
        self.active: list[str] = []
        self.seen: list[tuple[str, FakeWorker]] = []

    async def make_ready(self, language: str) -> str:
        self.readied.append(language)
        return f"sha256:{language}"

    async def start_worker(self, language: str) -> Worker:
        self.made.append(FakeWorker(self, language))
        return self.made[-1]


def asked(code: str = "x", **limits: Any) -> Candidate:
    return candidate(code, case("add(1, 2)", 3), **limits)


async def all_of(sandbox: Pool, *codes: str) -> list[Execution]:
    async with asyncio.timeout(10):
        return await asyncio.gather(*(sandbox.run(asked(code)) for code in codes))


async def assert_has_all_its_tokens(sandbox: FakePool) -> None:
    """As many candidates as it has workers run at once, and no more."""
    together = asyncio.Barrier(sandbox.size)
    most = 0

    async def meet(job: dict[str, Any]) -> Report:
        nonlocal most
        most = max(most, len(sandbox.active))
        await together.wait()
        return report(job)

    sandbox.script = meet
    await all_of(sandbox, *"abcdefgh"[: 2 * sandbox.size])
    assert most == sandbox.size


class Dies:
    """Fails a job so often, then does it."""

    def __init__(self, times: int) -> None:
        self.left = times

    async def __call__(self, job: dict[str, Any]) -> Report:
        self.left -= 1
        if self.left >= 0:
            raise WorkerDied(f"the container ended: {self.left} more times")
        return report(job)


# ── giving out ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_start_then_one_worker_is_ready_and_the_rest_start_when_needed() -> None:
    async with FakePool(3) as sandbox:
        assert len(sandbox.made) == 1
        await all_of(sandbox, "a")
        assert len(sandbox.made) <= 2
        await assert_has_all_its_tokens(sandbox)
        assert len(sandbox.made) == 3


@pytest.mark.parametrize("deaths", [1, pool.TRIES])
async def test_start_when_a_worker_dies_of_it_then_others_are_tried(
    monkeypatch: pytest.MonkeyPatch, deaths: int
) -> None:
    sandbox, left = FakePool(1), deaths

    async def worker(language: str) -> Worker:
        nonlocal left
        left -= 1
        if left >= 0:
            raise WorkerDied("it ended")
        return await FakePool.start_worker(sandbox, language)

    monkeypatch.setattr(sandbox, "start_worker", worker)
    if deaths < pool.TRIES:
        await sandbox.start()
    else:
        with pytest.raises(WorkerDied, match="it ended"):
            await sandbox.start()
    await assert_has_all_its_tokens(sandbox)


async def test_run_when_all_is_well_then_workers_are_kept() -> None:
    async with FakePool(2) as sandbox:
        executions = await all_of(sandbox, *"abcdefghij")
        assert {verdict(asked(), execution).status for execution in executions} == {Status.PASSED}
        assert len(sandbox.made) == 2
        assert not any(worker.closed for worker in sandbox.made)


async def test_aclose_then_every_worker_is_closed_once_even_when_called_twice() -> None:
    sandbox = FakePool(3)
    await sandbox.start()
    await assert_has_all_its_tokens(sandbox)
    await sandbox.aclose()
    await sandbox.aclose()
    assert [worker.closed for worker in sandbox.made] == [1, 1, 1]


# ── failures of the sandbox ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("times", [1, 2])
async def test_run_when_the_worker_dies_then_it_is_replaced_and_the_candidate_judged(times: int) -> None:
    async with FakePool(1, Dies(times)) as sandbox:
        (execution,) = await all_of(sandbox, "a")
        assert verdict(asked(), execution).status is Status.PASSED
        assert [worker.closed for worker in sandbox.made] == [1] * times + [0]
        await assert_has_all_its_tokens(sandbox)


@pytest.mark.parametrize("size", [1, 2])
async def test_run_when_the_worker_dies_each_time_and_survives_another_then_the_candidate_is_fatal(size: int) -> None:
    async with FakePool(size, Dies(3)) as sandbox:
        (execution,) = await all_of(sandbox, "a")
        judged = verdict(asked(), execution)
        assert judged.status is Status.CRASHED
        assert judged.detail == "FatalToItsWorker: the container ended: 0 more times, each time that it ran"
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_the_worker_dies_each_time_of_a_program_then_that_is_fatal_too() -> None:
    died = 0

    async def dies_of_it(job: dict[str, Any]) -> Report:
        nonlocal died
        if "fatal" in str(job["program"]["files"]):
            died += 1
            raise WorkerDied("the container ended")
        header, _ = report({"nonce": ""})
        return header, [b"", b"", b""]

    async with FakePool(1, dies_of_it) as sandbox:
        execution = await sandbox.run(program("perl", "fatal"))
    judged = verdict(program("perl"), execution)
    assert (judged.status, died) == (Status.CRASHED, 3)
    assert judged.detail == "FatalToItsWorker: the container ended, each time that it ran"


async def test_run_when_workers_die_whatever_they_run_then_that_is_the_sandboxs_fault() -> None:
    async with FakePool(2, Dies(4)) as sandbox:
        (execution,) = await all_of(sandbox, "a")
        judged = verdict(asked(), execution)
        assert (judged.status, judged.detail) == (Status.SANDBOX_ERROR, "the container ended: 1 more times")
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_there_is_no_such_language_then_that_is_no_verdict() -> None:
    async with FakePool(1) as sandbox:
        execution = await sandbox.run(replace(asked(), language="pearl"))
    assert verdict(asked(), execution).status is Status.SANDBOX_ERROR
    assert execution.fault is not None
    assert "unknown language 'pearl'; did you mean 'perl'" in execution.fault
    assert sandbox.seen == []


def program(language: str, code: str = "x") -> Candidate:
    return replace(asked(code), tests=Tests(source="\nprint 1", calls=("tests",)), language=language)


async def ended_well(job: dict[str, Any]) -> Report:
    """A program that writes whatever stands last in it, such as the marker; or any other job, done."""
    if "program" not in job:
        return report(job)
    (text,) = job["program"]["files"].values()
    header, _ = report({"nonce": ""})
    return header, [b"", (text.split()[-1].strip("';\"\\n") + "\n").encode(), b""]


async def test_run_when_candidates_sleep_then_others_have_their_turn() -> None:
    awake = asyncio.Event()

    async def script(job: dict[str, Any]) -> Report:
        if job["solution"].startswith("sleeps"):
            await awake.wait()
        return report(job)

    async with FakePool(2, script) as sandbox:
        sleepers = [
            asyncio.create_task(sandbox.run(asked(f"sleeps {number}"))) for number in range(2 * pool.SLEEPERS + 1)
        ]
        await asyncio.sleep(0)
        await all_of(sandbox, *"abcdefgh")
        assert len(sandbox.active) == len(sleepers)
        awake.set()
        assert all(execution.fault is None for execution in await asyncio.gather(*sleepers))
        await assert_has_all_its_tokens(sandbox)


async def test_describe_when_languages_were_used_then_names_what_each_is_made_of() -> None:
    async with FakePool(1, ended_well) as sandbox:
        await asyncio.gather(*(sandbox.run(program(language)) for language in ("bash", "sh", "lua", "bash")))
        described = sandbox.describe()
    assert sorted(sandbox.readied) == ["bash", "lua", "python"]
    assert (described["backend"], described["image_digest"]) == ("fake", "sha256:python")
    assert {name: used["image_digest"] for name, used in described["languages"].items()} == {
        "bash": "sha256:bash",
        "lua": "sha256:lua",
    }


async def test_run_when_languages_take_turns_then_each_keeps_a_worker_of_its_own() -> None:
    async with FakePool(1, ended_well) as sandbox:
        for language in ("bash", "python", "sh", "python", "bash"):
            ask = asked() if language == "python" else program(language)
            execution = await sandbox.run(ask)
            assert verdict(ask, execution).status is Status.PASSED, execution
        assert [worker.language for worker in sandbox.made] == ["python", "bash"]
        assert not any(worker.closed for worker in sandbox.made)
    assert all(worker.closed == 1 for worker in sandbox.made)


async def test_run_when_a_worker_of_one_language_dies_then_those_of_others_stay() -> None:
    async with FakePool(1, ended_well) as sandbox:
        await sandbox.run(program("bash"))
        sandbox.script = Dies(1)
        assert (await sandbox.run(asked("y"))).fault is None
        assert [(worker.language, worker.closed) for worker in sandbox.made] == [
            *[("python", 1), ("bash", 0), ("python", 0)]
        ]
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_an_image_cannot_be_made_then_that_is_no_verdict_and_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    async def worker(language: str) -> Worker:
        tried.append(language)
        raise SandboxUnavailable("the sandbox image cannot be built")

    async with FakePool(1) as sandbox:
        monkeypatch.setattr(sandbox, "start_worker", worker)
        execution = await sandbox.run(program("bash"))
        assert (execution.fault, tried) == ("the sandbox image cannot be built", ["bash"])
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_no_worker_starts_then_that_is_the_sandboxs_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def worker(language: str) -> Worker:
        raise WorkerDied("no space left on device")

    sandbox = FakePool(1)
    monkeypatch.setattr(sandbox, "start_worker", worker)
    (execution,) = await all_of(sandbox, "a")
    assert execution.fault == "no space left on device"
    monkeypatch.undo()
    await assert_has_all_its_tokens(sandbox)


async def test_run_when_a_worker_never_answers_then_it_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(job: dict[str, Any]) -> Report:
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(pool, "GRACE_S", 0.0)
    monkeypatch.setattr(pool, "HARMLESS", asked(cpu_s=0.01, wall_margin_s=0.01))
    async with FakePool(1, never) as sandbox, asyncio.timeout(10):
        execution = await sandbox.run(asked(cpu_s=0.01, wall_margin_s=0.01))
        assert execution.fault == "the worker gave no answer"
        assert [worker.closed for worker in sandbox.made] == [1, 1, 1, 1]


async def test_run_when_a_worker_was_left_unclean_then_it_is_used_no_more() -> None:
    async def unclean(job: dict[str, Any]) -> Report:
        return report(job, clean=job["solution"] != "litter")

    async with FakePool(1, unclean) as sandbox:
        await all_of(sandbox, "a")
        (execution,) = await all_of(sandbox, "litter")
        await all_of(sandbox, "b")
        assert verdict(asked(), execution).status is Status.PASSED
        assert [worker.closed for worker in sandbox.made] == [1, 0]
        assert sandbox.seen[-1] == ("b", sandbox.made[1])


async def test_run_when_a_worker_has_done_its_share_then_it_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "JOBS_PER_WORKER", 2)
    async with FakePool(1) as sandbox:
        await all_of(sandbox, *"abcde")
        assert [worker.closed for worker in sandbox.made] == [1, 1, 0]
        assert [sandbox.made.index(worker) for _, worker in sandbox.seen] == [0, 0, 1, 1, 2]


# ── what load held up ────────────────────────────────────────────────────────────────────────────────────────────────


class HeldUpOnce:
    """`slow` is stopped by its wall time the first time; every job yields, so that what can run beside it does."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts, self.runs = facts, 0
        self.beside: list[list[str]] = []
        self.pool: FakePool | None = None

    async def __call__(self, job: dict[str, Any]) -> Report:
        assert self.pool is not None
        facts: dict[str, Any] = {}
        if job["solution"] == "slow":
            self.runs += 1
            facts = self.facts if self.runs == 1 else {}
        beside: set[str] = set()
        for _ in range(5):
            beside.update(self.pool.active)
            await asyncio.sleep(0)
        if job["solution"] == "slow":
            self.beside.append(sorted(beside - {"slow"}))
        return report(job, **facts)


def held_up(size: int, facts: dict[str, Any]) -> tuple[FakePool, HeldUpOnce]:
    script = HeldUpOnce(facts)
    script.pool = FakePool(size, script)
    return script.pool, script


async def test_run_when_load_made_it_late_then_it_is_run_again_alone() -> None:
    sandbox, script = held_up(3, HELD_UP)
    async with sandbox:
        executions = await all_of(sandbox, "slow", *"abcdefgh")
        assert {verdict(asked(), execution).status for execution in executions} == {Status.PASSED}
        assert script.runs == 2
        assert script.beside[0] and not script.beside[1]
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_several_are_late_at_once_then_each_is_run_again_alone() -> None:
    alone: list[list[str]] = []
    seen: set[str] = set()

    async def late(job: dict[str, Any]) -> Report:
        first = job["solution"] not in seen
        seen.add(job["solution"])
        for _ in range(5):
            await asyncio.sleep(0)
            if not first:
                alone.append(list(sandbox.active))
        return report(job, **(HELD_UP if first else {}))

    async with FakePool(4, late) as sandbox:
        executions = await all_of(sandbox, *"abcdefgh")
        assert {verdict(asked(), execution).status for execution in executions} == {Status.PASSED}
        assert alone and all(len(active) == 1 for active in alone)
        await assert_has_all_its_tokens(sandbox)


@pytest.mark.parametrize(
    ("size", "facts"),
    [(3, ASLEEP), (1, HELD_UP), (3, {**HELD_UP, "stopped_by": "cpu"})],
    ids=["asleep", "alone anyway", "out of CPU time"],
)
async def test_run_when_load_cannot_be_the_reason_then_it_is_not_run_again(size: int, facts: dict[str, Any]) -> None:
    sandbox, script = held_up(size, facts)
    async with sandbox:
        execution, *_ = await all_of(sandbox, "slow", *"abc")
        assert script.runs == 1
        assert verdict(asked(), execution).status is Status.TIMED_OUT


async def test_run_when_it_is_late_alone_too_then_it_has_timed_out() -> None:
    async def always(job: dict[str, Any]) -> Report:
        return report(job, **HELD_UP)

    async with FakePool(2, always) as sandbox:
        (execution,) = await all_of(sandbox, "slow")
        assert verdict(asked(), execution).status is Status.TIMED_OUT
        assert len(sandbox.seen) == 2


# ── cancellation ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_run_when_cancelled_then_its_worker_is_used_no_more_and_its_place_is_free() -> None:
    begun = asyncio.Event()

    async def never(job: dict[str, Any]) -> Report:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with FakePool(1, never) as sandbox:
        task = asyncio.create_task(sandbox.run(asked()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [worker.closed for worker in sandbox.made] == [1]
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_cancelled_before_its_turn_then_no_place_is_lost() -> None:
    go = asyncio.Event()

    async def wait(job: dict[str, Any]) -> Report:
        await go.wait()
        return report(job)

    async with FakePool(1, wait) as sandbox:
        first, second, third = (asyncio.create_task(sandbox.run(asked(code))) for code in "abc")
        await asyncio.sleep(0)
        second.cancel()
        go.set()
        async with asyncio.timeout(10):
            await asyncio.gather(first, third)
        assert [code for code, _ in sandbox.seen] == ["a", "c"]
        await assert_has_all_its_tokens(sandbox)


async def test_run_when_cancelled_while_it_waits_to_be_alone_then_no_place_is_lost() -> None:
    go, late = asyncio.Event(), asyncio.Event()

    async def script(job: dict[str, Any]) -> Report:
        if job["solution"] == "slow":
            late.set()
            return report(job, **HELD_UP)
        await go.wait()
        return report(job)

    async with FakePool(3, script) as sandbox:
        others = [asyncio.create_task(sandbox.run(asked(code))) for code in "ab"]
        slow = asyncio.create_task(sandbox.run(asked("slow")))
        await late.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        go.set()
        await asyncio.gather(*others)
        await assert_has_all_its_tokens(sandbox)


async def test_aclose_when_a_candidate_was_cancelled_then_no_worker_is_left_open() -> None:
    sandbox = FakePool(2)
    await sandbox.start()
    begun = asyncio.Event()

    async def never(job: dict[str, Any]) -> Report:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    sandbox.script = never
    task = asyncio.create_task(sandbox.run(asked()))
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await sandbox.aclose()
    assert all(worker.closed == 1 for worker in sandbox.made)
