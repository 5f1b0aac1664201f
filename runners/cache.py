"""`touchstone cache`: the answers that are kept across runs."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from runners.launch import launch, say

_db = click.option("--db", metavar="URL", help="Beside which runs it is.  [default: results/data/touchstone.db]")
_json = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def cache() -> None:
    """The answers that are kept across runs, in cache.db beside the runs."""


@cache.command()
@_db
@_json
def stats(db: str | None, as_json: bool) -> None:
    """How many answers there are, of which models."""
    from results.cache import Cache
    from results.markdown import code, table

    with Cache.open(_path(db)) as kept:
        found = kept.stats()
    if as_json:
        print(json.dumps(asdict(found)))
        return
    say(f"{found.path}: {found.answers:,} answers, {found.size_bytes:,} bytes")
    if found.answers:
        print(table(("model", "answers"), [(code(model), f"{n:,}") for model, n in found.models.items()], "lr"))
        print(f"\nkept from {found.oldest} to {found.newest}")


@cache.command()
@click.option("--model", "-m", metavar="PROVIDER/NAME", help="Only those of one model.")
@_db
def clear(model: str | None, db: str | None) -> None:
    """Remove the answers: the next runs ask again. Runs keep theirs."""
    from core.errors import UnknownName
    from results.cache import Cache

    with Cache.open(_path(db)) as kept:
        there = kept.stats().models
        if model is not None and model not in there:
            raise UnknownName("model in the cache", model, there)
        say(f"removed {kept.clear(model):,} answers from {kept.path}")


def _path(db: str | None) -> Path:
    from results.cache import path_beside
    from results.database import path_of
    from runners.settings import database

    return path_beside(path_of(database(db)))


if __name__ == "__main__":
    launch(cache, "python -m runners.cache")
