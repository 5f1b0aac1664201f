"""The store's schema and its statements.

A sample's row is named by its problem's row, its index and its turn; suites and problems are numbered in the run's
order, so that this key sorts samples as a reader wants them.
"""

from __future__ import annotations

from core.types import Status

_TABLES = """
CREATE TABLE runs (
  run_id TEXT PRIMARY KEY, group_id TEXT NOT NULL, spec TEXT NOT NULL, manifest TEXT NOT NULL,
  started_at TEXT NOT NULL, status TEXT NOT NULL, wall_s REAL NOT NULL, ended_at TEXT
);
CREATE TABLE suites (
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, harness TEXT NOT NULL, name TEXT NOT NULL,
  version TEXT NOT NULL, data_hash TEXT NOT NULL, style TEXT NOT NULL, UNIQUE (run_id, name)
);
CREATE TABLE problems (
  id INTEGER PRIMARY KEY, suite INTEGER NOT NULL REFERENCES suites, task_id TEXT NOT NULL,
  n_samples INTEGER NOT NULL, turns INTEGER NOT NULL, UNIQUE (suite, task_id)
);
CREATE TABLE prompts (hash TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE completions (
  problem INTEGER NOT NULL REFERENCES problems, "index" INTEGER NOT NULL, turn INTEGER NOT NULL,
  prompt_hash TEXT NOT NULL REFERENCES prompts, body TEXT NOT NULL, PRIMARY KEY (problem, "index", turn)
);
CREATE TABLE samples (
  problem INTEGER NOT NULL REFERENCES problems, "index" INTEGER NOT NULL, turn INTEGER NOT NULL,
  status TEXT NOT NULL, prompt_hash TEXT NOT NULL REFERENCES prompts, body TEXT NOT NULL,
  PRIMARY KEY (problem, "index", turn)
);
"""

_BY_PROBLEM = """
SELECT status FROM problems JOIN suites ON suites.id = suite JOIN runs USING (run_id) WHERE problems.id = {}.problem
"""

_RUN_STATUS = {
    "runs": "{}.status",
    "suites": "SELECT status FROM runs WHERE run_id = {}.run_id",
    "problems": "SELECT status FROM suites JOIN runs USING (run_id) WHERE suites.id = {}.suite",
    "completions": _BY_PROBLEM,
    "samples": _BY_PROBLEM,
    "reported": "SELECT status FROM runs WHERE run_id = {}.run_id",
    "ratings": _BY_PROBLEM,
}
"""Table → the status of the run that a row of it belongs to."""


def _immutable(table: str, event: str, row: str) -> str:
    status = _RUN_STATUS[table].format(row)
    return (
        f"CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} WHEN 'complete' = ({status}) "
        "BEGIN SELECT RAISE(ABORT, 'the run is closed'); END;\n"
    )


def _closed(*tables: str) -> str:
    """Nothing of a run that is complete changes any more."""
    changes = [_immutable(table, event, "OLD") for table in tables for event in ("UPDATE", "DELETE")]
    return "".join(changes + [_immutable(table, "INSERT", "NEW") for table in tables if table != "runs"])


_REPORTED = """
CREATE TABLE reported (
  id INTEGER PRIMARY KEY, run_id TEXT NOT NULL REFERENCES runs, harness TEXT NOT NULL, name TEXT NOT NULL,
  body TEXT NOT NULL, UNIQUE (run_id, harness, name)
);
"""

_RATINGS = """
CREATE TABLE ratings (
  problem INTEGER NOT NULL REFERENCES problems, "index" INTEGER NOT NULL, turn INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (problem, "index", turn)
);
"""

MIGRATIONS = {
    "0001_runs": _TABLES + _closed("runs", "suites", "problems", "completions", "samples"),
    "0002_reported": _REPORTED + _closed("reported"),
    "0003_ratings": _RATINGS + _closed("ratings"),
}
"""The schema, a step each; what is released is never edited, only added to. Its version is the number of steps."""

