"""`touchstone tasks`: what there is to be evaluated on."""

from __future__ import annotations

import json
from collections.abc import Iterator
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
    from results.markdown import table

    rows = [
        {
            "harness": suite.harness,
            "suite": suite.name,
            "task_id": problem.task_id,
            "tier": problem.tier,
            "category": problem.category,
            "tags": list(problem.tags),
            "turns": len(problem.turns),
            "tests": sum(len(turn.tests.cases) + len(turn.tests.calls) for turn in problem.turns),
        }
        for suite in _suites(harnesses, pattern)
        for problem in suite.problems
    ]
    if as_json:
        print(json.dumps(rows))
    else:
        names = ("harness", "suite", "task_id", "category", "turns", "tests")
        cells = [[str(row[name] if row[name] is not None else "") for name in names] for row in rows]
        print(table(names, cells, "llllrr"))


@tasks.command()
@click.argument("task")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(task: str, as_json: bool) -> None:
    """One task: SUITE/NAME as `list` shows it, such as easy/redact-fields or HumanEval/0."""
    from core.errors import UnknownName
    from results.records import to_record

    found: dict[str, Problem] = {problem.task_id: problem for suite in _suites((), "*") for problem in suite.problems}
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
