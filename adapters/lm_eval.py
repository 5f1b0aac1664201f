"""lm-eval: the harness itself, in a process of its own, evaluates any of its tasks. See `adapters.hosts.lm_eval`.

A suite is one of its tasks, a problem one of the task's documents, by its number. A sample is one of its repeats, and
each request that a document makes is a turn of it. Source: https://github.com/EleutherAI/lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from adapters import lm_eval_index
from adapters.base import Driven
from adapters.drive import HostedDrive
from adapters.hosted import Hosted
from core.types import RunSpec, SamplingParams

TASKS = ("task", "py_task")
"""What lm-eval's index calls them."""


class LmEval(Driven):
    """Tasks, groups and tags of the installed lm-eval, and those of the folders that are included."""

    name = "lm-eval"
    default = ("humaneval",)

    def __init__(self, include: Sequence[str] = ()) -> None:
        self._included = lm_eval_index.included(tuple(include))

    def names(self) -> Sequence[str]:
        """Thousands. Raises UsageError with the install command where lm-eval is not there."""
        return [*self._included, *lm_eval_index.names()]

    def claims(self, name: str) -> bool:
        """Whether there is such a task, group or tag."""
        return name in self._included or name in lm_eval_index.names()

    def matching(self, pattern: str) -> Sequence[str]:
        """The tasks whose names fit: groups and tags stand for some of them again, and are named as they are."""
        known = {**lm_eval_index.names(), **self._included}
        return [name for name, told in known.items() if told["kind"] in TASKS and fnmatchcase(name, pattern)]

    def drive(self, spec: RunSpec) -> HostedDrive:
        """Start lm-eval on a run's suites."""
        job = {
            "tasks": [suite.name for suite in spec.suites if suite.harness == self.name],
            "index": str(lm_eval_index.path()),
            "include": list(spec.include),
            "datasets": dict(spec.datasets),
            "num_fewshot": spec.num_fewshot,
            "limit": spec.limit,
            "generation": _generation(spec.params),
            "system_prompt": spec.system_prompt,
            "multiturn": spec.fewshot_as_multiturn,
        }
        return HostedDrive(self.name, Hosted("adapters.hosts.lm_eval", self.name, job), spec.params.seed)

    def listing(self, pattern: str) -> Sequence[Mapping[str, Any]]:
        """The tasks, groups and tags whose names fit."""
        known = {**lm_eval_index.names(), **self._included}
        return [
            {
                "harness": self.name,
                "suite": name,
                "kind": "task" if told["kind"] in TASKS else told["kind"],
                "output": told.get("output"),
                "data": told.get("data"),
                "of": len(told.get("members") or told.get("tags", ())) if told["kind"] in ("group", "tag") else None,
            }
            for name, told in sorted(known.items())
            if fnmatchcase(name, pattern)
        ]


def _generation(params: SamplingParams) -> dict[str, Any]:
    """What the run's settings put in place of the tasks' own."""
    given = {
        "temperature": params.temperature,
        "do_sample": None if params.temperature is None else params.temperature > 0,
        "top_p": params.top_p,
        "max_gen_toks": params.max_tokens,
        "until": list(params.stop) or None,
    }
    return {name: value for name, value in given.items() if value is not None}
