"""`touchstone tasks validate`: see that task files are well formed, and that their tests tell right from wrong."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from core.errors import BadData, UsageError
from runners.launch import launch, say

if TYPE_CHECKING:
    from runners.gate import Health, Task

ALIKE = 0.25
"""From which share of common runs of words on two prompts are reported."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a task."""

    task: str
    message: str


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="The tasks that come with Touchstone, mutants included.")
@click.option("--mutants", is_flag=True, help="Try mutants of the references too, and name those that survive.")
@click.option("--against", multiple=True, type=click.Path(path_type=Path), metavar="FILE", help="Prompts to be unlike.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def validate(paths: Sequence[Path], every: bool, mutants: bool, against: Sequence[Path], as_json: bool) -> int:
    """Check task files, and folders of them: their form; that in the sandbox the reference passes, five times of five,
    and each wrong solution fails what it says; with --mutants, that the tests notice small faults in the reference.
    Near-duplicates, of each other, of HumanEval, and of the prompts in each FILE (JSON lines with `prompt` or `text`),
    are reported. Ends with 2 where something is wrong."""
    from adapters import taskfile
    from adapters.native import TASKS
    from runners.gate import KILLED, Task

    files = list(_files([*paths, *([TASKS] if every else [])]))
    tasks: list[Task] = []
    faults: list[Fault] = []
    for file in files:
        found: list[BadData] = taskfile.check(file)
        faults += [Fault(str(file), str(fault)) for fault in found]
        if not found:
            tasks.append(Task(file, taskfile.load(file), taskfile.metadata(file)))
    faults += _canaries(tasks)
    health = asyncio.run(_judge(tasks, every or mutants, every and not mutants)) if tasks else []
    for task, of_one in zip(tasks, health, strict=True):
        faults += [Fault(str(task.file), f"{task.file}: {fault}") for fault in of_one.faults]
    tiers = _killed(tasks, health)
    for tier, told in tiers.items():
        if told["mutants"] and told["killed"] < KILLED * told["mutants"]:
            faults.append(Fault(tier, f"{tier}: {_share(told)} of the mutants are killed, at least {KILLED:.0%}"))
    pairs = _alike(tasks, against)
    _write(files, tasks, health, faults, tiers, pairs, as_json)
    return 2 if faults else 0


def _write(
    files: Sequence[Path],
    tasks: Sequence[Task],
    health: Sequence[Health],
    faults: Sequence[Fault],
    tiers: Mapping[str, Mapping[str, int]],
    pairs: Sequence[tuple[str, str, float]],
    as_json: bool,
) -> None:
    survivors = {str(task.file): each.survivors for task, each in zip(tasks, health, strict=True) if each.survivors}
    if as_json:
        document = {"tasks": len(files), "faults": [asdict(fault) for fault in faults], "mutants": tiers}
        print(json.dumps({**document, "survivors": survivors, "alike": pairs}))
    else:
        for fault in faults:
            print(fault.message)
        for file, of_one in survivors.items():
            for survivor in of_one:
                print(f"survives: {file}: {survivor}")
        for one, other, share in pairs:
            print(f"alike: {one} and {other}: {share:.0%} of the shorter prompt")
        for tier, told in tiers.items():
            print(f"{tier}: {told['killed']} of {told['mutants']} mutants killed, {_share(told)}")
    say(f"{len(files)} tasks, {len(faults)} faults")


def _share(told: Mapping[str, int]) -> str:
    return f"{100 * told['killed'] / told['mutants']:.1f} %"


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    if not paths:
        raise UsageError("no task is named: give files or folders, or --all")
    for path in paths:
        found = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"no task file lies in {path}: task files end in .yaml")
        yield from found


async def _judge(tasks: Sequence[Task], mutate: bool, some: bool) -> list[Health]:
    """What is found of each task. some: whether a part of the mutants will do."""
    from runners.checked import Checked
    from runners.gate import MUTANTS, Gate
    from runners.settings import cores
    from sandbox import registry
    from sandbox.merged import Merged

    async with registry.get("docker")(cores(), say=say) as pool:
        box = Checked(Merged(pool))
        gate = Gate(box, pool, MUTANTS if some else None)
        try:
            return await asyncio.gather(*(gate.task(task, mutate=mutate) for task in tasks))
        finally:
            await box.aclose()


def _canaries(tasks: Sequence[Task]) -> list[Fault]:
    """What is wrong with the marks by which a task is found in training data."""
    marks = {task.file: str((task.metadata or {}).get("canary", "")) for task in tasks}
    count = Counter(marks.values())
    said = {file: "has no canary in its metadata" for file, mark in marks.items() if not mark}
    said |= {file: "has another task's canary" for file, mark in marks.items() if mark and count[mark] > 1}
    return [Fault(str(file), f"{file}: it {what}") for file, what in said.items()]


def _killed(tasks: Sequence[Task], health: Sequence[Health]) -> dict[str, dict[str, int]]:
    """By tier: the mutants that were tried, and those that were noticed."""
    tiers: defaultdict[str, dict[str, int]] = defaultdict(lambda: {"mutants": 0, "killed": 0})
    for task, each in zip(tasks, health, strict=True):
        if each.mutants:
            told = tiers[str(task.problem.tier)]
            told["mutants"] += each.mutants
            told["killed"] += each.mutants - len(each.survivors)
    return dict(tiers)


def _alike(tasks: Sequence[Task], against: Sequence[Path]) -> list[tuple[str, str, float]]:
    """Prompts that have much in common: of the tasks, and with those of other suites."""
    from adapters import humaneval
    from quality.likeness import alike

    others = []
    for path in [humaneval.packaged()[0], *against]:
        try:
            with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
                rows = [json.loads(line) for line in f if line.strip()]
            others += [(str(row.get("task_id")), str(row.get("prompt") or row["text"])) for row in rows]
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise UsageError(f"{path}: JSON lines with `prompt` or `text` were expected ({error})") from error
    own = [(task.problem.task_id, "\n".join(turn.prompt for turn in task.problem.turns)) for task in tasks]
    return sorted(alike(own, others, ALIKE), key=lambda pair: -pair[2])


if __name__ == "__main__":
    launch(validate, "python -m runners.validate_task")
