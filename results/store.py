"""The store: where runs are kept, a record at a time, and read from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from core.errors import RunMismatch, UnknownName, UsageError
from core.types import Completion, Prompt, PromptStyle, Rating, Reported, RunSpec, Sample, SampleKey
from results import database, sql
from results.records import (
    ProblemRecord,
    RunRecord,
    RunStatus,
    SuiteRecord,
    encode,
    from_record,
    prompt_hash,
    to_record,
)

if TYPE_CHECKING:
    from sqlite_utils import Database


_Place = tuple[int, int, int]
"""A sample's row: its problem's id, its index, its turn."""


@dataclass(frozen=True, slots=True)
class _Answer:
    prompt: Prompt
    completion: Completion


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run in a listing."""

    run_id: str
    status: RunStatus
    started_at: str
    model: str
    suites: tuple[str, ...]
    n_samples: int
    """Stored so far; several turns count as one."""


@dataclass(frozen=True, slots=True)
class Experience:
    """What completions have taken so far, on average; None: nobody counted."""

    completions: int
    input_tokens: float | None
    output_tokens: float | None
    total_s: float | None


class Store:
    """Runs in a SQLite file. Used from one thread.

    Every write is committed before its method returns. Each method raises StorageError where the file cannot be read
    or written, and UnknownName for a run that it does not have.
    """

    def __init__(self, db: Database, path: Path) -> None:
        """Use `Store.open`."""
        self.path = path
        self._db, self._execute = db, db.conn.execute
        self._problems: dict[str, dict[tuple[str, str], tuple[int, int, int]]] = {}

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the store at a path or `sqlite:///` URL, made where there is none.

        Raises UsageError (another kind of database, or a newer version's), BadData (not one of Touchstone's).
        """
        path = database.path_of(url)
        return cls(database.connect(path), path)

    def close(self) -> None:
        """Close the file. Nothing is pending: every write is committed."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ── writing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def writing(self, run_id: str) -> AbstractContextManager[None]:
        """Hold the only right to write a run, against other processes too.

        Raises UsageError where another holds it. A process that dies holds it no longer.
        """
        return database.writing(self.path, run_id)

    def begin(self, run: RunRecord) -> None:
        """Enter a new run. Raises UsageError where its id is taken, or two of its suites have one name."""
        names = [suite.name for suite in run.suites]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"two suites of one run are named '{twice}': choose one by --harness, or make two runs")
        with self._transaction(run.run_id) as execute:
            if execute("SELECT 1 FROM runs WHERE run_id = ?", (run.run_id,)).fetchone():
                raise UsageError(f"run '{run.run_id}' exists already: go on with --resume {run.run_id}")
            record = to_record(run)
            row = run.run_id, run.group_id, encode(record["spec"]), encode(record["manifest"]), run.started_at
            execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, run.status, run.wall_s, run.ended_at))
            for suite in run.suites:
                head = run.run_id, suite.harness, suite.name, suite.version, suite.data_hash, suite.style
                row_id = execute("INSERT INTO suites VALUES (NULL, ?, ?, ?, ?, ?, ?)", head).lastrowid
                for problem in suite.problems:
                    asked = row_id, problem.task_id, problem.n_samples, problem.turns
                    execute("INSERT INTO problems VALUES (NULL, ?, ?, ?, ?)", asked)

    def save_completion(self, run_id: str, key: SampleKey, prompt: Prompt, completion: Completion) -> None:
        """Keep a completion, before anything else happens to it.

        Raises UsageError where the run is closed, ValueError where the key has a completion or is none of the run's.
        """
        place = self._place(run_id, key)
        with self._transaction(run_id) as execute:
            if self._completion(place) is not None:
                raise ValueError(f"{key} has a completion")
            digest = self._keep_prompt(prompt)
            execute("INSERT INTO completions VALUES (?, ?, ?, ?, ?)", (*place, digest, encode(to_record(completion))))

    def append(self, run_id: str, sample: Sample) -> None:
        """Keep a judged sample, and its completion where that is not kept yet. It takes the place of an ungraded one.

        Raises UsageError where the run is closed; ValueError where the key has a graded sample or another completion
        than the sample's, or is none of the run's.
        """
        place = self._place(run_id, sample.key)
        record = to_record(sample)
        del record["key"], record["prompt"]
        completion = record.pop("completion")
        body = None if completion is None else encode(completion)
        with self._transaction(run_id) as execute:
            digest = self._keep_prompt(sample.prompt)
            kept = self._completion(place)
            if kept is None and body is not None:
                execute("INSERT INTO completions VALUES (?, ?, ?, ?, ?)", (*place, digest, body))
            elif kept != body:
                raise ValueError(f"{sample.key} has another completion than the one that was judged")
            if (lost := execute(sql.LOST, place).fetchone()) is not None:
                record["tries"] += json.loads(lost[0])["tries"]
            if not execute(sql.APPEND, (*place, sample.verdict.status.value, digest, encode(record))).rowcount:
                raise ValueError(f"{sample.key} has a graded sample")

    def report(self, run_id: str, reported: Sequence[Reported]) -> None:
        """Keep what a harness reports of a run's suites and groups, in place of what it reported before.

        Raises UsageError where the run is closed.
        """
        if run_id not in self._ids():
            raise self._unknown(run_id)
        with self._transaction(run_id) as execute:
            for each in reported:
                execute(sql.REPORT, (run_id, each.harness, each.name, encode(to_record(each))))

    def rate(self, run_id: str, ratings: Sequence[Rating]) -> None:
        """Keep what samples are rated, in place of what they were before.

        Raises UsageError where the run is closed, ValueError for a key that is none of the run's.
        """
        rows = [(*self._place(run_id, rating.key), to_record(rating)) for rating in ratings]
        with self._transaction(run_id) as execute:
            for *place, record in rows:
                del record["key"]
                execute("INSERT OR REPLACE INTO ratings VALUES (?, ?, ?, ?)", (*place, encode(record)))

    def finish(self, run_id: str, status: RunStatus, wall_s: float) -> None:
        """End a session of `wall_s` seconds, which are added to the run's. `complete` closes the run for good.

        Raises UsageError where the run is closed, ValueError for `complete` while a sample is missing or ungraded.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._transaction(run_id) as execute:
            if status == "complete":
                graded, expected = execute(sql.GRADED_OF_EXPECTED, {"run": run_id}).fetchone()
                if graded != expected:
                    raise ValueError(f"run '{run_id}' has {graded} graded of {expected} samples: it is not complete")
            if not execute(sql.FINISH, (status, wall_s, now, run_id)).rowcount:
                raise self._unknown(run_id)

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def runs(self) -> list[RunSummary]:
        """All runs, the newest first."""
        with database.faults(self.path):
            counts = dict(self._execute(sql.COUNTS))
            names: dict[str, list[str]] = {}
            for run_id, name in self._execute("SELECT run_id, name FROM suites ORDER BY id"):
                names.setdefault(run_id, []).append(name)
            return [
                RunSummary(run_id, status, started_at, model, tuple(names.get(run_id, ())), counts.get(run_id, 0))
                for run_id, status, started_at, model in self._execute(sql.LISTING)
            ]

    def run(self, run_id: str) -> RunRecord:
        """The run of an id, of its unmistakable beginning, or "latest".

        Raises UnknownName with the closest ids, UsageError where several begin so.
        """
        with database.faults(self.path):
            run_id = self._resolved(run_id)
            group_id, spec, manifest, started_at, status, wall_s, ended_at = self._execute(
                sql.RUN, (run_id,)
            ).fetchone()
            suites = tuple(self._suites(run_id))
        return RunRecord(
            run_id,
            group_id,
            from_record(RunSpec, json.loads(spec), f"run {run_id}"),
            json.loads(manifest),
            started_at,
            suites,
            status,
            wall_s,
            ended_at,
        )

    def completion(self, run_id: str, key: SampleKey, prompt: Prompt | None = None) -> Completion | None:
        """The completion kept for a key. prompt: what it should be the answer to.

        Raises RunMismatch where it was the answer to another prompt, ValueError where the key is none of the run's.
        """
        with database.faults(self.path):
            row = self._execute(sql.COMPLETION, self._place(run_id, key)).fetchone()
        if row is None:
            return None
        body, digest = row
        if prompt is not None and prompt_hash(prompt) != digest:
            raise RunMismatch(
                f"run {run_id} cannot be resumed: '{key.suite}' puts problem {key.task_id} otherwise than when the run "
                "began: give it the data and the versions that it had, or leave --resume out for a new run"
            )
        return from_record(Completion, json.loads(body), f"run {run_id}")

    def answer(self, run_id: str, key: SampleKey) -> tuple[Prompt, Completion] | None:
        """The completion kept for a key, and the prompt that it answers. Raises ValueError as `completion` does."""
        with database.faults(self.path):
            row = self._execute(sql.ANSWER, self._place(run_id, key)).fetchone()
        if row is None:
            return None
        kept = from_record(_Answer, {"prompt": json.loads(row[0]), "completion": json.loads(row[1])}, f"run {run_id}")
        return kept.prompt, kept.completion

    def reported(self, run_id: str) -> list[Reported]:
        """What harnesses have reported of a run's suites and groups, in their order."""
        with database.faults(self.path):
            bodies = self._execute(sql.REPORTED, (run_id,)).fetchall()
        return [from_record(Reported, json.loads(body), f"run {run_id}") for [body] in bodies]

    def ratings(self, run_id: str, suite: str) -> Iterator[Rating]:
        """What the samples of a suite are rated, by problem, index, turn."""
        with database.faults(self.path):
            for (name, task_id), (problem, *_) in self._places(run_id).items():
                if name == suite:
                    for index, turn, body in self._execute(sql.RATINGS, (problem,)).fetchall():
                        key = {"suite": name, "task_id": task_id, "index": index, "turn": turn}
                        yield from_record(Rating, json.loads(body) | {"key": key}, f"run {run_id}")

    def experience(self, model: str, suite: str, style: PromptStyle) -> Experience:
        """What the completions of a model took on a suite in a style, over all runs; those from a cache left out."""
        with database.faults(self.path):
            return Experience(*self._execute(sql.EXPERIENCE, (suite, style, model)).fetchone())

    def graded(self, run_id: str, suite: str) -> set[SampleKey]:
        """The keys of a suite's graded samples."""
        with database.faults(self.path):
            tasks = {row[0]: task for (name, task), row in self._places(run_id).items() if name == suite}
            rows = self._execute(sql.GRADED, {"run": run_id, "suite": suite})
            return {SampleKey(suite, tasks[problem], index, turn) for problem, index, turn in rows}

    def samples(self, run_id: str, suite: str | None = None) -> Iterator[Sample]:
        """A run's samples, or those of one of its suites, one at a time: by suite, problem, index, turn.

        Suites and problems come in the order of the run, whatever the order in which the samples arrived.
        """
        with database.faults(self.path):
            digest, prompt = "", None
            for (name, task_id), (problem, *_) in self._places(run_id).items():
                if suite not in (None, name):
                    continue
                for index, turn, hashed, prompt_body, completion, body in self._execute(sql.SAMPLES, (problem,)):
                    if hashed != digest:  # a problem's samples mostly share their prompt
                        digest, prompt = hashed, json.loads(prompt_body)
                    record = json.loads(body) | {
                        "key": {"suite": name, "task_id": task_id, "index": index, "turn": turn},
                        "prompt": prompt,
                        "completion": None if completion is None else json.loads(completion),
                    }
                    yield from_record(Sample, record, f"run {run_id}")

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def _transaction(self, run_id: str) -> Iterator[Callable[..., sqlite3.Cursor]]:
        with database.faults(self.path):
            self._execute("BEGIN IMMEDIATE")
            try:
                yield self._execute
                self._execute("COMMIT")
            except BaseException as error:
                if self._db.conn.in_transaction:  # a full disk may have ended it already
                    self._execute("ROLLBACK")
                if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CONSTRAINT_TRIGGER:
                    raise UsageError(f"run '{run_id}' is complete and closed: start another one") from error
                raise

    def _suites(self, run_id: str) -> Iterator[SuiteRecord]:
        for row_id, harness, name, version, data_hash, style in self._execute(sql.SUITES, (run_id,)).fetchall():
            problems = tuple(ProblemRecord(*row) for row in self._execute(sql.PROBLEMS, (row_id,)))
            yield SuiteRecord(harness, name, version, data_hash, style, problems)

    def _keep_prompt(self, prompt: Prompt) -> str:
        body = encode(to_record(prompt))
        digest = prompt_hash(prompt)
        self._execute("INSERT OR IGNORE INTO prompts VALUES (?, ?)", (digest, body))
        return digest

    def _completion(self, place: _Place) -> str | None:
        row = self._execute(sql.COMPLETION, place).fetchone()
        return None if row is None else str(row[0])

    def _place(self, run_id: str, key: SampleKey) -> _Place:
        problem, n_samples, turns = self._places(run_id).get((key.suite, key.task_id), (0, 0, 0))
        if not (0 <= key.index < n_samples and 0 <= key.turn < turns):
            raise ValueError(f"{key} is none of run '{run_id}'")
        return problem, key.index, key.turn

    def _places(self, run_id: str) -> dict[tuple[str, str], tuple[int, int, int]]:
        """(suite, task id) → the problem's row, its number of samples, and of turns."""
        if run_id not in self._problems:
            with database.faults(self.path):
                rows = self._execute(sql.PLACES, (run_id,)).fetchall()
                if not rows and run_id not in self._ids():
                    raise self._unknown(run_id)
            self._problems[run_id] = {(suite, task_id): tuple(row) for suite, task_id, *row in rows}
        return self._problems[run_id]

    def _ids(self) -> list[str]:
        return [run_id for [run_id] in self._execute("SELECT run_id FROM runs ORDER BY started_at DESC, rowid DESC")]

    def _resolved(self, run_id: str) -> str:
        ids = self._ids()
        if run_id in ids:
            return run_id
        if run_id == "latest" and ids:
            return ids[0]
        fitting = [known for known in ids if run_id and known.startswith(run_id)]
        if not fitting:
            raise self._unknown(run_id)
        if len(fitting) > 1:
            raise UsageError(f"'{run_id}' begins several runs' ids: {', '.join(fitting[:5])}; give more of it")
        return fitting[0]

    def _unknown(self, run_id: str) -> UnknownName:
        return UnknownName("run", run_id, self._ids(), f"they are in {self.path}: touchstone runs list")
