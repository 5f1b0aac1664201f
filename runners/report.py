"""`touchstone report`: a stored run, rendered again."""

from __future__ import annotations

from pathlib import Path

import click

from runners.launch import launch, say


@click.command()
@click.argument("run", default="latest")
@click.option("--template", default="report", show_default=True, metavar="NAME", help="The form: report or summary.")
@click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Left out: standard output.")
@click.option("--dump-samples", type=click.Path(path_type=Path), metavar="FILE", help="A line of JSON a sample, too.")
@click.option("--db", metavar="URL", help="Where runs are kept.  [default: results/data/touchstone.db]")
def report(run: str, template: str, output: Path | None, dump_samples: Path | None, db: str | None) -> None:
    """A stored run's report in Markdown. RUN is its id, the beginning of it, or "latest"."""
    from results.report import render
    from results.store import Store
    from runners.output import dimensions, dumped, groups, scored, to_file
    from runners.settings import database

    with Store.open(database(db)) as store:
        record = store.run(run)
        samples = store.samples(record.run_id)
        of_groups, measured = groups(store, record), dimensions(store, record)
        text = render(record, scored(store, record), samples, template, of_groups, measured)
        if dump_samples is not None:
            to_file(dump_samples, dumped(store, [record]))
    if output is None:
        print(text, end="")
    else:
        to_file(output, [text])
        say(f"report: {output}")


if __name__ == "__main__":
    launch(report, "python -m runners.report")
