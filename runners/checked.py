"""A sandbox beside which the source of candidates is read, where their tests ask for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.types import Candidate, Check, Execution
from quality.checks import find
from quality.typechecker import TypeChecker
from sandbox.base import Sandbox


class Checked(Sandbox):
    """Another sandbox, whose executions have the findings of the checks."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._types: TypeChecker | None = None

    async def start(self) -> None:
        """Start the other."""
        await self.sandbox.start()

    async def run(self, candidate: Candidate) -> Execution:
        """What the other gives, and what each check finds."""
        execution = await self.sandbox.run(candidate)
        if not candidate.tests.checks:
            return execution
        found = [await self._find(check, candidate.solution.code) for check in candidate.tests.checks]
        return replace(execution, findings=tuple(found))

    async def aclose(self) -> None:
        """End the other."""
        if self._types is not None:
            self._types.close()
            self._types = None
        await self.sandbox.aclose()

    def describe(self) -> Mapping[str, Any]:
        """The other's description."""
        return self.sandbox.describe()

    async def _find(self, check: Check, code: str) -> str:
        if check.name != "types":
            return find(check, code)
        self._types = self._types or TypeChecker()
        return await self._types.check(code)
