"""The life of the docker backend's containers: replaced when they die, gone when nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from docker.errors import NotFound

from core.errors import SandboxUnavailable, UsageError
from core.types import Status
from sandbox import image
from sandbox.docker import LABEL, PLACE, DockerSandbox, _owner, _place, sweep
from sandbox.verdict import verdict
from tests.sandbox.candidates import CORRECT, candidate, case

pytestmark = pytest.mark.engine

RUNNER = """
import asyncio
from sandbox.docker import DockerSandbox
from tests.sandbox.candidates import candidate

async def main():
    async with DockerSandbox(1) as sandbox:
        print("ready", flush=True)
        await sandbox.run(candidate("import time\\ntime.sleep(600)", cpu_s=600.0))

asyncio.run(main())
"""


def containers(engine: Any, owner: str) -> set[str]:
    """The ids of those that belong to a process."""
    return {entry["Id"] for entry in engine.api.containers(all=True, filters={"label": f"{LABEL}={owner}"})}


def ours(engine: Any) -> set[str]:
    return containers(engine, _owner(os.getpid()))


def wait_until_removed(engine: Any, name: str) -> None:
    with contextlib.suppress(NotFound):
        engine.api.wait(name, timeout=30, condition="removed")


async def test_container_when_killed_in_the_middle_of_a_sample_then_it_is_replaced_and_the_sample_judged(
    engine: Any,
) -> None:
    before = ours(engine)
    asked = candidate(
        "import time\ndef add(a, b):\n    time.sleep(1)\n    return a + b\n", case("add(1, 2)", 3), wall_margin_s=5.0
    )
    async with DockerSandbox(1) as sandbox:
        (first,) = ours(engine) - before
        running = asyncio.create_task(sandbox.run(asked))
        while len((await asyncio.to_thread(engine.api.top, first))["Processes"]) < 2:
            pass
        await asyncio.to_thread(engine.api.kill, first)
        execution = await running
        assert verdict(asked, execution).status is Status.PASSED, execution
        (second,) = ours(engine) - before - {first}
        assert first != second
    assert ours(engine) == before


async def test_candidate_when_ended_before_it_is_told_its_job_then_the_sample_is_judged_all_the_same(
    engine: Any,
) -> None:
    before = ours(engine)
    end_it = "import os; os.kill(int(open('/proc/1/task/1/children').read().split()[-1]), 9)"
    async with DockerSandbox(1) as sandbox:
        (first,) = ours(engine) - before
        ended = await asyncio.to_thread(engine.containers.get(first).exec_run, ["/usr/bin/python3", "-c", end_it])
        assert ended == (0, b"")
        asked = candidate()
        execution = await sandbox.run(asked)
        assert verdict(asked, execution).status is Status.PASSED, execution
        assert first not in ours(engine)


async def test_containers_when_the_sandbox_is_closed_then_are_gone(engine: Any) -> None:
    before = ours(engine)
    sandbox = DockerSandbox(2)
    async with sandbox:
        await asyncio.gather(*(sandbox.run(candidate()) for _ in range(4)))
        assert len(ours(engine) - before) in (1, 2)
    assert ours(engine) == before
    await sandbox.aclose()


async def test_container_when_its_start_is_cancelled_then_is_gone(engine: Any) -> None:
    before = ours(engine)
    async with DockerSandbox(3) as sandbox:
        running = [asyncio.create_task(sandbox.run(candidate(CORRECT))) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        asked = candidate()
        assert verdict(asked, await sandbox.run(asked)).status is Status.PASSED
    assert ours(engine) == before


def test_container_when_its_runner_is_killed_then_is_gone_soon(engine: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        (container,) = containers(engine, _owner(runner.pid))
        runner.kill()
    wait_until_removed(engine, container)
    with pytest.raises(NotFound):
        engine.api.inspect_container(container)


@pytest.fixture
def left(engine: Any) -> Iterator[Any]:
    """Makes a container, not started, with the labels given; what is left of them in the end is removed."""
    digest, made = image.ensure(engine, lambda _: None), []

    def make(owner: str, place: str) -> str:
        made.append(engine.api.create_container(digest, ["true"], labels={LABEL: owner, PLACE: place})["Id"])
        return str(made[-1])

    yield make
    for name in made:
        with contextlib.suppress(NotFound):
            engine.api.remove_container(name, force=True)


def test_sweep_then_removes_dead_owners_containers_and_no_others(engine: Any, left: Any) -> None:
    with subprocess.Popen(["true"]) as dead:
        owner = _owner(dead.pid)
    init = _owner(1)
    lost = {left(owner, _place()), left("1:0", _place()), left(f"{os.getpid()}:1", _place())}
    kept = {left(_owner(os.getpid()), _place()), left(init, _place()), left(owner, "another host's")}
    sweep(engine)
    there = {entry["Id"] for entry in engine.api.containers(all=True)}
    assert there & (lost | kept) == kept


async def test_start_when_the_engine_starts_no_container_then_says_why(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ours(engine)
    monkeypatch.setattr(DockerSandbox, "_check", lambda *_: None)  # which would say so before
    with pytest.raises(SandboxUnavailable, match=r"starts no container: .*no-such-runtime"):
        await DockerSandbox(1, runtime="no-such-runtime").start()
    assert ours(engine) == before


@pytest.mark.parametrize(
    ("given", "says"),
    [({"runtime": "runk"}, "did you mean 'runc'"), ({"memory_bytes": 1 << 50}, "and the engine's host has")],
)
async def test_start_when_the_engine_has_not_what_is_asked_for_then_says_so_and_leaves_nothing(
    engine: Any, given: dict[str, Any], says: str
) -> None:
    before = ours(engine)
    with pytest.raises(UsageError, match=says):
        await DockerSandbox(1, **given).start()
    assert ours(engine) == before


async def test_describe_then_names_what_verdicts_depend_on(engine: Any) -> None:
    async with DockerSandbox(1, memory_bytes=4 << 30) as sandbox:
        said = sandbox.describe()
    assert said["image_digest"] == engine.images.get(image.tag()).id
    assert said["packages"] == image.packages()
    assert said["python"].startswith("3.")
    assert (said["backend"], said["workers"], said["container_memory_bytes"]) == ("docker", 1, 8 << 30)
