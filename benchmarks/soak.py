"""`python -m benchmarks.soak`: a long run that is killed again and again; that nothing is lost, and nothing is left.

The user's own command judges real completions, with a hostile program among every hundred, and is continued with
`--resume` each time that it is killed. Its containers are killed meanwhile. The last part is left in peace, and shows
whether anything grows.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import random
import secrets
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import launch, witness
from benchmarks.sandbox import PROBLEMS, ROOT, all_samples, good, machine
from core.types import Status
from sandbox import engine
from sandbox.corpus import CODE, corpus

ONE_IN = 100
"""So many samples hold one that is hostile."""
AT_START = 0.3
"""The share of the runner's deaths that come within `START_S` of its start, whatever it has done by then."""
START_S = 1.5
KILLED_WITHIN, RESTLESS_WITHIN = 0.5, 0.7
"""The runner is killed until this share of the samples is stored, its containers until that."""
CONTAINER_EVERY = 100
"""Samples between the deaths of two containers, on average."""
LOOK_S = 0.1
MEASURE_S = 0.5
ALLOWED = {"runner": 32 << 20, "agent": 8 << 20}
"""Bytes by which the last fifth's median may exceed the first's, beyond a tenth of that."""
ALLOWED_FILES = 8
"""Descriptors, likewise: a container has a few, and there may be one more or less."""
NONE = (
    *("missing", "duplicates", "differ_from_reference", "unsteady", "hostile_passed", "lost_by_a_kill"),
    *("changed_by_a_kill", "sandbox_errors", "exit_code"),
)
"""What comes out as zero or empty."""
HOSTILE = {
    "prompt": "",
    "entry_point": "add",
    "canonical_solution": "def add(a, b):\n    return a + b\n",
    "test": CODE.source,
}
"""The problem that every program of the corpus is put to, and that none solves."""

Key = tuple[str, int]
"""A sample: its problem's id and its index."""


@dataclass
class Inputs:
    """What is judged."""

    problems: Path
    generations: Path
    real: dict[Key, dict[str, Any]]
    """Each real sample, and the record that it repeats."""
    hostile: dict[Key, str]
    """Each hostile one, and its name in the corpus."""


@dataclass
class Seen:
    """What was seen of the sessions, from outside."""

    pids: set[int] = field(default_factory=set)
    containers: set[str] = field(default_factory=set)
    runners_killed: int = 0
    containers_killed: int = 0
    lost: int = 0
    """Samples that were stored before the runner was killed, and not after."""
    changed: int = 0
    sandbox_errors: Counter[str] = field(default_factory=Counter)
    """At the end of any session: what the sandbox said of itself."""
    exit_code: int | None = None
    """The last session's."""
    runner: list[tuple[int, int]] = field(default_factory=list)
    """Resident bytes and descriptors of the last session, from its first sample on."""
    agents: dict[str, list[int]] = field(default_factory=dict)
    """Container → resident bytes of its agent's two processes."""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="See benchmarks/README.md.")
    parser.add_argument("--samples", type=int, default=20_000, metavar="N", help="how many are judged")
    parser.add_argument("--kills", type=int, default=10, metavar="N", help="how often the runner is killed")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the samples and the moments")
    args = parser.parse_args()
    found = soak(args.samples, args.kills, args.seed)
    print(json.dumps(found, indent=2))
    sys.exit(bool(found["wrong"]))


