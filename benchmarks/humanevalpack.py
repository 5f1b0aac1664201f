"""`python -m benchmarks.humanevalpack`: HumanEvalPack's own solutions, right and wrong, in six languages.

Every canonical solution should pass and every buggy one fail. What does not is an exception, and each has a cause
outside the sandbox: `CAUSES`.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import launch
from core.types import Candidate, Limits, Solution, Status, Tests, Verdict
from sandbox import languages
from sandbox.docker import DockerSandbox
from sandbox.pythons import PYTHON
from sandbox.verdict import verdict

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data") / "humanevalpack"
LANGUAGES = {"python": PYTHON, "cpp": "cpp", "go": "go", "java": "java", "js": "javascript", "rust": "rust"}
"""The data's name of each language, which is its file's, and ours."""
SOLUTIONS = {"canonical_solution": True, "buggy_solution": False}
"""The fields with a solution, and whether it should pass."""
WALL_MARGIN_S = 10.0
"""More than a run has: this asks for verdicts, on machines that may be busy."""
AHEAD = 4
"""Programs for each worker that may be waiting for it."""

CAUSES = {
    "Go/27": "the canonical solution imports what it does not use, which Go's compiler refuses",
    "Go/95": "the canonical solution looks at one key of a map, and Go's maps have no order",
    "Rust/32": "Newton's method on random polynomials, which now and then finds no zero",
    "CPP/23": "the tests call the C library's strlen, not the solution",
}
"""Why a problem's canonical solution fails, or its buggy one passes, wherever it runs."""

CPP_HEAD = (
    "using namespace std;\n#include<stdlib.h>\n#include<algorithm>\n#include<cmath>\n#include<math.h>\n"
    "#include<numeric>\n#include<stdio.h>\n#include<vector>\n#include<set>\n#include<map>\n#include<queue>\n"
    "#include<stack>\n#include<list>\n#include<deque>\n#include<boost/any.hpp>\n#include<string>\n"
    "#include<climits>\n#include<cstring>\n#include<iostream>\n#include<sstream>\n#include<fstream>\n"
)
GO_PACKAGES = ("math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5")


@dataclass(frozen=True, slots=True)
class Program:
    """One solution and its tests."""

    task_id: str
    field: str
    """Which solution it is: a key of `SOLUTIONS`."""
    candidate: Candidate


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.humanevalpack", description="See benchmarks/README.md.")
    parser.add_argument("--language", action="append", choices=LANGUAGES, help="this one, of several (all)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first problems of each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N", help="programs at a time")
    args = parser.parse_args()
    print(json.dumps(asyncio.run(judged(args.language or list(LANGUAGES), args.limit, args.workers)), indent=2))


async def judged(names: Sequence[str], limit: int | None, workers: int) -> dict[str, Any]:
    """The statuses of each language's solutions, and every exception."""
    table: dict[str, Any] = {}
    exceptions: list[dict[str, Any]] = []
    count = 0
    async with DockerSandbox(workers, say=lambda text: print(text, file=sys.stderr)) as sandbox:
        for name in names:
            chosen = [program for row in rows(name)[:limit] for program in programs(name, row)]
            start = time.monotonic()
            verdicts = await _verdicts(sandbox, chosen)
            pairs = list(zip(chosen, verdicts, strict=True))
            statuses = {field: Counter(v.status.value for p, v in pairs if p.field == field) for field in SOLUTIONS}
            table[name] = {**statuses, "seconds": round(time.monotonic() - start, 1)}
            exceptions += [_exception(*pair) for pair in pairs if not _as_expected(*pair)]
            count += len(chosen)
            print(f"{name}: {table[name]}", file=sys.stderr)
    return {
        "languages": table,
        "programs": count,
        "exceptions": exceptions,
        "without_a_cause": sum(entry["cause"] is None for entry in exceptions),
        "share_of_exceptions": round(len(exceptions) / count, 5),
        "workers": workers,
    }


def rows(name: str) -> list[dict[str, Any]]:
    """The problems of a language, by the data's name of it."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def programs(name: str, row: Mapping[str, Any]) -> Iterator[Program]:
    """Both of a problem's solutions with its tests. name: the data's name of the language."""
    language = LANGUAGES[name]
    for field in SOLUTIONS:
        code, source = assembled(name, row, row["prompt"] + row[field])
        # Python's tests end with their call, which is told apart from them.
        call = f"check({row['entry_point']})" if language == PYTHON else "tests"
        if language == PYTHON:
            source = source.rstrip().removesuffix(call)
        tests = Tests(source=source, calls=(call,))
        yield Program(
            row["task_id"],
            field,
            Candidate(Solution(code, "raw"), row["entry_point"], tests, _limits(language), language),
        )


def assembled(name: str, row: Mapping[str, Any], solution: str) -> tuple[str, str]:
    """A solution and its tests, completed as the BigCode evaluation harness does it for HumanEvalPack.

    name: the data's name of the language. solution: the prompt and what continues it, or a whole solution.
    """
    tests = "\n" + row["test"]
    if name == "cpp":
        return CPP_HEAD + solution, tests
    if name == "java":
        return solution.replace("public class Main {\n    }", ""), tests
    if name == "rust":
        absent = [line for line in row["declaration"].split("\n") if line.strip() not in solution]
        return "\n".join(line for line in absent if not line.startswith("fn")) + "\n" + solution, tests
    if name == "go":
        lines = row["test_setup"].split("\n")
        setup = "\n".join(line for line in lines if not line.strip().startswith('"') or line not in solution)
        whole = setup + solution + tests
        code = re.sub(r"^\s*//.*$", "", whole, flags=re.MULTILINE)
        missing = [path for path in GO_PACKAGES if f'"{path}"' not in whole and f"{path.split('/')[-1]}." in code]
        imports = "\n".join(f'import "{path}"' for path in missing)
        return f"{setup}\n{imports}\n{solution}", tests
    return solution, tests


def _limits(language: str) -> Limits:
    if language == PYTHON:
        return Limits(wall_margin_s=WALL_MARGIN_S)
    own = languages.load(language).limits
    return Limits(cpu_s=own.cpu_s, wall_margin_s=WALL_MARGIN_S, memory_bytes=own.memory_bytes)


async def _verdicts(sandbox: DockerSandbox, chosen: Sequence[Program]) -> list[Verdict]:
    turn = asyncio.Semaphore((1 + AHEAD) * sandbox.size)

    async def judge(program: Program) -> Verdict:
        async with turn:
            return verdict(program.candidate, await sandbox.run(program.candidate))

    return await asyncio.gather(*map(judge, chosen))


def _as_expected(program: Program, judged: Verdict) -> bool:
    return judged.status.graded and (judged.status is Status.PASSED) is SOLUTIONS[program.field]


def _exception(program: Program, judged: Verdict) -> dict[str, Any]:
    return {
        "task_id": program.task_id,
        "solution": program.field,
        "status": judged.status.value,
        "detail": judged.detail,
        "cause": CAUSES.get(program.task_id) if judged.status.graded else None,
    }


if __name__ == "__main__":
    launch(main)
