"""`mypy --strict` over sources: those that come while it runs are taken together in the next run."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sys
import tempfile
from pathlib import Path

from core.errors import HostError
from quality.reading import silenced

LONGEST_S = 60.0
"""How long one run may take."""
FAILED = "mypy could not check it"
ALONE_S = 30.0
"""How long it may take for one source."""
_LINE = re.compile(r"(s[0-9a-f]{16})\.py:(\d+): error: (.*)")
MYPY = ("-P", "-m", "mypy")
OPTIONS = (
    *("--strict", "--no-error-summary", "--hide-error-codes", "--no-site-packages", "--ignore-missing-imports"),
    *("--config-file", os.devnull),
)


class TypeChecker:
    """Checks sources in a folder of its own. Used by the tasks of one event loop."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="touchstone-types-", ignore_cleanup_errors=True)
        self._known: dict[str, str] = {}
        self._waiting: dict[str, str] = {}
        self._turn = asyncio.Lock()

    async def check(self, code: str) -> str:
        """The first error in a source, as one line; empty where there is none. One that silences it is one.

        Raises HostError where mypy cannot be run.
        """
        if silenced(code):
            return "a comment silences the type checker"
        name = f"s{hashlib.sha256(code.encode()).hexdigest()[:16]}"
        if name not in self._known:
            self._waiting[name] = code
            async with self._turn:
                if name not in self._known:
                    await self._run()
        return self._known[name]

    def close(self) -> None:
        """Remove its folder."""
        self._folder.cleanup()

    async def _run(self) -> None:
        """Check all that waits."""
        batch, self._waiting = self._waiting, {}
        for name, code in batch.items():
            (Path(self._folder.name) / f"{name}.py").write_text(code, encoding="utf-8", errors="replace")
        try:
            found = await self._found([*batch])
        except BaseException:  # it is for whoever comes next
            self._waiting |= batch
            raise
        self._known |= {name: found.get(name, "") for name in batch}

    async def _found(self, names: list[str]) -> dict[str, str]:
        """What is wrong with sources, where something is: of several that cannot be checked together, each alone."""
        status, found = await self._mypy(names)
        if status in (0, 1):
            return found
        if len(names) == 1:
            return found or {names[0]: FAILED}
        alone = [await self._found([name]) for name in names if name not in found]
        return found | {name: words for of_one in alone for name, words in of_one.items()}

    async def _mypy(self, names: list[str]) -> tuple[int | None, dict[str, str]]:
        """How it ended on some of the sources, and the first error in each that has one."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, *MYPY, *OPTIONS, "--cache-dir", "cache", *(f"{name}.py" for name in names)),
            cwd=self._folder.name,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), LONGEST_S if len(names) > 1 else ALONE_S)
        except TimeoutError:
            return None, {}
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        found: dict[str, str] = {}
        lines = output.decode(errors="replace").splitlines()
        for line in lines:
            if told := _LINE.match(line):
                found.setdefault(told[1], f"line {told[2]}: {told[3]}")
        if process.returncode == 1 and not found:  # Python's own word, not mypy's
            raise HostError(f"mypy cannot be run: {lines[-1] if lines else 'it says nothing'}; pip install mypy")
        return process.returncode, found