def soak(samples: int, kills: int, seed: int) -> dict[str, Any]:
    """Run it; what came of it, and in `wrong` what does not hold."""
    start, chance = time.monotonic(), random.Random(seed)
    shared_before = witness.names(Path("/dev/shm"))
    with tempfile.TemporaryDirectory(prefix="touchstone-soak-") as name, closing(engine.connect()) as client:
        folder = Path(name)
        inputs = _inputs(folder, samples, chance)
        mark = secrets.token_hex(16)
        temporary, kept = folder / "tmp", folder / "runs"
        temporary.mkdir()
        seen = _Soak(client, inputs, kept / "runs.db", temporary, mark, chance).run(samples, kills)
        listed = _listed(kept / "runs.db")  # as the next command: it also removes what SQLite keeps beside the file
        left = {
            "containers": witness.gone(lambda: witness.containers_left(client, seen.pids)),
            "processes": witness.gone(lambda: witness.processes_left(mark, seen.containers)),
            "temporary": sorted(witness.names(temporary)),
            "shared_memory": sorted(witness.names(Path("/dev/shm")) - shared_before),
            "beside_the_database": sorted(witness.names(kept) - {"runs.db", "reports"}),
        }
        judged = _judged(kept / "runs.db", inputs)
    found = {
        "samples": samples,
        "hostile": len(inputs.hostile),
        "seed": seed,
        "seconds": round(time.monotonic() - start, 1),
        "killed": {"runner": seen.runners_killed, "containers": seen.containers_killed},
        **listed,
        **judged,
        "lost_by_a_kill": seen.lost,
        "changed_by_a_kill": seen.changed,
        "sandbox_errors": dict(seen.sandbox_errors),
        "exit_code": seen.exit_code,
        "memory_bytes": {
            "runner": _fifths([rss for rss, _ in seen.runner]),
            "agent": _fifths(max(seen.agents.values(), key=len, default=[])),
        },
        "runner_files": _fifths([files for _, files in seen.runner]),
        "left": left,
    }
    return {**found, "wrong": _wrong(found, kills), "machine": machine()}


def _wrong(found: Mapping[str, Any], kills: int) -> list[str]:
    """What does not hold, in words."""
    wrong = [f"{name}: {found[name]}" for name in NONE if found[name]]
    if found["runs"] != [{"status": "complete", "n_samples": found["samples"]}]:
        wrong.append(f"runs: {found['runs']}")
    if found["graded"] != found["samples"]:
        wrong.append(f"graded: {found['graded']}")
    if found["killed"]["runner"] != kills:
        wrong.append(f"the runner was killed {found['killed']['runner']} times of {kills}")
    for who, allowed in ALLOWED.items():
        memory = found["memory_bytes"][who]
        if memory["last"] > 1.1 * memory["first"] + allowed:
            wrong.append(f"the {who}'s memory grows: {memory}")
    files = found["runner_files"]
    if files["last"] > files["first"] + ALLOWED_FILES:
        wrong.append(f"the runner's descriptors grow: {files}")
    return wrong + [f"left, {where}: {names}" for where, names in found["left"].items() if names]


# ── what is judged ───────────────────────────────────────────────────────────────────────────────────────────────────


def _inputs(folder: Path, samples: int, chance: random.Random) -> Inputs:
    """Real completions and hostile programs, problem by problem in turn, no two samples equal."""
    with gzip.open(PROBLEMS, "rt") as file:
        problems = [json.loads(line) for line in file]
    real = [sample for sample in all_samples() if sample["reference_verdict"] != "timed_out"]
    programs = sorted(_hostile().items())
    chance.shuffle(real)
    chance.shuffle(programs)
    count = samples // ONE_IN
    completions: dict[str, list[str]] = {}
    inputs = Inputs(folder / "problems.jsonl", folder / "generations.jsonl", {}, {})
    for number in range(samples - count):
        sample = real[number % len(real)]
        task = sample["task_id"]
        kept = completions.setdefault(task, [])
        inputs.real[task, len(kept)] = sample
        # In front: behind code that breaks off, even a comment may change what it means.
        kept.append(f"    # sample {number}\n{sample['completion']}")
    asked = [problem for problem in problems if problem["task_id"] in completions]
    for number in range(count):
        name, source = programs[number % len(programs)]
        task = f"hostile/{number * len(asked) // count}"
        kept = completions.setdefault(task, [])
        inputs.hostile[task, len(kept)] = name
        kept.append(f"# sample {number}\n{source}")
    with inputs.problems.open("w") as file:
        for place, problem in enumerate(asked):
            file.write(f"{json.dumps(problem)}\n")
            if (task := f"hostile/{place}") in completions:
                file.write(f"{json.dumps({'task_id': task, **HOSTILE})}\n")
    with inputs.generations.open("w") as file:
        for task, texts in completions.items():
            file.writelines(f"{json.dumps({'task_id': task, 'completion': text})}\n" for text in texts)
    return inputs


