"""`touchstone tasks validate`: see that task files are well formed, and that their tests tell right from wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from core.errors import BadData, UsageError
from core.types import Candidate, Problem, Solution, Status, Turn
from runners.launch import launch, say
from sandbox.base import Sandbox


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a task."""

    task: str
    message: str


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "every", is_flag=True, help="The tasks that come with Touchstone.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def validate(paths: Sequence[Path], every: bool, as_json: bool) -> int:
    """Check task files, and folders of them: their form, and that in the sandbox the reference passes, each wrong
    solution fails, and so does an empty one. Ends with 2 where something is wrong."""
    from adapters import taskfile
    from adapters.native import TASKS

    files = list(_files([*paths, *([TASKS] if every else [])]))
    problems: list[tuple[Path, Problem]] = []
    faults: list[Fault] = []
    for file in files:
        found: list[BadData] = taskfile.check(file)
        faults += [Fault(str(file), str(fault)) for fault in found]
        if not found:
            problems.append((file, taskfile.load(file)))
    if problems:
        faults += asyncio.run(_judge(problems))
    if as_json:
        print(json.dumps({"tasks": len(files), "faults": [asdict(fault) for fault in faults]}))
    else:
        for fault in faults:
            print(fault.message)
    say(f"{len(files)} tasks, {len(faults)} faults")
    return 2 if faults else 0


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    if not paths:
        raise UsageError("no task is named: give files or folders, or --all")
    for path in paths:
        found = sorted(path.rglob("*.yaml")) if path.is_dir() else [path]
        if not found:
            raise UsageError(f"no task file lies in {path}: task files end in .yaml")
        yield from found


async def _judge(problems: Sequence[tuple[Path, Problem]]) -> list[Fault]:
    from runners.settings import cores
    from sandbox import registry

    async with registry.get("docker")(cores(), say=say) as box:
        found = await asyncio.gather(*(_task(box, file, problem) for file, problem in problems))
    return [fault for faults in found for fault in faults]


async def _task(box: Sandbox, file: Path, problem: Problem) -> list[Fault]:
    faults = []
    for number, turn in enumerate(problem.turns):
        answers = [("reference", turn.reference, True), ("an empty solution", "", False)]
        answers += [(f"wrong[{index}]", wrong.code, False) for index, wrong in enumerate(turn.wrong)]
        for name, code, right in answers:
            status, detail = await _verdict(box, problem, turn, code)
            if (status is Status.PASSED) is not right or status is Status.SANDBOX_ERROR:
                what = detail or "every test passed"
                faults.append(Fault(str(file), f"{file}: turns[{number}].{name}: {status.value}: {what}"))
    return faults


async def _verdict(box: Sandbox, problem: Problem, turn: Turn, code: str) -> tuple[Status, str]:
    from sandbox.verdict import verdict

    candidate = Candidate(Solution(code, "raw"), problem.entry_point, turn.tests, turn.limits, problem.language)
    judged = verdict(candidate, await box.run(candidate))
    return judged.status, judged.detail


if __name__ == "__main__":
    launch(validate, "python -m runners.validate_task")
