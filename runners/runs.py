"""`touchstone runs`: what is stored."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from runners.launch import launch

_db = click.option("--db", metavar="URL", help="Where runs are kept.  [default: results/data/touchstone.db]")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def runs() -> None:
    """The runs that are stored."""


@runs.command("list")
@_db
@_json
def list_runs(db: str | None, as_json: bool) -> None:
    """All runs, the newest first."""
    from results.markdown import table
    from results.store import Store
    from runners.settings import database

    with Store.open(database(db)) as store:
        found = store.runs()
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
    elif found:
        rows = [
            (each.run_id, each.status, each.started_at, each.model, ", ".join(each.suites), f"{each.n_samples:,}")
            for each in found
        ]
        print(table(("run", "status", "started", "model", "suites", "samples"), rows, "lllllr"))
    else:
        print("no runs yet: `touchstone run` makes one")


@runs.command()
@click.argument("run")
@_db
@_json
def show(run: str, db: str | None, as_json: bool) -> None:
    """A run's scores. RUN is its id, the beginning of it, or "latest"."""
    from results.document import document
    from results.report import render
    from results.store import Store
    from runners.output import dimensions, groups, scored
    from runners.settings import database

    with Store.open(database(db)) as store:
        record = store.run(run)
        scores, of_groups, measured = scored(store, record), groups(store, record), dimensions(store, record)
    if as_json:
        print(json.dumps(document(record, scores, of_groups, measured), allow_nan=False))
    else:
        print(render(record, scores, (), "summary", of_groups, measured))


if __name__ == "__main__":
    launch(runs, "python -m runners.runs")
