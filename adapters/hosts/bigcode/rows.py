"""Data files that need no package to be read, such as the harness's own data sets are."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

PLAIN = (str, int, float, bool)
LIKE_A_TIME = re.compile(r"\s*\d{4}-\d")
"""What the package `datasets` may take for a time."""
INT64 = 1 << 63


class Rows(list[Any]):
    """Documents as a data set, as far as the harness looks."""

    def select(self, numbers: Iterable[int]) -> Rows:
        """Some of them."""
        return Rows(self[number] for number in numbers)


def read(files: Mapping[str, Sequence[Path]]) -> dict[str, Rows] | None:
    """The rows of the files of each split, if `datasets` would give the very same; None where it might not.

    It gives each column one type, and each row all columns: so it is left to it to read whatever is no JSON lines, and
    in which a row has other keys than the first, or values of another type.
    """
    found = {split: _rows(paths) for split, paths in files.items()}
    return None if any(rows is None for rows in found.values()) else {k: v for k, v in found.items() if v is not None}


def _rows(paths: Sequence[Path]) -> Rows | None:
    rows: Rows = Rows()
    for path in paths:
        if not path.name.endswith((".jsonl", ".jsonl.gz")):
            return None
        try:
            with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
                rows += [json.loads(line, parse_constant=_not_json) for line in f if line.strip()]
        except (OSError, EOFError, ValueError):
            return None
    first = _shape(rows[0]) if rows else None
    return rows if first is not None and all(_shape(row) == first for row in rows) else None


def _shape(row: Any) -> dict[str, type] | None:
    """The type of each column, `list` for one of texts; None where there is another, or one that might be taken for
    another."""
    if not isinstance(row, dict):
        return None
    for value in row.values():
        texts = value if type(value) is list else [value]
        if value is not texts and type(value) not in PLAIN:
            return None
        if value is texts and any(type(text) is not str for text in texts):
            return None
        if any(type(text) is str and (LIKE_A_TIME.match(text) or "\0" in text) for text in texts):
            return None
        if type(value) is int and not -INT64 <= value < INT64:
            return None
    return {name: type(value) for name, value in row.items()}


def _not_json(word: str) -> Any:
    raise ValueError(word)
