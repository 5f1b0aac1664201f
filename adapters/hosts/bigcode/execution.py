"""What stands in for everything by which the harness would run generated code: nothing is run here.

Each of its ways to execute is replaced by one that hands programs over, all of a task's together, and goes on with what
came back. What it makes of that, its estimates included, is its own code, or written as its own is.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from adapters.hosts.bigcode.metrics import TEXT
from adapters.hosts.bigcode.registry import PACKAGE
from adapters.hosts.wire import Refused

Programs = Sequence[Sequence[tuple[str, str]]]
"""Problem by problem, and sample by sample: a solution and its tests."""
Run = Callable[[Programs, str, float | None], list[list[bool | None]]]
"""Has programs in a language executed: whether each passed; None: the sandbox failed. The last is the limit in seconds;
None: the sandbox's own for that language, which are about those of the harness."""

LANGUAGES = {
    "py": "python",
    "python": "python",
    "js": "javascript",
    "javascript": "javascript",
    "ts": "typescript",
    "java": "java",
    "cpp": "cpp",
    "go": "go",
    "go_test.go": "go",
    "rs": "rust",
    "rust": "rust",
    "sh": "bash",
    "php": "php",
    "rb": "ruby",
    "lua": "lua",
    "pl": "perl",
}
"""The harness's names of languages, and the sandbox's."""
OCTOPACK = "Muennighoff/code_eval_octopack"
METRICS = "its metric '{}' is code of the hub, which is not run here"


def install(run: Run) -> None:
    """Take the place of the package `evaluate`, which would fetch metrics from the hub and run their code."""

    def load(path: str, *_: Any, **__: Any) -> Any:
        if path == OCTOPACK:
            return _Octopack(run)
        if path in TEXT:
            return TEXT[path]
        raise Refused(METRICS.format(path))

    module = ModuleType("evaluate")
    module.load = load  # type: ignore[attr-defined]
    sys.modules["evaluate"] = module


def hook(run: Run) -> None:
    """Replace what the harness's modules execute by, in all that are loaded: a task's methods may be another's.

    What runs a single program, and is called by what is replaced alone, refuses to.
    """
    replaced = {
        "compute_code_eval": _code_eval(run),
        "evaluate_problem": _evaluate_problem,
        **dict.fromkeys(("check_correctness", "cached_eval_script", "eval_string_script"), _refuse),
    }
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{PACKAGE}."):
            for function, ours in replaced.items():
                if hasattr(module, function):
                    setattr(module, function, ours)


def _refuse(*_: Any, **__: Any) -> Any:
    raise Refused("the BigCode evaluation harness was about to run generated code by itself")


def _code_eval(run: Run) -> Callable[..., Any]:
    """In place of `custom_metrics.code_eval.compute_code_eval`."""

    def compute_code_eval(
        predictions: Sequence[Sequence[str]],
        references: Sequence[str],
        k: Any = (1, 10, 100),
        num_workers: int = 4,  # noqa: ARG001
        timeout: float = 3.0,
    ) -> tuple[dict[str, float], Any]:
        programs = [[(each, test) for each in of_one] for of_one, test in zip(predictions, references, strict=False)]
        return figures(run(programs, "python", timeout), k)

    return compute_code_eval


class _Octopack:
    """In place of the hub's metric for HumanEvalPack, which appends the reference and runs the whole."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def compute(
        self,
        *,
        references: Sequence[str],
        predictions: Sequence[Sequence[str]],
        language: str = "python",
        k: Any = (1, 10, 100),
        timeout: float = 3.0,
        **_: Any,
    ) -> tuple[dict[str, float], Any]:
        """pass@k, and no log."""
        programs = [[(each, test) for each in of_one] for of_one, test in zip(predictions, references, strict=False)]
        # A compiler's time is in its timeouts in the other languages.
        limit = timeout if language == "python" else None
        return figures(self._run(programs, LANGUAGES[language], limit), k)


def figures(passed: Sequence[Sequence[bool | None]], k: Any) -> tuple[dict[str, float], dict[int, list[Any]]]:
    """pass@k as `compute_code_eval` has it, over the samples that could be judged; and each one's outcome.

    It is not a number where a problem has fewer than k of them, and where there are none.
    """
    import numpy as np

    judged = [[outcome for outcome in of_one if outcome is not None] for of_one in passed]
    judged = [of_one for of_one in judged if of_one]
    totals = np.array([len(of_one) for of_one in judged])
    ks = k if isinstance(k, list | tuple) else [k]
    found = {
        f"pass@{n}": float(np.array([_estimate(len(each), sum(each), n) for each in judged]).mean())
        if len(judged) and (totals >= n).all()
        else math.nan
        for n in ks
    }
    logs = {
        number: [(i, {"passed": ok}) for i, ok in enumerate(each) if ok is not None]
        for number, each in enumerate(passed)
    }
    return found, logs


def _estimate(n: int, c: int, k: int) -> float:
    """As the harness has it, to the last digit: Chen et al. 2021, arXiv:2107.03374."""
    import numpy as np

    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def _evaluate_problem(output_dir: str, problem_json_path: str, max_workers: int, input_dir: Any = None) -> None:  # noqa: ARG001
    """In place of MultiPL-E's, which runs compilers on the host: write the results that are known already."""
    problem = json.loads(Path(problem_json_path).read_text())
    results = [
        {"status": "OK" if ok else "Exception", "exit_code": 0 if ok else 1} for ok in known.pop(problem["name"])
    ]
    del problem["completions"]
    Path(problem_json_path.removesuffix(".json") + ".results.json").write_text(
        json.dumps({**problem, "results": results})
    )


known: dict[str, list[bool]] = {}
"""Of MultiPL-E's problems, by name: whether each completion that could be judged passed."""
