"""What several of the adapters' tests need."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of public data sets."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("TOUCHSTONE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set TOUCHSTONE_DATA to their folder")
    return folder
