from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from core.types import Candidate, Execution
from sandbox import merged
from sandbox.base import Sandbox
from sandbox.merged import Merged
from tests.sandbox.candidates import CODE, candidate, case


class Counting(Sandbox):
    """Counts what it runs; each waits for `gate`."""

    def __init__(self, execution: Callable[[], Execution] = lambda: Execution("done")) -> None:
        self.execution, self.ran, self.closed = execution, [], 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def start(self) -> None:
        pass

    async def run(self, candidate: Candidate) -> Execution:
        self.ran.append(candidate)
        await self.gate.wait()
        return self.execution()

    async def aclose(self) -> None:
        self.closed += 1

    def describe(self) -> Mapping[str, Any]:
        return {"backend": "counting"}


async def test_run_when_candidates_are_equal_then_runs_one_and_gives_its_execution_to_all() -> None:
    inner = Counting()
    async with Merged(inner) as sandbox:
        first = await asyncio.gather(*(sandbox.run(candidate("x")) for _ in range(5)))
        later = await sandbox.run(candidate("x"))
    assert len(inner.ran) == 1
    assert all(execution is later for execution in first)


async def test_run_when_candidates_differ_in_anything_that_is_run_then_runs_each() -> None:
    one = candidate("x")
    others = [
        candidate("y"),
        candidate("x", case("add(1, 2)", 3)),
        candidate("x", CODE),
        candidate("x", replace(CODE, shared=True)),
        candidate("x", cpu_s=2.0),
        replace(one, entry_point="f"),
    ]
    inner = Counting()
    async with Merged(inner) as sandbox:
        for each in (one, *others):
            await sandbox.run(each)
    assert inner.ran == [one, *others]


async def test_run_when_only_what_is_expected_differs_then_runs_one_since_that_is_compared_elsewhere() -> None:
    inner = Counting()
    async with Merged(inner) as sandbox:
        for output in (3, 4):
            await sandbox.run(candidate("x", case("add(1, 2)", output)))
    assert len(inner.ran) == 1


async def test_run_when_the_sandbox_itself_failed_then_is_run_again() -> None:
    inner = Counting(lambda: Execution("load", fault="no space left on device"))
    async with Merged(inner) as sandbox:
        for _ in range(2):
            await sandbox.run(candidate("x"))
    assert len(inner.ran) == 2


async def test_run_when_one_gives_up_waiting_then_the_others_get_their_execution() -> None:
    inner = Counting()
    inner.gate.clear()
    async with Merged(inner) as sandbox:
        first, second = (asyncio.create_task(sandbox.run(candidate("x"))) for _ in range(2))
        while not inner.ran:
            await asyncio.sleep(0)
        first.cancel()
        inner.gate.set()
        assert (await second).stage == "done"
    assert len(inner.ran) == 1


async def test_aclose_when_something_runs_then_it_is_ended_first() -> None:
    inner = Counting()
    inner.gate.clear()
    sandbox = Merged(inner)
    waiting = asyncio.create_task(sandbox.run(candidate("x")))
    while not inner.ran:
        await asyncio.sleep(0)
    await sandbox.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert inner.closed == 1


async def test_run_when_many_have_run_then_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merged, "KEPT", 3)
    inner = Counting()
    async with Merged(inner) as sandbox:
        for code in "abcd" + "d" + "a":
            await sandbox.run(candidate(code))
    assert [each.solution.code for each in inner.ran] == ["a", "b", "c", "d", "a"]
