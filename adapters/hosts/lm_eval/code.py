"""What stands in for everything by which a task would run generated code: nothing is run here.

A task's candidates are found by taking it through its filters and its metric once with a metric that only notes what it
is given; they are executed elsewhere, all together; then the metric is asked again, and answers from what came back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

from adapters.hosts.wire import Refused

Program = tuple[str, str]
"""A prediction, and the test code that follows it."""


class Verdicts:
    """Which programs passed, and those that are to be found out about."""

    def __init__(self) -> None:
        self.passed: dict[Program, bool] = {}
        self.noted: list[Program] | None = None
        """Not None: programs are noted and none is known."""

    def of(self, program: Program) -> bool:
        """Whether a program passed."""
        if self.noted is not None:
            self.noted.append(program)
            return False
        return self.passed[program]


class CodeEval:
    """The hub's metric `code_eval`, https://huggingface.co/spaces/evaluate-metric/code_eval, from verdicts."""

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self.tried = False

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        k: Sequence[int] = (1, 10, 100),
        **_: Any,
    ) -> tuple[dict[str, float], dict[int, list[Any]]]:
        """pass@k of predictions, and each one's outcome, as the metric gives them."""
        import numpy as np

        if not self.tried:  # what the tasks' modules do as they are imported, to see whether it works
            self.tried = True
            if list(references) == ["assert add(2, 3)==5"]:
                return {"pass@1": 0.0}, {}
        outcomes = [
            [self._verdicts.of((prediction, reference)) for prediction in of_problem]
            for of_problem, reference in zip(predictions, references, strict=True)
        ]
        totals = np.array([len(each) for each in outcomes])
        figures = {
            f"pass@{n}": np.array([_estimate(len(each), sum(each), n) for each in outcomes]).mean()
            for n in k
            if (totals >= n).all()
        }
        results = {
            number: [(i, {"task_id": number, "passed": ok, "completion_id": i}) for i, ok in enumerate(each)]
            for number, each in enumerate(outcomes)
        }
        return figures, results


def install(verdicts: Verdicts, doing: Callable[[], str]) -> CodeEval:
    """Take the place of the package `evaluate`, which would fetch metrics from the hub and run their code.

    doing: names the task that is being loaded.
    """
    metric = CodeEval(verdicts)

    def load(path: str, *_: Any, **__: Any) -> CodeEval:
        if path == "code_eval":
            metric.tried = False
            return metric
        raise Refused(f"{doing()} takes the metric '{path}' from the hub, whose code is not run here")

    module = ModuleType("evaluate")
    module.load = load  # type: ignore[attr-defined]
    sys.modules["evaluate"] = module
    return metric


def hook(task: Any, metric: CodeEval, verdicts: Verdicts) -> bool:
    """Whether a task runs generated code, and see that it does so by verdicts alone.

    Raises Refused for one whose code would run in a way of its own.
    """
    modules = list(_modules(task))
    found = any(value is metric or getattr(value, "__self__", None) is metric for m in modules for value in m.values())
    for names in modules:
        own = names.get("check_correctness")
        if callable(own) and getattr(own, "__globals__", None) is names:
            names["check_correctness"] = _check(verdicts)
        found = found or getattr(names.get("check_correctness"), "stands_in", False)
    if not found and getattr(task, "UNSAFE_CODE", False):
        raise Refused(
            f"lm-eval's task '{task.task_name}' runs generated code in a way of its own, which cannot be led into the "
            "sandbox: leave it out"
        )
    return found


def _check(verdicts: Verdicts) -> Any:
    """In place of a function that runs a whole program and says whether it passed."""

    def check(check_program: str, timeout: float = 3) -> bool:  # noqa: ARG001
        return verdicts.of((check_program, ""))

    check.stands_in = True  # type: ignore[attr-defined]
    return check


def _modules(task: Any) -> Iterator[dict[str, Any]]:
    """The names of the modules that a task's own functions are from."""
    configuration = task.config
    metrics = [entry.get("metric") for entry in configuration.metric_list or ()]
    functions = [*metrics, configuration.process_results, type(task).process_results]
    seen: set[int] = set()
    for function in functions:
        names = getattr(function, "__globals__", None)
        if names is not None and id(names) not in seen and names.get("__name__") != "lm_eval.api.task":
            seen.add(id(names))
            yield names


def _estimate(n: int, c: int, k: int) -> float:
    """As the metric has it, to the last digit: Chen et al. 2021, arXiv:2107.03374."""
    import numpy as np

    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))
