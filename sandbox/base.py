"""The one plug point for sandboxes.

A backend is a subclass of `Sandbox` in a file of its own and a line in `sandbox.registry` (or an entry point of the
group `touchstone.sandboxes` in another package); it passes the conformance suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

from core.types import Candidate, Execution


class Sandbox(ABC):
    """Runs candidates, isolated from the host, from each other, and from what came before them.

    Made of how many candidates it runs at a time, and `memory_bytes`, `runtime`, `say` and `wanted` as
    `sandbox.docker.DockerSandbox` takes them. Used as an asynchronous context manager by many tasks of one event loop
    at once.
    """

    @abstractmethod
    async def start(self) -> None:
        """Make it ready. Raises SandboxUnavailable with the command that mends it."""

    @abstractmethod
    async def run(self, candidate: Candidate) -> Execution:
        """Run one candidate; waits for a free worker.

        Never raises for what the candidate does, and not for the sandbox's own failures either: those are retried,
        and what is left of them is `Execution.fault`.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Stop everything and leave nothing behind. May be called at any time, and twice."""

    @abstractmethod
    def describe(self) -> Mapping[str, Any]:
        """What the verdicts depend on, for the manifest: backend, image digest, versions, limits."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Unused(Sandbox):
    """In place of a sandbox, where there is nothing to be run."""

    async def start(self) -> None:
        """Nothing is started."""

    async def run(self, _: Candidate) -> Execution:
        """Nothing is run: the candidate has not been judged."""
        return Execution(stage="load", fault="this run was begun without a sandbox")

    async def aclose(self) -> None:
        """Nothing is to be stopped."""

    def describe(self) -> Mapping[str, Any]:
        """There is none."""
        return {"backend": None}
