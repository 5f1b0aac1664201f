"""The SQLite database under the store: where it is, its errors, and who may write.

A commit for each record costs no wait for the disk: with a write-ahead log and `synchronous=NORMAL`, what is committed
survives the death of any process, and a power cut costs the last moments at most (https://sqlite.org/wal.html).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import BadData, StorageError, TouchstoneError, UsageError
from core.imports import lean
from results import sql

if TYPE_CHECKING:
    from sqlite_utils import Database

BUSY_S = 30.0
"""How long a write waits for another process's."""


def path_of(url: str) -> Path:
    """The file that `--db` names: a path, or `sqlite:///` and a path. Raises UsageError for any other database."""
    scheme, separator, rest = url.partition("://")
    path = rest.removeprefix("/") if separator and scheme == "sqlite" else url
    if not path or (separator and scheme != "sqlite"):
        raise UsageError(f"--db {url}: this version keeps runs in SQLite: name a file, as in --db sqlite:///runs.db")
    return Path(path).expanduser().absolute()


def connect(path: Path, migrations: Mapping[str, str] = sql.MIGRATIONS, busy_s: float = BUSY_S) -> Database:
    """Open a database, made with its folders where there is none, its schema brought up to date.

    migrations: the steps of its schema, in order. busy_s: how long a write waits for another process's.

    Raises BadData for a file that is none of Touchstone's, UsageError for one of a newer version, StorageError.
    """
    with lean("numpy", "pandas"):
        from sqlite_utils import Database

    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        db = Database(sqlite3.connect(path, timeout=busy_s, isolation_level=None))
        try:
            _migrate(db, path, migrations)
            db.enable_wal()
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            db.close()
            raise
        return db


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """Raises what goes wrong with the database within as StorageError or BadData, with the mend."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if (explained := _explained(path, error)) is None:
            raise
        raise explained from error
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}; make its folder writable, or name another file: --db") from error


@contextmanager
def writing(path: Path, run_id: str) -> Iterator[None]:
    """Hold the only right to write a run, in a lock file beside the database that a dead process cannot keep.

    Raises UsageError where another holds it.
    """
    lock = path.with_name(f"{path.name}.{run_id}.lock")
    with faults(path):
        file = _locked(lock)
    if file is None:
        raise UsageError(f"run '{run_id}' is being written by another process: wait until it ends, or end it")
    try:
        yield
    finally:
        with suppress(OSError):
            lock.unlink()
        os.close(file)


def _locked(lock: Path) -> int | None:
    while True:
        file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its holder may have removed the file after it was opened here: then the lock keeps nobody out.
            if os.path.samestat(os.fstat(file), lock.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except FileNotFoundError:
            pass
        os.close(file)


def _migrate(db: Database, path: Path, steps: Mapping[str, str]) -> None:
    from sqlite_utils import Migrations

    migrations = Migrations("touchstone")
    for name, script in steps.items():
        migrations(name=name)(lambda db, script=script: db.executescript(script))
    tables = db.table_names()  # before what is applied, since another process may be making both
    applied = len(migrations.applied(db))
    if applied > len(steps):
        raise UsageError(
            f"{path}: its schema is version {applied}, this Touchstone knows {len(steps)}: "
            "pip install --upgrade touchstone, or name another file: --db"
        )
    if tables and not applied:
        raise BadData(str(path), "a SQLite database, but not one of Touchstone's; name another file: --db")
    if applied < len(steps):
        db.execute("BEGIN IMMEDIATE")
        try:
            migrations.apply(db)
        except BaseException:
            db.rollback()
            raise
        db.commit()


def _explained(path: Path, error: sqlite3.DatabaseError) -> TouchstoneError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte names the kind, the rest its variety
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return BadData(str(path), f"{error}; restore it from a copy, or name another file: --db")
    if code in _MENDS:
        return StorageError(f"{path}: {error}; {_MENDS[code]}")
    return None


_WRITABLE = "make the file and its folder writable, or name another file: --db"

_MENDS = {
    sqlite3.SQLITE_FULL: "make room on its disk, then go on with --resume",
    sqlite3.SQLITE_BUSY: "end the other process that is writing to it, then go on with --resume",
    sqlite3.SQLITE_IOERR: "see to its disk, then go on with --resume",
    **dict.fromkeys((sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY), _WRITABLE),
}
"""What the environment can do to a database → what mends it. Any other error is the program's own."""
