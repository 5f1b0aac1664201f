"""Sources read in batches, by the real ruff and radon."""

from __future__ import annotations

import subprocess

from quality import source
from quality.source import read

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


def test_read_when_it_is_no_python_then_that_is_a_finding_and_the_rest_is_unknown():
    [reading] = read([{"solution.py": "def f(:\n"}])
    assert reading.lint >= 1
    assert reading.complexity is reading.documented is None


def test_read_when_it_is_of_a_later_version_then_its_syntax_is_no_finding():
    newer = "type Pair[T] = tuple[T, T]\n"
    usual, later = read([{"s.py": newer}, {"s.py": newer}], later=[False, True])
    assert later.lint == 0
    assert usual.lint >= 1


def test_read_when_there_is_nothing_then_nothing_is_found():
    [empty] = read([{}])
    assert (empty.statements, empty.lint, empty.idioms, empty.complexity) == (0, 0, 0, None)
    assert read([]) == []


def test_read_when_ruff_fails_then_its_figures_are_unknown_and_the_others_stand(monkeypatch):
    def fail(*_, **__):
        raise subprocess.TimeoutExpired("ruff", 1)

    monkeypatch.setattr(source.subprocess, "run", fail)
    [reading] = read([{"solution.py": CLEAN}])
    assert (reading.lint, reading.idioms, reading.complexity, reading.documented) == (None, None, 1, 1.0)
