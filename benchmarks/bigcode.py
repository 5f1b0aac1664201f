"""`python -m benchmarks.bigcode`: the same generations through the BigCode evaluation harness's own `main.py`, and
through Touchstone's adapter of it.

HumanEval with ten completions of CodeGen-16B for each problem; MBPP with its canonical code, as it is and with a third
of it broken. With `--multiple`, programs in MultiPL-E's languages, right and wrong ones, through the harness's own
evaluator of these, for each language whose toolchain is on the host. The harness runs all of it unsandboxed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.bigcode import COMMIT, home
from benchmarks import launch

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data")
GOLDEN = ROOT / "tests" / "golden" / "multiple"
WITHIN = 1e-12
"""How far two figures may be apart."""
FOLDERS = {"humaneval": "openai_humaneval", "mbpp": "mbpp"}
"""Where the harness's own command looks for a task's data in its working directory."""
TOOLS = {
    "cpp": ("g++", "--version"),
    "go": ("go", "version"),
    "java": ("sh", "-c", "javac -version && test -f /usr/multiple/javatuples-1.2.jar"),
    "js": ("node", "--version"),
    "lua": ("lua", "-l", "luaunit", "-e", ""),
    "php": ("php", "--version"),
    "pl": ("perl", "-MTest::Deep", "-e", "1"),
    "rb": ("ruby", "-rtest/unit", "-e", ""),
    "rs": ("rustc", "--version"),
    "sh": ("bash", "--version"),
    "ts": ("tsc", "--version"),
}
"""A command that ends with 0 where what the harness's evaluator of a language needs is on the host."""
LOADED = re.compile(r"^(?:import|from) (?:torch|transformers|accelerate)\b", re.MULTILINE)
"""What `main.py` has loaded for itself, so that programs find it there and nowhere else."""
SLOWEST = 123
"""The problem of MBPP whose own solution takes most of the three seconds of wall time that the harness gives it. In its
place among the others, four at a time, it is stopped where there are fewer cores; so it comes last."""
HIDING = "import sys\nsys.modules.update(dict.fromkeys(('torch', 'transformers', 'accelerate')))\n"
"""Before a program that imports some of it, so that it is not there for either."""
EVALUATOR = """
import json, sys, types
# The package itself imports every task, with what these need.
package = types.ModuleType("bigcode_eval.tasks")
package.__path__ = [sys.argv[1] + "/bigcode_eval/tasks"]
sys.path.insert(0, sys.argv[1])
sys.modules["bigcode_eval.tasks"] = package
from bigcode_eval.tasks.custom_metrics.multiple_metrics.containerized_eval import eval_string_script
found = [eval_string_script(*each) for each in json.load(sys.stdin)]
sys.stdout = sys.__stdout__
print("\\n" + json.dumps([each["status"] == "OK" and each["exit_code"] == 0 for each in found]))
"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bigcode", description="See benchmarks/README.md.")
    parser.add_argument("--multiple", action="store_true", help="MultiPL-E's languages, as far as the host has them")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first problems of each")
    args = parser.parse_args()
    if shutil.which("git") and (there := _commit()) != COMMIT:
        print(f"the harness in {home()} is at {there}, not at {COMMIT}", file=sys.stderr)
    print(json.dumps(multiple(args.limit) if args.multiple else python(args.limit), indent=2))


# ── its own command line ─────────────────────────────────────────────────────────────────────────────────────────────


def python(limit: int | None = None) -> dict[str, Any]:
    """pass@k of HumanEval and MBPP by both."""
    found: dict[str, Any] = {}
    for name, make in PARTS.items():
        task, rows, generations = make()
        rows, generations = rows[:limit] if task == "humaneval" else rows, generations[:limit]
        with tempfile.TemporaryDirectory() as folder:
            began = time.monotonic()
            here = theirs(Path(folder), task, rows, generations)
            ended = time.monotonic()
            mine = ours(Path(folder), task, rows, generations)
            seconds = {"ours": time.monotonic() - ended, "main.py": ended - began}
        found[name] = {
            "problems": len(generations),
            "samples": sum(map(len, generations)),
            "ours": mine,
            "main.py": here,
            "equal": agree(mine, here),
            "seconds": {who: round(took, 2) for who, took in seconds.items()},
            "ratio": round(seconds["ours"] / seconds["main.py"], 3),
        }
    return {**found, "equal": all(part["equal"] for part in found.values())}


def theirs(
    folder: Path, task: str, rows: Sequence[Mapping[str, Any]], generations: Sequence[Sequence[str]]
) -> dict[str, float]:
    """The figures of its own `main.py`. folder: one to work in. rows: the task's data."""
    place = folder / FOLDERS[task]
    place.mkdir()
    (place / "test.jsonl").write_text(_lines(rows))
    (folder / "generations.json").write_text(json.dumps(generations))
    words = ["--tasks", task, "--load_generations_path", "generations.json", "--allow_code_execution"]
    words += ["--n_samples", str(len(generations[0])), "--limit", str(len(generations))]
    done = subprocess.run(
        [sys.executable, str(home() / "main.py"), *words, "--metric_output_path", "metrics.json"],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the harness's main.py failed: {(done.stderr.strip().splitlines() or ['no word'])[-1]}")
    found: dict[str, float] = json.loads((folder / "metrics.json").read_text())[task]
    return found


def ours(
    folder: Path, task: str, rows: Sequence[Mapping[str, Any]], generations: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Touchstone's figures, of the same: its own, and under `…,bigcode` what the harness makes of its verdicts."""
    (folder / "data.jsonl").write_text(_lines(rows))
    k = "1,10" if len(generations[0]) >= 10 else "1"
    words = ["-t", task, "--dataset", f"{task}={folder / 'data.jsonl'}", "--k", k]
    [result] = _touchstone(folder, generations, [*words, "--limit", str(len(generations))])["results"]
    return {name: metric["value"] for name, metric in result["metrics"].items()}


def agree(ours: Mapping[str, float], theirs: Mapping[str, float]) -> bool:
    """Whether both of ours are the harness's own figures, all of them."""
    return ours.keys() == {*theirs, *(f"{name},bigcode" for name in theirs)} and all(
        abs(ours[ours_name] - value) <= WITHIN
        for name, value in theirs.items()
        for ours_name in (name, f"{name},bigcode")
    )


def _canonical(times: int = 1) -> tuple[str, list[dict[str, Any]], list[list[str]]]:
    rows = read(DATA / "humaneval" / "HumanEval.jsonl.gz")
    # Each is another program: equal ones would run once.
    return (
        "humaneval",
        rows,
        [[f"{row['prompt']}{row['canonical_solution']}\n# {number}\n" for number in range(times)] for row in rows],
    )


def _humaneval() -> tuple[str, list[dict[str, Any]], list[list[str]]]:
    rows = read(DATA / "humaneval" / "HumanEval.jsonl.gz")
    programs: dict[str, list[str]] = {row["task_id"]: [] for row in rows}
    prompts = {row["task_id"]: row["prompt"] for row in rows}
    for sample in read(DATA / "codegen16b" / "samples.jsonl.gz"):
        program = prompts[sample["task_id"]] + sample["completion"]
        programs[sample["task_id"]].append(HIDING + program if LOADED.search(program) else program)
    return "humaneval", rows, list(programs.values())


def _mbpp(
    change: Callable[[int, str], str] = lambda _, code: code,
) -> tuple[str, list[dict[str, Any]], list[list[str]]]:
    rows = [row for row in read(DATA / "mbpp" / "mbpp.jsonl.gz") if 11 <= row["task_id"] <= 510]
    rows.sort(key=lambda row: row["task_id"] == SLOWEST)
    # One problem's tests are of what it sets up with its solution's class, which the harness leaves out.
    return "mbpp", rows, [[f"{change(i, row['code'])}\n{row['test_setup_code']}"] for i, row in enumerate(rows)]


def broken(number: int, code: str) -> str:
    """Every third solution, broken in one of three ways."""
    if number % 3:
        return code
    return (re.sub(r"\breturn\b", "return not", code), f"{code}\n(", "")[number // 3 % 3]


PARTS: Mapping[str, Callable[[], tuple[str, list[dict[str, Any]], list[list[str]]]]] = {
    "humaneval_canonical": _canonical,
    "humaneval_canonical_ten": lambda: _canonical(10),
    "humaneval": _humaneval,
    "mbpp_canonical": _mbpp,
    "mbpp_broken": lambda: _mbpp(broken),
}
"""The task, its data, and the generations of each part."""


# ── its evaluator of MultiPL-E ───────────────────────────────────────────────────────────────────────────────────────


def multiple(limit: int | None = None) -> dict[str, Any]:
    """The verdicts of both on right and wrong programs in each language that the host has."""
    languages: dict[str, Any] = {}
    differ: list[dict[str, Any]] = []
    absent = [name for name, command in TOOLS.items() if not _works(command)]
    for name in sorted({*TOOLS} - {*absent}):
        rows, generations = golden(name, limit)
        with tempfile.TemporaryDirectory() as folder:
            mine = _our_verdicts(Path(folder), name, rows, generations)
        programs = [
            (row["language"], f"{each}\n{row['tests']}")
            for row, of_one in zip(rows, generations, strict=True)
            for each in of_one
        ]
        here = _their_verdicts(programs)
        names = [(row["name"], kind) for row in rows for kind in ("right", "wrong")]
        for (problem, kind), one, other in zip(names, mine, here, strict=True):
            if one is not other:
                differ.append({"language": name, "problem": problem, "program": kind, "ours": one, "theirs": other})
        languages[name] = {"programs": len(programs), "passed": sum(mine), "differ": sum(map(bool.__ne__, mine, here))}
        print(f"{name}: {languages[name]}", file=sys.stderr)
    return {"languages": languages, "differ": differ, "not_on_this_host": absent, "equal": not differ}


def golden(name: str, limit: int | None = None) -> tuple[list[dict[str, Any]], list[list[str]]]:
    """Problems in a language, as MultiPL-E calls it, and for each a right and a wrong program, without its tests.

    Each ends where the harness would have cut it: its tests go on from there.
    """
    known = {row["name"]: row for row in read(DATA / "multipl_e" / f"humaneval-{name}.jsonl.gz")}
    solved = json.loads((GOLDEN / f"{name}.json").read_text())[:limit]
    rows = [known[each["name"]] for each in solved]
    return rows, [
        [row["prompt"].strip() + _cut(each[kind], row["stop_tokens"]) for kind in ("right", "wrong")]
        for row, each in zip(rows, solved, strict=True)
    ]


def _cut(text: str, stops: Sequence[str]) -> str:
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)


def _our_verdicts(
    folder: Path, name: str, rows: Sequence[Mapping[str, Any]], generations: Sequence[Sequence[str]]
) -> list[bool]:
    data = folder / "data"
    data.mkdir()
    (data / f"humaneval-{name}.jsonl").write_text(_lines(rows))
    words = ["-t", f"multiple-{name}", "--dataset", f"nuprl/MultiPL-E={data}"]
    _touchstone(folder, generations, [*words, "--dump-samples", str(folder / "samples.jsonl")])
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    found = {(sample["task_id"], sample["index"]): sample["status"] == "passed" for sample in samples}
    ids = list(dict.fromkeys(sample["task_id"] for sample in samples))
    assert {*ids} == {str(row.get("task_id") or row["name"]) for row in rows}
    return [found[str(row.get("task_id") or row["name"]), index] for row in rows for index in (0, 1)]


def _their_verdicts(programs: Sequence[tuple[str, str]]) -> list[bool]:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", EVALUATOR, str(home())],
            cwd=folder,
            env={**os.environ, "TMPDIR": folder},
            input=json.dumps(programs),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: list[bool] = json.loads(done.stdout.splitlines()[-1])
    return found


def _works(command: Sequence[str]) -> bool:
    try:
        return not subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
    except OSError:
        return False


# ── both ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _touchstone(folder: Path, generations: Sequence[Sequence[str]], words: Sequence[str]) -> dict[str, Any]:
    """What a run says of final generations. Raises SystemExit where it does not come to its end."""
    (folder / "ours.json").write_text(json.dumps(generations))
    given = ["--harness", "bigcode", "--generations", str(folder / "ours.json"), "-m", "openai/given"]
    done = subprocess.run(
        [sys.executable, "-m", "runners.unified", *given, *words, "--json", "--db", str(folder / "runs.db")],
        cwd=ROOT,
        env={**os.environ, "HF_HOME": str(folder / "hf")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _lines(rows: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _commit() -> str:
    command = ["git", "-C", str(home()), "rev-parse", "HEAD"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    launch(main)