def _hostile() -> dict[str, str]:
    """The hostile programs in Python: name → source."""
    probes = (probe for probe in corpus().probes if probe.mode == "code")
    return {f"{probe.file}/{probe.name}": probe.candidate.solution.code for probe in probes}


# ── the sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Soak:
    """The command, started, watched, killed and continued until it ends by itself."""

    def __init__(
        self, client: Any, inputs: Inputs, db: Path, temporary: Path, mark: str, chance: random.Random
    ) -> None:
        self.client, self.db, self.chance = client, db, chance
        self.words = [sys.executable, "-m", "runners.unified", "--task", f"file:{inputs.problems}"]
        self.words += ["--generations", str(inputs.generations), "--db", str(db)]
        self.environment = {**os.environ, "TMPDIR": str(temporary), "TOUCHSTONE_SOAK": mark}
        self.seen = Seen()
        self._stored: dict[tuple[int, ...], bytes] = {}
        self._container_dies = 0
        """With so many samples stored."""

    def run(self, samples: int, kills: int) -> Seen:
        """Every session, up to the one that ends by itself."""
        early = set(self.chance.sample(range(kills), round(AT_START * kills)))
        goals = sorted(self.chance.randrange(int(KILLED_WITHIN * samples)) for _ in range(kills - len(early)))
        for number in range(kills):
            if number in early:
                self._session(self.chance.uniform(0.0, START_S), 0, samples)
            else:
                self._session(0.0, goals.pop(0), samples)
            if self.seen.exit_code is not None:  # it has ended before its time
                return self.seen
        self._session(None, samples, samples)
        return self.seen

    def _session(self, after_s: float | None, goal: int, samples: int) -> None:
        """One session, killed so long after its start and with so many samples stored; None: not killed."""
        resume = ["--resume", "latest"] if self._rows("SELECT run_id FROM runs") else []
        log = self.db.parent.parent / "log.txt"
        with log.open("w") as file:
            child = subprocess.Popen(
                [*self.words, *resume],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )
        self.seen.pids.add(child.pid)
        start, begun = time.monotonic(), self._count()
        measured = start
        self.seen.runner.clear()
        try:
            while child.poll() is None:
                now, count = time.monotonic(), self._count()
                if after_s is not None and now - start >= after_s and count >= goal:
                    break
                if now - measured >= MEASURE_S:
                    measured = now
                    self._measure(child.pid, count > begun, count if count < RESTLESS_WITHIN * samples else 0)
                time.sleep(LOOK_S)
        finally:
            if child.poll() is None:
                child.kill()
                self.seen.runners_killed += 1
            else:
                self.seen.exit_code = child.returncode
            child.wait()
        self._compare()
        if self.seen.exit_code:
            print(log.read_text()[-2000:], file=sys.stderr)

    def _measure(self, pid: int, judging: bool, stored: int) -> None:
        """The runner's size and its agents', once samples come; and one of its containers ended, when it is time.

        stored: samples; 0 where the containers are left in peace.
        """
        from docker.errors import DockerException

        own = [entry["Id"] for entry in witness.containers(self.client) if witness.owner(entry) == pid]
        self.seen.containers.update(own)
        if not judging:
            return
        with suppress(OSError):
            self.seen.runner.append((witness.resident(pid), len([*Path(f"/proc/{pid}/fd").iterdir()])))
        for name, size in witness.agents(own).items():
            self.seen.agents.setdefault(name, []).append(size)
        if own and stored > self._container_dies:
            with suppress(DockerException):  # it may have ended meanwhile
                self.client.api.kill(self.chance.choice(sorted(own)))
                self.seen.containers_killed += 1
            self._container_dies = stored + int(CONTAINER_EVERY * self.chance.uniform(0.2, 1.8))

    def _compare(self) -> None:
        """What is stored beside what was."""
        rows = self._rows('SELECT problem, "index", turn, status, body FROM samples')
        graded = (row for row in rows if Status(row[3]).graded)  # what is not is judged again
        now = {row[:3]: hashlib.sha256(f"{row[3]} {row[4]}".encode()).digest() for row in graded}
        self.seen.lost += len(self._stored.keys() - now.keys())
        self.seen.changed += sum(now.get(key, body) != body for key, body in self._stored.items())
        self.seen.sandbox_errors.update(_detail(row[4]) for row in rows if row[3] == Status.SANDBOX_ERROR)
        self._stored = now

    def _count(self) -> int:
        rows = self._rows("SELECT count(*) FROM samples")
        return int(rows[0][0]) if rows else 0

    def _rows(self, query: str) -> list[Any]:
        return list(_query(self.db, query))


