"""Watching a run from outside while it is going on."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from tests.runners.conftest import Program


def rows(program: Program, table: str = "samples") -> dict[tuple[Any, ...], str]:
    """What is stored, as it stands in the database: (problem, index, turn) → body."""
    if not program.db.exists():
        return {}
    db = sqlite3.connect(program.db)
    try:
        found = db.execute(f'SELECT problem, "index", turn, body FROM {table}').fetchall()
    except sqlite3.OperationalError:  # no tables yet
        found = []
    db.close()
    return {row[:3]: row[3] for row in found}


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Until `condition` holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def run_id(program: Program) -> str:
    """The newest run's."""
    return str(json.loads(program("list", "--json", module="runs").stdout)[0]["run_id"])
