"""Many sources read at once: ruff over all of them in one process, and radon. Nothing is imported or executed.

What a source was made for may be to break what reads it: then its own figures are lost, and no other one's.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from core.errors import HostError
from quality.reading import complexity, parameters, parsed, public, statements, unannotated
from quality.scores import Reading

LINT = ("E4", "E5", "E7", "E9", "F", "W", "B", "A", "PLE", "PLW", "S102", "S307")
"""Rules of ruff about what is wrong, or likely to be."""
IDIOMS = ("SIM", "C4", "PERF", "UP", "RET", "PIE", "FURB", "PLR1", "RUF005", "RUF010", "RUF015", "E731")
"""Rules of ruff about what has a better way to be said."""
LINE = 120
"""Characters of a line."""
LONGEST_S = 30.0
"""How long ruff may take for some sources."""
MOST = 50_000
"""Characters of a solution; longer ones are not read."""
_FINDING = re.compile(r"(?:\./)?(\d+)_\d+\.py:\d+:\d+: (?:([A-Z]+\d+)|invalid-syntax)\b")
T = TypeVar("T")


def read(sources: Sequence[Mapping[str, str]], *, later: Sequence[bool] = ()) -> list[Reading]:
    """What is to be said of each solution: its files by path. later: which are of Python 3.13, not 3.11.

    Raises HostError where ruff cannot be run.
    """
    versions = ["py313" if is_later else "py311" for is_later in later] + ["py311"] * (len(sources) - len(later))
    small = [number for number, files in enumerate(sources) if sum(map(len, files.values())) <= MOST]
    found: dict[int, Counter[str]] = {}
    for version in ("py311", "py313"):
        found |= _ruff({n: [*sources[n].values()] for n in small if versions[n] == version}, version)
    if len(found) < len(small) and not _ruff({0: ["x = 1\n"]}, "py311"):  # it is not they that are at fault
        raise HostError("ruff cannot be run: pip install ruff")
    return [
        _reading([*files.values()], found[number]) if number in found else _unread([*files.values()])
        for number, files in enumerate(sources)
    ]


def _reading(texts: Sequence[str], findings: Counter[str]) -> Reading:
    """findings: ruff's, by what they are about."""
    lines, lint, idioms = _lines(texts), findings["lint"], findings["idioms"]
    if findings["syntax"]:
        return _unread(texts)
    trees = [tree for text in texts if (tree := parsed(text)) is not None]
    if len(trees) < len(texts):
        return Reading(lines, lint, idioms)
    whole = ast.Module([statement for tree in trees for statement in tree.body], [])
    highest = _tried(complexity, whole)
    return Reading(
        _tried(statements, whole) or lines,
        lint,
        idioms,
        highest and highest[1],
        _tried(_maintainability, texts),
        _tried(_documented, whole),
        _tried(_annotated, whole),
    )


def _unread(texts: Sequence[str]) -> Reading:
    return Reading(_lines(texts), None, None, readable=False)


def _lines(texts: Sequence[str]) -> int:
    return sum(bool(line.strip()) for text in texts for line in text.splitlines())


def _tried(read: Callable[..., T], *given: object) -> T | None:
    """What a tool says; None where it fails."""
    try:
        return read(*given)
    except Exception:  # of whichever kind: the text may have been made for it
        return None


def _maintainability(texts: Sequence[str]) -> float | None:
    """The index of the worst file, as Visual Studio's and radon's, but that comments do not count."""
    from radon.complexity import average_complexity
    from radon.metrics import h_visit_ast, mi_compute
    from radon.visitors import ComplexityVisitor

    indices = []
    for tree, text in ((ast.parse(text), text) for text in texts if text.strip()):
        lines = sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in text.splitlines())
        visited = ComplexityVisitor.from_ast(tree)
        volume = h_visit_ast(tree).total.volume
        indices.append(float(mi_compute(volume, average_complexity(visited.blocks) or 1, max(lines, 1), 0)))
    return min(indices, default=None)


def _documented(tree: ast.Module) -> float | None:
    found = [ast.get_docstring(node) is not None for _, node in public(tree)]
    return sum(found) / len(found) if found else None


def _annotated(tree: ast.Module) -> float | None:
    functions = [node for _, node in public(tree) if not isinstance(node, ast.ClassDef)]
    places = sum(len(parameters(function)) + 1 for function in functions)
    return 1 - sum(len(unannotated(function)) for function in functions) / places if places else None


def _ruff(sources: Mapping[int, Sequence[str]], version: str) -> dict[int, Counter[str]]:
    """How many findings each solution has, by what they are about; without those at which ruff fails."""
    if not sources:
        return {}
    try:
        return _findings(sources, version)
    except (OSError, subprocess.SubprocessError):
        if len(sources) == 1:
            return {}
    numbers = [*sources]
    halves = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
    return {n: of_one for half in halves for n, of_one in _ruff({n: sources[n] for n in half}, version).items()}


def _findings(sources: Mapping[int, Sequence[str]], version: str) -> dict[int, Counter[str]]:
    found: dict[int, Counter[str]] = {number: Counter() for number in sources}
    with tempfile.TemporaryDirectory(prefix="touchstone-source-") as folder:
        for number, texts in sources.items():
            for i, text in enumerate(texts):
                (Path(folder) / f"{number}_{i}.py").write_text(text, encoding="utf-8", errors="replace")
        done = subprocess.run(
            [
                *(sys.executable, "-P", "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero", "--quiet"),
                *("--no-respect-gitignore", "--ignore-noqa", "--output-format", "concise"),
                *("--target-version", version, "--line-length", str(LINE), "--select", ",".join((*LINT, *IDIOMS)), "."),
            ],
            cwd=folder,
            env={**os.environ, "RUFF_NO_CACHE": "true", "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=LONGEST_S,
            check=True,
        )
    for line in done.stdout.decode(errors="replace").splitlines():
        if told := _FINDING.match(line):
            code = told[2]
            kind = "syntax" if code is None else "idioms" if code.startswith(IDIOMS) else "lint"
            found[int(told[1])][kind] += 1
    return found
