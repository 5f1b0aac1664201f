"""evalplus: its `untrusted_check` on a pool of processes, as its own `evaluate`.

Standard input: {"workers", "problems": {task_id: problem}, "samples": [[task_id, completion], ...]}.

Its own data set comes from a hub. In its place stand the inputs of HumanEval's own tests, with what the reference
solution gives for them: recorded from one run of each `check`, before the clock starts. So nearly the same is computed
for each sample; a test that asserts more than equality is judged by what was recorded.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from evalplus.eval import PASS, untrusted_check  # type: ignore[import-not-found, unused-ignore]

TOLERANCE = 1e-6
"""Absolute, for problems whose results are floats, as in its data set; other results are compared exactly."""


@dataclass
class Recorded:
    """The calls that a problem's tests make of the reference solution."""

    inputs: list[list[Any]] = field(default_factory=list)
    expected: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    """Judge what comes."""
    asked = json.load(sys.stdin)
    problems = asked["problems"]
    recorded = {task_id: record(problem) for task_id, problem in problems.items()}
    start = time.monotonic()
    with ProcessPoolExecutor(asked["workers"]) as pool:
        judged = [
            pool.submit(check, problems[task_id], completion, recorded[task_id])
            for task_id, completion in asked["samples"]
        ]
        passed = [each.result() for each in judged]
    print(json.dumps({"seconds": time.monotonic() - start, "passed": passed}))


def record(problem: dict[str, str]) -> Recorded:
    """Run a problem's tests once, with a stand-in that notes each call, as it is before the solution or the test
    changes what belongs to it.
    """
    names: dict[str, Any] = {}
    exec(problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"], names)
    solution, calls = names[problem["entry_point"]], Recorded()

    def stand_in(*arguments: Any) -> Any:
        calls.inputs.append(deepcopy(list(arguments)))
        start = time.monotonic()
        value = solution(*arguments)
        calls.seconds.append(time.monotonic() - start)
        calls.expected.append(deepcopy(value))
        return value

    names["check"](stand_in)
    return calls


def check(problem: dict[str, str], completion: str, calls: Recorded) -> bool:
    """One sample, up to its first wrong answer."""
    status, _ = untrusted_check(
        "humaneval",
        problem["prompt"] + completion,
        calls.inputs,
        problem["entry_point"],
        calls.expected,
        TOLERANCE if any(isinstance(value, float) for value in calls.expected) else 0.0,
        calls.seconds,
        fast_check=True,
    )
    return bool(status == PASS)


if __name__ == "__main__":
    main()
