"""`python -m benchmarks.lm_eval`: what a run of lm-eval's GSM8K costs beside a bare loop over the provider's SDK.

Both ask the same server for the same streamed completions of the same prompts, 1,319 with five worked examples each.
The server is silent for the latency; the bare loop reads each answer and drops it.

With `--start`, from the command to its first request, beside the import of lm-eval's evaluator alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import launch
from benchmarks.generation import ROOT, bare, machine
from tests.loopback.fast import FastServer

DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data") / "gsm8k"
SETTLED_S = 0.2
"""After the first request, before a start is over and its process may be ended."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lm_eval", description="See benchmarks/README.md.")
    parser.add_argument("--latency", type=float, default=0.5, metavar="S")
    parser.add_argument("--concurrency", type=int, default=32, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first problems of the 1,319")
    parser.add_argument("--start", action="store_true", help="what starting takes")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of starting")
    args = parser.parse_args()
    print(json.dumps(start(args.rounds) if args.start else beside(args), indent=2))


def beside(args: argparse.Namespace) -> dict[str, Any]:
    """Touchstone beside the bare loop. Times are in seconds, from the first request to the end of each."""
    options = {"latency": args.latency, "pieces": 20}
    words = ["--concurrency", str(args.concurrency), *([] if args.limit is None else ["--limit", str(args.limit)])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with FastServer(answers(), **options) as server:
            began = time.time()
            words += ["--json", "--dump-samples", str(folder / "samples")]
            done = subprocess.run(
                command(folder, words), cwd=ROOT, env=environment(server.url), stdout=subprocess.PIPE, check=True
            )
            ended, stats = time.time(), server.stats()
        samples = [json.loads(line) for line in (folder / "samples").open(encoding="utf-8")]
    prompts = [sample["prompt"] for sample in samples]
    with FastServer(answers(), **options) as server:
        asyncio.run(bare(server.url, prompts, args.concurrency))
        bare_ended, bare_stats = time.time(), server.stats()
    touchstone_s, bare_s = ended - stats["first_at"], bare_ended - bare_stats["first_at"]
    [result] = json.loads(done.stdout)["results"]
    return {
        "ideal_s": round(args.latency * len(prompts) / args.concurrency, 2),
        "bare_s": round(bare_s, 2),
        "touchstone_s": round(touchstone_s, 2),
        "ratio": round(touchstone_s / bare_s, 3),
        "requests": [stats["answered"], bare_stats["answered"]],
        "exact_match": {name: metric["value"] for name, metric in result["metrics"].items()},
        "start_s": round(stats["first_at"] - began, 2),
        "after_the_last_answer_s": round(ended - stats["last_at"], 2),
        "most_in_flight": [stats["most_in_flight"], bare_stats["most_in_flight"]],
        **machine(),
    }


def start(rounds: int) -> dict[str, Any]:
    """From the command to its first request, and the import alone, by turns. Seconds."""
    ours, peer = [], []
    with tempfile.TemporaryDirectory() as name, FastServer(answers(), latency=0.01) as warm:
        # The index is made, and what the files of a data set hold is known, from the second time on.
        subprocess.run(command(Path(name), ["--limit", "1"]), cwd=ROOT, env=environment(warm.url), check=True)
    for _ in range(rounds):
        began = time.time()
        subprocess.run([sys.executable, "-c", "import lm_eval.evaluator"], cwd=ROOT, check=True)
        peer.append(time.time() - began)
        ours.append(_first_request_s())
    return {
        "import_s": _spread(peer),
        "to_first_request_s": _spread(ours),
        "ratio": round(median(ours) / median(peer), 3),
        **machine(),
    }


def _first_request_s() -> float:
    with tempfile.TemporaryDirectory() as name, FastServer(answers(), latency=5) as server:
        began = time.time()
        with subprocess.Popen(command(Path(name), []), cwd=ROOT, env=environment(server.url)) as process:
            while (first_at := server.stats()["first_at"]) is None and process.poll() is None:
                time.sleep(0.05)
            time.sleep(SETTLED_S)
            process.kill()
    if first_at is None:
        raise SystemExit("the command ended before its first request")
    return float(first_at) - began


def command(folder: Path, words: Sequence[str]) -> list[str]:
    """Touchstone on lm-eval's GSM8K, as its users start it."""
    asked = ["--harness", "lm-eval", "-t", "gsm8k", "-m", "openai/m", "--prompt-style", "completion", "--no-cache"]
    place = ["--dataset", f"gsm8k={DATA}", "--db", str(folder / "runs.db")]
    return [sys.executable, "-m", "runners.unified", *asked, *place, *words]


def environment(url: str) -> dict[str, str]:
    """The command's."""
    return {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}


def answers() -> dict[str, str]:
    """The reference answer to each question."""
    import gzip

    with gzip.open(DATA / "test.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {f"Question: {row['question']}\nAnswer:": f" {row['answer']}" for row in rows}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(seconds), 3), "min": round(min(seconds), 3), "max": round(max(seconds), 3)}


if __name__ == "__main__":
    launch(main)
