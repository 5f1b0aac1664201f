"""The response cache: answers that were had before, across runs, in a SQLite file beside the runs' own.

An answer is found again by everything that decides it: the provider and its address, the model and its revision, the
parameters as they are sent, the prompt, and the sample's index. Failures and declined answers are never kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from core.types import Completion, Prompt
from results import database
from results.records import encode, from_record, to_record

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATIONS = {
    "0001_answers": """
CREATE TABLE answers (
  key TEXT PRIMARY KEY, model TEXT NOT NULL, kept_at TEXT NOT NULL, body TEXT NOT NULL
) WITHOUT ROWID;
"""
}
BUSY_S = 2.0
"""How long another process's write is waited for: a run does without, rather than stand still."""
KEPT = ("stop", "length")
"""The finish reasons of answers that are kept."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache holds."""

    path: str
    answers: int
    size_bytes: int
    """The file's."""
    models: Mapping[str, int]
    """PROVIDER/NAME → answers."""
    oldest: str | None = None
    """ISO 8601, in UTC."""
    newest: str | None = None


def path_beside(db: Path) -> Path:
    """Where the cache of the runs kept in `db` is."""
    return db.with_name(f"{db.stem}.cache.db")


def key_of(
    provider: str,
    url: str,
    name: str,
    revision: str | None,
    parameters: Mapping[str, Any],
    prompt: Prompt,
    index: int,
    *asked: Any,
) -> str:
    """SHA-256 of everything that decides an answer, in hexadecimal. asked: what does so without being sent."""
    decides = [provider, url, name, revision, to_record(parameters), to_record(prompt), index, to_record(asked)]
    return hashlib.sha256(encode(decides).encode()).hexdigest()


class Cache:
    """Answers by key. Used from one thread; several processes may use one file.

    Each method raises StorageError where the file cannot be read or written, and BadData where it is none.
    """

    def __init__(self, db: Database, path: Path) -> None:
        """Use `Cache.open`."""
        self.path = path
        self._db = db

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the cache in a file, made where there is none."""
        return cls(database.connect(path, MIGRATIONS, busy_s=BUSY_S), path)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, key: str) -> Completion | None:
        """The answer that was kept, marked as such: it costs this run no request and no money."""
        with database.faults(self.path):
            row = self._db.conn.execute("SELECT body FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        kept = from_record(Completion, json.loads(row[0]), str(self.path))
        return replace(kept, cached=True, tries=0, cost_usd=0.0)

    def put(self, key: str, model: str, completion: Completion) -> None:
        """Keep an answer, unless it is none, was declined, or there is one already. model: PROVIDER/NAME."""
        if completion.finish_reason not in KEPT or not completion.answer.strip():
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with database.faults(self.path):
            self._db.conn.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)", (key, model, now, encode(to_record(completion)))
            )

    def stats(self) -> CacheStats:
        """What there is."""
        with database.faults(self.path):
            models = dict(self._db.conn.execute("SELECT model, count(*) FROM answers GROUP BY model ORDER BY model"))
            oldest, newest = self._db.conn.execute("SELECT min(kept_at), max(kept_at) FROM answers").fetchone()
            size = self.path.stat().st_size
        return CacheStats(str(self.path), sum(models.values()), size, models, oldest, newest)

    def clear(self, model: str | None = None) -> int:
        """Remove all answers, or those of one model; how many they were."""
        with database.faults(self.path):
            removed = self._db.conn.execute("DELETE FROM answers WHERE ? IN (model, '')", (model or "",)).rowcount
            self._db.conn.execute("VACUUM")
        return removed