def _query(db: Path, query: str) -> Iterator[tuple[Any, ...]]:
    """Rows of a database that another process may be writing; none where it is not there yet."""
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=30.0)) as reading:
            yield from reading.execute(query).fetchall()
    except sqlite3.OperationalError:
        return


# ── what is measured ─────────────────────────────────────────────────────────────────────────────────────────────────


def _listed(db: Path) -> dict[str, Any]:
    """The runs, as the user's own listing has them."""
    words = [sys.executable, "-m", "runners.runs", "list", "--json", "--db", str(db)]
    runs = json.loads(subprocess.run(words, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return {"runs": [{name: run[name] for name in ("status", "n_samples")} for run in runs]}


def _judged(db: Path, inputs: Inputs) -> dict[str, Any]:
    """The database's verdicts beside those that there should be."""
    query = 'SELECT task_id, "index", samples.status, body FROM samples JOIN problems ON problems.id = problem'
    rows = list(_query(db, query))
    found = {(task, index): status for task, index, status, _ in rows}
    details = {(task, index): _detail(body) for task, index, _, body in rows}
    ledger = Counter(found.values())
    return {
        "graded": sum(number for status, number in ledger.items() if Status(status).graded),
        "ledger": dict(sorted(ledger.items())),
        "missing": len((inputs.real.keys() | inputs.hostile.keys()) - found.keys()),
        "duplicates": len(rows) - len(found),
        "differ_from_reference": [
            [*key, found[key], details[key]]
            for key, sample in inputs.real.items()
            if key in found and (found[key] == Status.PASSED) is not good(sample)
        ],
        "unsteady": _unsteady(found, details, inputs),
        "hostile_passed": sorted({name for key, name in inputs.hostile.items() if found.get(key) == Status.PASSED}),
    }


def _unsteady(found: Mapping[Key, str], details: Mapping[Key, str], inputs: Inputs) -> dict[str, dict[str, int]]:
    """Real samples that were not judged alike each time that they came: their statuses and details, counted."""
    judged: dict[str, list[Key]] = {}
    for key, sample in inputs.real.items():
        if key in found:
            judged.setdefault(f"{sample['task_id']} {sample['index']}", []).append(key)
    return {
        name: dict(Counter(f"{found[key]}: {details[key]}" for key in keys))
        for name, keys in judged.items()
        if len({found[key] for key in keys}) > 1
    }


def _detail(body: str) -> str:
    """Why a stored sample got its status."""
    return str(json.loads(body)["verdict"]["detail"])


def _fifths(series: Sequence[int]) -> dict[str, float]:
    """The medians of the first and the last fifth."""
    size = max(1, len(series) // 5)
    return {"first": median(series[:size] or [0]), "last": median(series[-size:] or [0]), "readings": len(series)}


if __name__ == "__main__":
    launch(main)
