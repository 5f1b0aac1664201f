"""A sandbox beside which the source of candidates is read, where their tests ask for that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from adapters import project
from adapters.extraction import defined
from core.types import Candidate, Check, Execution
from quality.checks import find
from quality.reading import parsed
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
        sources, lacking = _sources(candidate)
        found = [lacking or await self._first(check, sources) for check in candidate.tests.checks]
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

    async def _first(self, check: Check, sources: Mapping[str, str]) -> str:
        """The first thing that a check finds, in whichever file. What is to be used may be in any of them."""
        if check.name == "uses":
            each = [(word, replace(check, value=(word,))) for word in check.value]
            lacking = [word for word, one in each if all(find(one, text) for text in sources.values())]
            return f"without {', '.join(lacking)}" if lacking else ""
        for path, text in sources.items():
            if found := await self._find(check, text):
                return f"{path}: {found}" if path else found
        return ""

    async def _find(self, check: Check, code: str) -> str:
        if check.name != "types":
            return find(check, code)
        self._types = self._types or TypeChecker()
        return await self._types.check(code)


def _sources(candidate: Candidate) -> tuple[dict[str, str], str]:
    """The Python of a solution by path, which is empty where it is one text; and why there is nothing to be checked."""
    code = candidate.solution.code
    if candidate.files:
        files = {path: text for path, text in project.split(code).items() if path.endswith(".py")}
        return files, "" if files else "there is no Python in it"
    name = candidate.entry_point
    tree = parsed(code)
    if tree is not None and name and name not in defined(tree.body):
        return {}, f"it does not define {name}"
    return {"": code}, ""
