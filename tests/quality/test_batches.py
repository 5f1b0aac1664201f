"""Sources read in batches, by the real ruff and radon."""

from __future__ import annotations

import subprocess
import time

import pytest

from core.errors import HostError
from quality import scores, source
from quality.source import MOST, read

CLEAN = '"""Add."""\n\n\ndef add(a: int, b: int) -> int:\n    """Add two numbers."""\n    return a + b\n'
UGLY = """import os, sys
def add(a, b):
    l = []
    for x in [a, b]:
        l.append(x)
    if l == None: return
    return sum(l)
"""


def test_read_then_each_has_its_own_findings_in_order():
    clean, ugly, again = read([{"solution.py": CLEAN}, {"solution.py": UGLY}, {"solution.py": CLEAN}])
    assert clean == again
    assert (clean.statements, clean.lint, clean.idioms, clean.complexity) == (2, 0, 0, 1)
    assert (clean.documented, clean.annotated) == (1.0, 1.0)
    assert clean.maintainability > 60
    assert ugly.lint >= 4  # two imports on a line, both unused; a comparison with None; an `l`
    assert ugly.idioms >= 1
    assert ugly.complexity == 3
    assert (ugly.documented, ugly.annotated) == (0.0, 0.0)


def test_read_when_a_solution_is_several_files_then_they_count_together():
    [both] = read([{"a/__init__.py": "", "a/one.py": CLEAN, "a/two.py": UGLY}])
    assert both.documented == both.annotated == 0.5
    assert both.lint >= 4


def test_read_when_a_finding_is_waved_away_then_it_counts():
    [reading] = read([{"solution.py": "import os  # noqa\n"}])
    assert reading.lint == 1


def test_read_when_it_is_no_python_or_too_long_then_it_is_worth_nothing_and_its_neighbours_are_what_they_are():
    broken, long, clean = read([{"s.py": f"{UGLY})\n"}, {"s.py": f"{UGLY}# {'x' * MOST}\n"}, {"s.py": CLEAN}])
    for reading in (broken, long):
        assert not reading.readable
        assert scores.weighted(scores.parts(reading), scores.QUALITY) == 0
    assert (clean.readable, clean.lint, clean.complexity) == (True, 0, 1)


def test_read_when_it_is_of_a_later_version_then_it_is_readable_there_alone():
    newer = "type Pair[T] = tuple[T, T]\n"
    usual, later = read([{"s.py": newer}, {"s.py": newer}], later=[False, True])
    assert (later.readable, later.lint) == (True, 0)
    assert not usual.readable


def test_read_when_there_is_nothing_then_nothing_is_found():
    [empty] = read([{}])
    assert (empty.statements, empty.lint, empty.idioms, empty.complexity) == (0, 0, 0, None)
    assert read([]) == []


@pytest.mark.parametrize(
    "hostile",
    [
        'SEP = "a\u2028b"\n',
        "# it's \x1c (\n",
        f"@d(0x{'f' * 4500})\ndef f(): ...\n",
        f"def f(): return {'1 + ' * 10_000}1\n",
        f"x = {'-' * 10_000}1\n",
        "x = " + "[" * 150 + "]" * 150 + "\n",
        "T = [\n" + "1,\n" * 9_000 + "]\n",
        "l=l;" * 10_000 + "\n",
        "x = '\ud800'\n",
        "x = 1\0\n",
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_read_when_a_source_is_made_to_break_it_then_it_costs_its_own_figures_in_little_time(hostile):
    began = time.monotonic()
    _, clean = read([{"s.py": hostile}, {"s.py": CLEAN}])
    assert time.monotonic() - began < 30
    assert (clean.lint, clean.idioms, clean.complexity, clean.documented) == (0, 0, 1, 1.0)


@pytest.mark.parametrize("path", ["dist/a.py", "venv/a.py", "a.py/b.py", f"{'x' * 300}.py", "../../a.py"])
def test_read_when_a_path_is_unlucky_then_its_file_counts_as_any_other(path):
    [reading] = read([{"a.py": CLEAN, path: UGLY}])
    assert reading.lint >= 4


def test_read_when_ruff_cannot_be_run_at_all_then_that_is_said_and_nobody_is_rated_without_it(monkeypatch):
    def fail(*_, **__):
        raise subprocess.CalledProcessError(1, "ruff")

    monkeypatch.setattr(source.subprocess, "run", fail)
    with pytest.raises(HostError, match="ruff cannot be run: pip install ruff"):
        read([{"solution.py": CLEAN}])
