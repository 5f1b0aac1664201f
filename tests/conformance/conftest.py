"""The backends that the suite is run on. A new one is a line here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import cache, partial
from typing import Any

import pytest
import pytest_asyncio

from sandbox import registry
from sandbox.base import Sandbox

BACKENDS = [
    pytest.param("docker", marks=pytest.mark.engine),
    pytest.param("bubblewrap", marks=pytest.mark.bubblewrap),
    pytest.param("docker+runsc", marks=[pytest.mark.engine, pytest.mark.slow]),
]
"""Names in the registry; after a +, the engine's runtime in place of its default."""
KNOWN = {
    "docker+runsc": {
        "test_agent_then_shows_nothing_of_itself_and_cannot_be_slowed_down": (
            "gVisor asks nobody's leave for another process's maps, environment, list of descriptors, niceness and "
            "affinity; those two have no effect, but what it forks inherits them"
        ),
        "test_run_when_several_processes_together_use_up_the_memory_then_out_of_memory": (
            "the memory of a container is gVisor's own: where it is used up, the whole container ends, unexplained"
        ),
        "test_limit_of_processes_when_reached_then_creating_one_more_fails_in_the_candidate": (
            "gVisor's RLIMIT_NPROC allows one more"
        ),
        "test_limit_of_files_when_reached_then_one_more_fails_in_the_candidate": "gVisor's tmpfs has no nr_inodes",
        "test_verdicts_when_the_machine_is_busy_then_only_what_sleeps_is_late": (
            "gVisor does not tell how long a thread has waited for a core (schedstat), and counts it as its CPU time"
        ),
    },
}
"""What of the suite fails on a backend: tests and why. `docs/decisions/0008-gvisor.md` has gVisor's in more words."""
NOT_EVERYWHERE = {"test_verdicts_when_the_machine_is_busy_then_only_what_sleeps_is_late"}
"""Those of them that fail only where too many wait for too few cores: on a fast machine they may pass."""
OTHERWISE = {
    "docker+runsc": {
        "bash/memory-of-the-agent-program": "gVisor shows the agent's environment, in which there is nothing of a job",
    },
}
"""Hostile programs that fare otherwise on a backend than on all, and why."""


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        known = KNOWN.get(parameters.get("backend"), {})
        if (name := getattr(item, "originalname", item.name)) in known:
            strict = name not in NOT_EVERYWHERE
            item.add_marker(pytest.mark.xfail(strict=strict, raises=AssertionError, reason=known[name]))


def maker(name: str) -> Callable[..., Sandbox]:
    """What makes a sandbox of so many workers."""
    backend, _, runtime = name.partition("+")
    return partial(registry.get(backend), **({"runtime": runtime} if runtime else {}))


@cache
def missing(name: str) -> str:
    """Why a backend cannot be had on this host, with the mend; empty where it can."""
    _, _, runtime = name.partition("+")
    if not runtime:
        return ""
    from sandbox import engine

    with closing(engine.connect()) as client:
        known = client.info().get("Runtimes") or {}
    return "" if runtime in known else f"{runtime} is not known to the engine: {engine.mend(runtime)}"


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Callable[..., Sandbox]:
    """What makes a sandbox of so many workers."""
    if reason := missing(request.param):
        pytest.skip(reason)
    return maker(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox(backend: Callable[..., Sandbox]) -> AsyncIterator[Sandbox]:
    """One worker, so that a candidate follows upon the one before it in the same place."""
    async with backend(1) as only:
        yield only
