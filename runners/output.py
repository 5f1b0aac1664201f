"""What an invocation writes when its runs have ended: results, reports, samples."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from core.errors import StorageError
from core.types import Reported, Score
from results.ratings import Dimension
from results.records import RunRecord
from results.store import Store
from runners.launch import say
from runners.settings import Options


def write(options: Options, store: Store, records: Sequence[RunRecord]) -> None:
    """Results to standard output, then reports and samples to their files. Neither goes without for the other."""
    from results.document import document
    from results.report import render

    found = [(record, scored(store, record), groups(store, record), dimensions(store, record)) for record in records]
    try:
        for record, scores, of_groups, measured in found:
            if options.as_json:
                print(json.dumps(document(record, scores, of_groups, measured), allow_nan=False))
            else:
                print(render(record, scores, (), "summary", of_groups, measured))
        sys.stdout.flush()
    finally:
        for record, scores, of_groups, measured in found:
            path = Path(options.report) if options.report else store.path.parent / "reports" / f"{record.run_id}.md"
            to_file(path, [render(record, scores, store.samples(record.run_id), "report", of_groups, measured)])
            say(f"report: {path}")
        if options.dump_samples is not None:
            to_file(Path(options.dump_samples), dumped(store, records))


def scored(store: Store, record: RunRecord) -> list[Score]:
    """The scores of a run as it is stored: one for each suite."""
    from results.metrics import score

    reported = {(each.harness, each.name): each for each in store.reported(record.run_id) if not each.group}
    return [
        score(
            suite,
            record.spec.model,
            store.samples(record.run_id, suite.name),
            record.spec.k,
            reported.get((suite.harness, suite.name)),
            store.ratings(record.run_id, suite.name),
        )
        for suite in record.suites
    ]


def groups(store: Store, record: RunRecord) -> list[Reported]:
    """What harnesses report of groups of a run's suites."""
    return [each for each in store.reported(record.run_id) if each.group]


def dimensions(store: Store, record: RunRecord) -> dict[str, Dimension]:
    """A run's figures by what its tasks measure."""
    from results.ratings import by_dimension

    return by_dimension(rating for suite in record.suites for rating in store.ratings(record.run_id, suite.name))


def dumped(store: Store, records: Sequence[RunRecord]) -> Iterable[str]:
    """A line of JSON for each sample of the runs."""
    from results.records import sample_line

    for record in records:
        for sample in store.samples(record.run_id):
            yield json.dumps(sample_line(record, sample), allow_nan=False) + "\n"


def to_file(path: Path, texts: Iterable[str]) -> None:
    """Write a text file, and its folder where that is missing. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.writelines(texts)
    except OSError as error:
        raise StorageError(f"{path} cannot be written ({error.strerror}): name another place") from error
