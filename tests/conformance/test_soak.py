"""A run that is killed again and again, whose containers die meanwhile, and that is given hostile programs too."""

from __future__ import annotations

import pytest

from benchmarks.sandbox import SAMPLES
from benchmarks.soak import soak

SIZE, KILLS = 600, 3


@pytest.mark.engine
@pytest.mark.slow
def test_run_when_it_and_its_containers_are_killed_then_nothing_is_lost_and_nothing_is_left() -> None:
    if not SAMPLES.exists():
        pytest.skip(f"needs {SAMPLES}: set TOUCHSTONE_DATA")
    found = soak(SIZE, KILLS, seed=0)
    assert found["wrong"] == [], found
    assert (found["graded"], found["hostile"], found["killed"]["runner"]) == (SIZE, SIZE // 100, KILLS)
    assert found["killed"]["containers"] > 0
    assert found["ledger"]["passed"] > 0
    assert all(figure["readings"] for figure in (*found["memory_bytes"].values(), found["runner_files"]))