RATINGS = 'SELECT "index", turn, body FROM ratings WHERE problem = ? ORDER BY "index", turn'

UNGRADED = ", ".join(f"'{status}'" for status in Status if not status.graded)

GOES_ON = ", ".join(f"'{status}'" for status in Status if status.goes_on)

OF_RUN = "JOIN problems ON problems.id = problem JOIN suites ON suites.id = suite WHERE run_id = :run"

APPEND = f"""
INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (problem, "index", turn) DO UPDATE
SET status = excluded.status, prompt_hash = excluded.prompt_hash, body = excluded.body
WHERE status IN ({UNGRADED})
"""

FINISH = "UPDATE runs SET status = ?, wall_s = wall_s + ?, ended_at = ? WHERE run_id = ?"

# A sample is graded when each of its turns is, and they are all there or one of them has ended it.
GRADED_OF_EXPECTED = f"""
SELECT
  (SELECT count(*) FROM (
    SELECT 1 FROM samples {OF_RUN} GROUP BY problem, "index"
    HAVING sum(status IN ({UNGRADED})) = 0 AND (count(*) = turns OR sum(status NOT IN ({GOES_ON})) > 0)
  )),
  (SELECT coalesce(sum(n_samples), 0) FROM problems JOIN suites ON suites.id = suite WHERE run_id = :run)
"""

LISTING = (
    "SELECT run_id, status, started_at, json_extract(spec, '$.model') FROM runs ORDER BY started_at DESC, rowid DESC"
)

COUNTS = """
SELECT run_id, count(*) FROM samples JOIN problems ON problems.id = problem JOIN suites ON suites.id = suite
WHERE turn = 0 GROUP BY run_id
"""

RUN = "SELECT group_id, spec, manifest, started_at, status, wall_s, ended_at FROM runs WHERE run_id = ?"

SUITES = "SELECT id, harness, name, version, data_hash, style FROM suites WHERE run_id = ? ORDER BY id"

PROBLEMS = "SELECT task_id, n_samples, turns FROM problems WHERE suite = ? ORDER BY id"

PLACES = """
SELECT name, task_id, problems.id, n_samples, turns FROM problems JOIN suites ON suites.id = suite
WHERE run_id = ? ORDER BY problems.id
"""

COMPLETION = 'SELECT body, prompt_hash FROM completions WHERE problem = ? AND "index" = ? AND turn = ?'

ANSWER = """
SELECT prompts.body, completions.body FROM completions JOIN prompts ON hash = prompt_hash
WHERE problem = ? AND "index" = ? AND turn = ?
"""

REPORT = """
INSERT INTO reported (run_id, harness, name, body) VALUES (?, ?, ?, ?)
ON CONFLICT (run_id, harness, name) DO UPDATE SET body = excluded.body
"""

REPORTED = "SELECT body FROM reported WHERE run_id = ? ORDER BY id"

LOST = f"""
SELECT body FROM samples WHERE problem = ? AND "index" = ? AND turn = ? AND status = '{Status.GENERATION_ERROR}'
"""

GRADED = f"""
SELECT problem, "index", turn FROM samples {OF_RUN} AND name = :suite AND status NOT IN ({UNGRADED})
"""

SAMPLES = """
SELECT "index", turn, hash, prompts.body, completions.body, samples.body
FROM samples
JOIN prompts ON hash = samples.prompt_hash
LEFT JOIN completions USING (problem, "index", turn)
WHERE problem = ? ORDER BY "index", turn
"""

EXPERIENCE = """
SELECT
  count(*), avg(json_extract(body, '$.input_tokens')), avg(json_extract(body, '$.output_tokens')),
  avg(json_extract(body, '$.total_s'))
FROM completions
JOIN problems ON problems.id = problem JOIN suites ON suites.id = suite JOIN runs USING (run_id)
WHERE name = ? AND style = ? AND json_extract(spec, '$.model') = ? AND NOT coalesce(json_extract(body, '$.cached'), 0)
"""
