"""`touchstone tasks`: what there is to be evaluated on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from runners.launch import launch
from runners.validate_task import validate

if TYPE_CHECKING:
    from core.types import Problem, Suite


@click.group()
def tasks() -> None:
    """The tasks that there are."""


tasks.add_command(validate)


@tasks.command("list")
@click.argument("pattern", default="*")
@click.option("--harness", "harnesses", multiple=True, metavar="NAME", help="Of this harness. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_tasks(pattern: str, harnesses: tuple[str, ...], as_json: bool) -> None:
    """The tasks of the suites that PATTERN names (a name, or one with * and ?)."""
    import adapters
    from adapters.base import Driven
    from core.errors import UnknownName, UsageError
    from results.markdown import table

    chosen = harnesses or adapters.registry.names()
    driven = [name for name in chosen if issubclass(adapters.registry.get(name), Driven)]
    rows: list[Mapping[str, Any]] = []
    fault: UsageError | None = None
    if len(driven) < len(chosen):
        try:
            rows += _problems(tuple(name for name in chosen if name not in driven), pattern)
        except UnknownName as error:
            fault = error
    for name in driven:
        # All of a harness's thousands are shown where that harness is asked for.
        if harnesses or pattern != "*":
            try:
                rows += adapters.registry.get(name)().listing(pattern)
            except UsageError as error:
                fault = fault or error
    if fault is not None and not rows:
        raise fault
    if as_json:
        print(json.dumps(rows))
        return
    for keys in dict.fromkeys(tuple(row) for row in rows):
        names = [key for key in keys if key not in ("tier", "tags", "category")]
        cells = [[_cell(row[name]) for name in names] for row in rows if tuple(row) == keys]
        print(table(names, cells, "".join("r" if name in COUNTS else "l" for name in names)))


COUNTS = ("difficulty", "turns", "tests", "of")


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _problems(harnesses: tuple[str, ...], pattern: str) -> list[Mapping[str, Any]]:
    """The problems of suites, a row each."""
    from runners.gate import difficulty

    return [
        {
            "harness": suite.harness,
            "suite": suite.name,
            "task_id": problem.task_id,
            "tier": problem.tier,
            "category": problem.category,
            "dimensions": list(problem.dimensions),
            "difficulty": difficulty(problem) if problem.tier else None,
            "tags": list(problem.tags),
            "turns": len(problem.turns),
            "tests": sum(len(turn.tests.cases) + len(turn.tests.calls) for turn in problem.turns),
        }
        for suite in _suites(harnesses, pattern)
        for problem in suite.problems
    ]


@tasks.command()
@click.argument("task")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(task: str, as_json: bool) -> None:
    """One task: SUITE/NAME as `list` shows it, such as easy/redact-fields or HumanEval/0."""
    from core.errors import UnknownName
    from results.records import to_record

    found: dict[str, Problem] = {
        problem.task_id: problem for suite in _suites(("native",), "*") for problem in suite.problems
    }
    if task not in found:
        raise UnknownName("task", task, found, "`touchstone tasks list` shows them all")
    problem = found[task]
    if as_json:
        print(json.dumps(to_record(problem), default=repr))
    else:
        print("\n".join(_lines(problem)))


def _suites(harnesses: tuple[str, ...], pattern: str) -> Iterator[Suite]:
    import adapters
    from runners.settings import resolve

    made: dict[str, Any] = {}
    for reference in resolve(harnesses, (pattern,)):
        adapter = made.setdefault(reference.harness, adapters.registry.get(reference.harness)())
        yield adapter.suite(reference.name, {})


def _lines(problem: Problem) -> Iterator[str]:
    """A task for a person to read."""
    yield f"# {problem.task_id}"
    yield f"entry point {problem.entry_point}, {problem.category or 'no category'}"
    for number, turn in enumerate(problem.turns):
        yield f"\n## turn {number}\n\n{turn.prompt.rstrip()}\n\n### tests\n"
        for case in turn.tests.cases:
            yield f"{case.call}  ->  {'raises ' + case.raises if case.raises else repr(case.output)}"
        if turn.tests.source:
            yield turn.tests.source.rstrip()
        yield f"\n### reference\n\n{turn.reference.rstrip()}"
        for wrong in turn.wrong:
            yield f"\n### wrong: {wrong.why}\n\n{wrong.code.rstrip()}"


if __name__ == "__main__":
    launch(tasks, "python -m runners.tasks")
