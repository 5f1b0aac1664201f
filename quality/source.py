"""Many sources read at once: ruff over all of them in one process, and radon. Nothing is imported or executed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from quality.reading import parameters, parsed, public, statements, unannotated
from quality.scores import Reading

LINT = ("E4", "E5", "E7", "E9", "F", "W", "B", "A", "PLE", "PLW", "S102", "S307")
"""Rules of ruff about what is wrong, or likely to be."""
IDIOMS = ("SIM", "C4", "PERF", "UP", "RET", "PIE", "FURB", "PLR1", "RUF005", "RUF010", "RUF015", "E731")
"""Rules of ruff about what has a better way to be said."""
LINE = 120
"""Characters of a line."""
LONGEST_S = 120.0
"""How long ruff may take."""
MOST_BYTES = 200_000
"""What is larger is not read."""


def read(sources: Sequence[Mapping[str, str]], *, later: Sequence[bool] = ()) -> list[Reading]:
    """What is to be said of each solution: its files by path. later: which are of Python 3.13, not 3.11."""
    found = _ruff(sources, [*later, *[False] * (len(sources) - len(later))])
    return [_reading([*files.values()], *findings) for files, findings in zip(sources, found, strict=True)]


def _reading(texts: Sequence[str], lint: int | None, idioms: int | None) -> Reading:
    trees = [parsed(text) if len(text) <= MOST_BYTES else None for text in texts]
    if any(tree is None for tree in trees):
        lines = sum(bool(line.strip()) for text in texts for line in text.splitlines())
        return Reading(lines, lint, idioms)
    whole = ast.Module([statement for tree in trees if tree is not None for statement in tree.body], [])
    try:
        return Reading(
            statements(whole),
            lint,
            idioms,
            _complexity(whole),
            _maintainability(texts),
            _documented(whole),
            _annotated(whole),
        )
    except RecursionError:
        return Reading(len(texts), lint, idioms)


def _complexity(tree: ast.Module) -> int | None:
    from radon.visitors import ComplexityVisitor

    found = ComplexityVisitor.from_ast(tree)
    blocks = [*found.functions, *(method for each in found.classes for method in each.methods)]
    return max((int(block.complexity) for block in blocks), default=None)


def _maintainability(texts: Sequence[str]) -> float | None:
    from radon.metrics import mi_visit

    indices = [float(mi_visit(text, multi=True)) for text in texts if text.strip()]
    return min(indices, default=None)


def _documented(tree: ast.Module) -> float | None:
    found = [ast.get_docstring(node) is not None for _, node in public(tree)]
    return sum(found) / len(found) if found else None


def _annotated(tree: ast.Module) -> float | None:
    functions = [node for _, node in public(tree) if not isinstance(node, ast.ClassDef)]
    places = sum(len(parameters(function)) + 1 for function in functions)
    return 1 - sum(len(unannotated(function)) for function in functions) / places if places else None


def _ruff(sources: Sequence[Mapping[str, str]], later: Sequence[bool]) -> list[tuple[int | None, int | None]]:
    """How many findings of each kind each solution has; None where ruff fails."""
    lint, idioms, failed = Counter[int](), Counter[int](), set[bool]()
    with tempfile.TemporaryDirectory(prefix="touchstone-source-") as folder:
        for number, files in enumerate(sources):
            for path, text in files.items():
                place = Path(folder) / ("later" if later[number] else "usual") / str(number) / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(text if len(text) <= MOST_BYTES else "", encoding="utf-8", errors="replace")
        for name, version in (("usual", "py311"), ("later", "py313")):
            place = Path(folder) / name
            try:
                findings = _findings(place, version) if place.is_dir() else []
            except (OSError, subprocess.SubprocessError, ValueError):
                failed.add(name == "later")
                continue
            for finding in findings:
                number = int(Path(finding["filename"]).relative_to(place.resolve()).parts[0])
                code = finding.get("code") or "E9"
                (idioms if code.startswith(IDIOMS) else lint)[number] += 1
    return [
        (None, None) if later[number] in failed else (lint[number], idioms[number]) for number in range(len(sources))
    ]


def _findings(folder: Path, version: str) -> list[dict[str, str]]:
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "ruff", "check", "--isolated", "--no-cache", "--exit-zero"),
            *("--no-respect-gitignore", "--ignore-noqa", "--output-format", "json", "--target-version", version),
            *("--line-length", str(LINE), "--select", ",".join((*LINT, *IDIOMS)), "."),
        ],
        cwd=folder.resolve(),
        env={**os.environ, "RUFF_NO_CACHE": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=LONGEST_S,
        check=True,
    )
    found: list[dict[str, str]] = json.loads(done.stdout)
    return found
