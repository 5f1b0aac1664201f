"""The life of the bubblewrap backend's workers: replaced when they die, gone when nobody needs them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import SandboxUnavailable, UsageError
from core.types import Candidate, Limits, Solution, Status, Tests
from sandbox import bubblewrap, cgroups, image, languages, roots, users
from sandbox.bubblewrap import NO_GROUP, BubblewrapSandbox
from sandbox.owner import owner
from sandbox.verdict import verdict
from tests.sandbox.candidates import CORRECT, candidate, case

pytestmark = pytest.mark.bubblewrap

RUNNER = """
import asyncio
from sandbox.bubblewrap import BubblewrapSandbox
from tests.sandbox.candidates import candidate

async def main():
    async with BubblewrapSandbox(1) as sandbox:
        await sandbox.run(candidate("def add(a, b):\\n    return a + b\\n"))
        print("ready", flush=True)
        await sandbox.run(candidate("import time\\ntime.sleep(600)", cpu_s=600.0))

asyncio.run(main())
"""


def families() -> dict[int, int]:
    """Each process's parent, but for zombies."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    found[int(entry.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    """A process's children, and theirs."""
    parents, found = families(), {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return found - {pid}


def ours() -> set[int]:
    return descendants(os.getpid())


def groups(pid: int) -> set[Path]:
    """The control groups that belong to a process."""
    name = f"touchstone-*-{owner(pid).replace(':', '-')}-*"
    return {path for place in cgroups._places()[1] for path in place.glob(name)}


def workers(pid: int) -> set[int]:
    """What is process 1 of a process's workers."""
    found = set()
    for child in descendants(pid):
        with contextlib.suppress(OSError):
            numbers = Path(f"/proc/{child}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()
            found |= {child} if len(numbers) > 1 and numbers[-1] == "1" else set()
    return found


def ended(process: int) -> bool:
    """Whether a process ends of itself. process: a descriptor, which is closed."""
    try:
        return bool(select.select([process], [], [], 30.0)[0])
    finally:
        os.close(process)


async def test_worker_when_killed_in_the_middle_of_a_sample_then_it_is_replaced_and_the_sample_judged() -> None:
    asked = candidate(
        "import time\ndef add(a, b):\n    time.sleep(1)\n    return a + b\n", case("add(1, 2)", 3), wall_margin_s=5.0
    )
    before = workers(os.getpid())
    async with BubblewrapSandbox(1) as sandbox:
        (first,) = workers(os.getpid()) - before
        running = asyncio.create_task(sandbox.run(asked))
        while len(descendants(first)) < 2:
            await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        execution = await running
        assert verdict(asked, execution).status is Status.PASSED, execution
        (second,) = workers(os.getpid()) - before
        assert first != second


async def test_workers_when_the_sandbox_is_closed_then_are_gone_and_so_are_their_groups(grouped: None) -> None:
    before, groups_before = ours(), groups(os.getpid())
    sandbox = BubblewrapSandbox(2)
    async with sandbox:
        await asyncio.gather(*(sandbox.run(candidate()) for _ in range(4)))
        assert ours() > before
        assert groups(os.getpid()) > groups_before
    assert (ours(), groups(os.getpid())) == (before, groups_before)
    await sandbox.aclose()


async def test_worker_when_its_start_is_cancelled_then_is_gone() -> None:
    before, groups_before = ours(), groups(os.getpid())
    async with BubblewrapSandbox(3) as sandbox:
        running = [asyncio.create_task(sandbox.run(candidate(CORRECT))) for _ in range(3)]
        for _ in range(3):
            await asyncio.sleep(0)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        asked = candidate()
        assert verdict(asked, await sandbox.run(asked)).status is Status.PASSED
    assert (ours(), groups(os.getpid())) == (before, groups_before)


def test_worker_when_its_runner_is_killed_then_ends_too_and_its_group_at_the_next_start(grouped: None) -> None:
    with subprocess.Popen([sys.executable, "-c", RUNNER], stdout=subprocess.PIPE) as runner:
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"ready\n"
        started = [os.pidfd_open(pid) for pid in descendants(runner.pid)]
        left = groups(runner.pid)
        runner.kill()
    assert len(started) >= 3
    assert left
    assert all(ended(process) for process in started)
    cgroups.sweep()
    assert not any(path.exists() for path in left)


@pytest.fixture
def grouped() -> None:
    """See that this process may make control groups."""
    group = cgroups.make(1 << 30, 8)
    if group is None:
        pytest.skip(NO_GROUP)
    group.remove()


@pytest.fixture
def left(grouped: None) -> Iterator[Any]:
    """Makes a group with the name given; what is left of them in the end is removed."""
    made: list[Path] = []

    def make(name: str) -> Path:
        folder = cgroups._places()[1][0] / name
        folder.mkdir()
        made.append(folder)
        return folder

    yield make
    for folder in made:
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


def test_sweep_then_removes_dead_owners_groups_and_no_others(left: Any) -> None:
    with subprocess.Popen(["true"]) as dead:
        gone = owner(dead.pid).replace(":", "-")
    here, own, init = cgroups._namespace(), owner(os.getpid()).replace(":", "-"), owner(1).replace(":", "-")
    lost = [left(f"touchstone-{here}-{name}-7") for name in (gone, "1-0", f"{os.getpid()}-1")]
    kept = [left(f"touchstone-{here}-{name}-7") for name in (own, init)]
    kept += [left(f"touchstone-1-{gone}-7"), left("touchstone-of-somebody-else")]
    with subprocess.Popen(["sleep", "600"]) as lingering:
        (lost[0] / "cgroup.procs").write_text(str(lingering.pid))
        cgroups.sweep()
        assert lingering.wait() == -signal.SIGKILL
    assert [path.exists() for path in (*lost, *kept)] == [False] * len(lost) + [True] * len(kept)


def test_namespace_then_its_users_are_nobody_on_the_host_and_make_no_further_one() -> None:
    found = users.namespace()
    try:
        said = subprocess.run(
            [*users.entered(found), "sh", "-c", "cat /proc/self/uid_map; unshare --user true 2>&1"],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.close(found)
    lines = said.stdout.splitlines()
    assert lines[0].split()[0] == "0"
    assert "unshare failed" in lines[-1]
    if os.geteuid() == 0:
        assert lines[0].split() == ["0", str(users.BASE), str(users.COUNT)]


async def test_start_when_no_worker_starts_then_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before, groups_before = ours(), groups(os.getpid())
    monkeypatch.setattr(bubblewrap, "COMMAND", ("/no/such/program",))
    with pytest.raises(SandboxUnavailable, match=r"starts no worker: .*/no/such/program"):
        await BubblewrapSandbox(1).start()
    assert (ours(), groups(os.getpid())) == (before, groups_before)


@pytest.mark.parametrize(
    ("given", "says"),
    [({"runtime": "runsc"}, "bubblewrap has no runtimes"), ({"memory_bytes": 1 << 50}, "and this host has")],
)
async def test_start_when_the_host_has_not_what_is_asked_for_then_says_so(given: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        await BubblewrapSandbox(1, **given).start()


async def test_start_when_bubblewrap_is_missing_then_names_the_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap is missing: as root, `apt-get install -y bubblewrap"):
        await BubblewrapSandbox(1).start()


async def test_worker_when_no_group_can_be_made_then_says_so_and_each_process_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroups, "make", lambda *_: None)
    said: list[str] = []
    async with BubblewrapSandbox(1, say=said.append) as sandbox:
        asked = candidate("def add(a, b):\n    return len(bytearray(4 << 30))\n")
        assert verdict(asked, await sandbox.run(asked)).status is Status.OUT_OF_MEMORY
        assert sandbox.describe()["limits"] == "of each process"
        assert sandbox.describe()["container_memory_bytes"] is None
        java = Candidate(Solution("", "raw"), "", Tests(source="", calls=("tests",)), Limits(), language="java")
        monkeypatch.setattr(roots, "ensure", lambda *_: Path("/"))
        monkeypatch.setattr(roots, "digest", lambda *_: "")
        fault = (await sandbox.run(java)).fault
        assert fault is not None
        assert "java needs a control group" in fault
    assert len(said) == 1
    assert not languages.load("java").limits.address_space


async def test_describe_then_names_what_verdicts_depend_on(grouped: None) -> None:
    async with BubblewrapSandbox(1, memory_bytes=4 << 30) as sandbox:
        said = sandbox.describe()
    assert (said["image"], said["packages"]) == (image.tag(), image.packages())
    assert said["image_digest"].startswith("sha256:")
    assert said["python"].startswith("3.")
    assert (said["backend"], said["workers"], said["container_memory_bytes"]) == ("bubblewrap", 1, 8 << 30)
