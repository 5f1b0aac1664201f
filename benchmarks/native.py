"""`python -m benchmarks.native`: the native suite's figures on the controls, and how long it takes.

Each control answers the whole suite. Then a server on loopback, silent for `LATENCY_S` before each answer, answers
`TASKS` tasks with their references, beside the time that nobody can go below.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from adapters.native import Native
from adapters.taskfile import TIERS
from benchmarks import launch
from models.control import NAMES
from tests.loopback import OpenAIServer

ROOT = Path(__file__).resolve().parent.parent
TASKS, LATENCY_S, CONCURRENCY = 50, 2.0, 16


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native", description="See benchmarks/README.md.")
    parser.add_argument("--model", action="append", choices=NAMES, help="this control alone")
    args = parser.parse_args()
    found = {name: control(name) for name in args.model or NAMES}
    print(json.dumps({**found, "server": server()}, indent=2))


def control(name: str) -> dict[str, Any]:
    """A control on the whole suite: figures by tier, and seconds of the whole command."""
    whole, took = _run("-m", f"control/{name}", "-t", "tiers")
    tiers = {
        result["suite"]: {
            "problems": result["n_problems"],
            "pass@1": result["metrics"]["pass@1"]["value"],
            **{part: _round(value) for part, value in result["ratings"].items()},
        }
        for result in whole["results"]
    }
    return {"tiers": tiers, "seconds": round(took, 2)}


def server() -> dict[str, Any]:
    """The tasks that a server answers late, several at a time."""
    adapter = Native()
    answers: dict[str, str] = {}
    for tier in TIERS:
        for problem in adapter.suite(tier, {}).problems:
            for turn in range(len(problem.turns)):
                prompt = adapter.prompt(problem, turn, "instruct", ())
                answers[prompt[-1].content] = adapter.answers(problem, turn, "instruct").reference  # type: ignore[union-attr]

    def answer(body: dict[str, Any]) -> str:
        time.sleep(LATENCY_S)
        return answers[body["messages"][-1]["content"]]

    each = TASKS // 2
    with OpenAIServer(answer) as loopback:
        words = ["-m", "openai/m", "-t", "easy", "-t", "medium", "--sample", str(each), "--seed", "1"]
        words += ["--concurrency", str(CONCURRENCY), "--no-cache"]
        document, took = _run(*words, OPENAI_BASE_URL=loopback.url, OPENAI_API_KEY="none")
        asked = len(loopback.requests)
    passed = [result["metrics"]["pass@1"]["value"] for result in document["results"]]
    ideal = -(-asked // CONCURRENCY) * LATENCY_S
    return {"tasks": 2 * each, "requests": asked, "pass@1": passed, "seconds": round(took, 2), "ideal_s": ideal}


def _run(*words: str, **variables: str) -> tuple[dict[str, Any], float]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "runners.unified", *words, "--json", "--db", f"{folder}/runs.db"],
            cwd=ROOT,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            check=False,
        )
        took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document, took


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


if __name__ == "__main__":
    launch(main)
