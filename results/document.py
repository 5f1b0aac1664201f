"""The `--json` document, `touchstone.run/1`. Its schema is `results/schemas/run.schema.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.types import Reported, Score
from results.ratings import Dimension
from results.records import RunRecord, to_record

SCHEMA = "touchstone.run/1"


def document(
    run: RunRecord,
    scores: Sequence[Score],
    groups: Sequence[Reported] = (),
    dimensions: Mapping[str, Dimension] | None = None,
) -> dict[str, Any]:
    """A run's results as JSON values. Values of our metrics are fractions of 1, and null where they are undefined.

    A figure that a harness reports is among its suite's `metrics` under its own name, on its own scale. groups: what
    harnesses report of several suites together. dimensions: the figures by what tasks measure.

    `n_samples` less the sum of the ledger is the number of samples that are still missing. `timing.wall_s` is the whole
    run's, over all its sessions.
    """
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "group_id": run.group_id,
        "status": run.status,
        "results": [_result(run, score) for score in scores],
        "groups": to_record(tuple(groups)),
        "dimensions": {
            name: {"n_problems": found.n_problems, "pass@1": found.pass_at_1, "ratings": to_record(found.ratings)}
            for name, found in (dimensions or {}).items()
        },
        "manifest": to_record(run.manifest),
    }


def _result(run: RunRecord, score: Score) -> dict[str, Any]:
    record: dict[str, Any] = to_record(score)
    if score.reported is not None:  # but for its figures, which stand among the others
        record["reported"] = {name: record["reported"][name] for name in ("higher_is_better", "details")}
    record["timing"] = {"wall_s": run.wall_s, **record["timing"]}
    return record
