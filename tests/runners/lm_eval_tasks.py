"""Small tasks of lm-eval's, one of each kind, with data of their own, and what answers them."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.loopback import Fault, Received
from tests.loopback.scoring import ScoringServer
from tests.runners.conftest import Program
from tests.runners.processes import rows, wait_for

SUMS = """\
task: sums
dataset_path: nobody/sums
output_type: generate_until
test_split: test
doc_to_text: "{{question}}\\nA:"
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: false}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
metadata: {version: 1}
"""
VOTES = """\
include: sums.yaml
task: votes
repeats: 3
doc_to_text: "Think. {{question}}\\nA:"
generation_kwargs: {until: ["\\n"], max_gen_toks: 16, do_sample: true, temperature: 0.7}
filter_list: [{name: vote, filter: [{function: majority_vote}, {function: take_first}]}]
"""
DRAWS = """\
include: STOCK/humaneval/humaneval.yaml
task: draws
dataset_path: nobody/programs
repeats: 3
generation_kwargs: {until: ["\\ndef"], max_gen_toks: 64, do_sample: true, temperature: 0.8}
"""
BOTH = """\
group: both
task: [sums, votes]
aggregate_metric_list: [{metric: exact_match, aggregation: mean, weight_by_size: true, filter_list: [none, vote]}]
metadata: {version: 1}
"""
MEMBERS = {"both": ("sums", "votes")}
N_SUMS, N_CHOICES, N_PROGRAMS = 6, 4, 3
CHOICES = 3
"""Of each document of arc_easy."""


def stock() -> Path:
    """The folder of lm-eval's own tasks."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations
    return Path(next(iter(spec.submodule_search_locations))) / "tasks"


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    """A file of JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def write(folder: Path) -> tuple[str, ...]:
    """The options with which the tasks `sums`, `votes` and `draws`, and the group `both`, are found."""
    tasks = folder / "tasks"
    tasks.mkdir()
    for name, text in (("sums", SUMS), ("votes", VOTES), ("draws", DRAWS), ("both", BOTH)):
        (tasks / f"{name}.yaml").write_text(text.replace("STOCK", str(stock())))
    return "--include-path", str(tasks)


def datasets(folder: Path, *names: str) -> tuple[str, ...]:
    """The options with which tasks get their data."""
    files = {"sums": sums, "votes": sums, "arc_easy": choices, "draws": programs}
    given = {name: write_lines(folder / f"{files[name].__name__}.jsonl", files[name]()) for name in names}
    return tuple(word for name, path in given.items() for word in ("--dataset", f"{name}={path}"))


def sums() -> list[dict[str, Any]]:
    return [{"question": f"Q: {n} + {n} ?", "answer": str(2 * n)} for n in range(N_SUMS)]


def choices() -> list[dict[str, Any]]:
    return [
        {
            "question": f"What is {n}?",
            "choices": {"text": [f"the number {n}", "a letter", "none of the two"], "label": ["A", "B", "C"]},
            "answerKey": "ABC"[n % 3],
        }
        for n in range(N_CHOICES)
    ]


def programs() -> list[dict[str, Any]]:
    """In HumanEval's form."""
    return [
        {
            "task_id": f"HumanEval/{n}",
            "prompt": f"def add{n}(x):\n",
            "canonical_solution": f"    return x + {n}\n",
            "test": f"def check(candidate):\n    assert candidate(40) == {40 + n}\n",
            "entry_point": f"add{n}",
        }
        for n in range(N_PROGRAMS)
    ]


def answer(body: dict[str, Any]) -> str:
    """Right or wrong, as the prompt and the seed have it."""
    prompt = body["prompt"]
    right = hashlib.sha256(f"{prompt} {body.get('seed')}".encode()).digest()[0] < 150
    if program := re.match(r"def add(\d)", prompt):
        return f"    return x + {program[1] if right else 7}\n"
    n = int(re.findall(r"Q: (\d+)", prompt)[-1])
    return f"{2 * n}\n" if right else "7\n"


@dataclass(frozen=True)
class Run:
    """The options of a run, and what comes of it where nothing goes wrong."""

    program: Program
    given: tuple[str, ...]
    document: dict[str, Any]
    asked: Counter[str]
    """What was asked: see `texts`."""


def undisturbed(folder: Path, *tasks: str) -> Run:
    """A run of tasks, without a cache."""
    named = (word for name in tasks for word in ("-t", name))
    members = [member for name in tasks for member in MEMBERS.get(name, (name,))]
    given = ("-m", "openai/m", "--seed", "7", "--no-cache", *named, *write(folder), *datasets(folder, *members))
    program = Program(folder / "undisturbed.db")
    with ScoringServer(answer) as server:
        (document,) = program.documents(*given, OPENAI_BASE_URL=server.url)
        return Run(program, given, document, texts(server.requests))


def texts(requests: Iterable[Received]) -> Counter[str]:
    """What was asked, each as often as it was: a prompt and its seed, or a text to be scored."""
    return Counter(f"{request.body['prompt']} {request.body.get('seed')}" for request in requests)


def stored(program: Program) -> Counter[str]:
    """What a run that is stored has answers to, as `texts` has it."""
    with closing(sqlite3.connect(program.db)) as db:
        rows = db.execute(
            'SELECT prompts.body, completions.body, completions."index" FROM completions, prompts '
            "WHERE prompt_hash = hash"
        ).fetchall()
    found: Counter[str] = Counter()
    for prompt, body, index in rows:
        completion = json.loads(body)
        scored = completion.get("logprob") is not None
        text = json.loads(prompt) + (completion["text"] if scored else "")
        found[f"{text} {None if scored else 7 + index}"] += 1
    return found


def figures(document: dict[str, Any]) -> dict[str, Any]:
    """What a run came to, by suite and group."""
    groups = {group["name"]: group["metrics"] for group in document.get("groups", ())}
    return groups | {result["suite"]: (result["metrics"], result["ledger"]) for result in document["results"]}


class Gate:
    """Lets so many requests through; those after them wait until it is opened."""

    def __init__(self, n: int) -> None:
        self._room, self._open = threading.Semaphore(n), threading.Event()

    def __call__(self, _: dict[str, Any]) -> Fault | None:
        if not self._open.is_set() and not self._room.acquire(blocking=False):
            self._open.wait(120)
        return None

    def open(self) -> None:
        self._open.set()


def hosts(pid: int, harness: str = "lm_eval") -> list[int]:
    """The processes with a harness that a process has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if parent == pid and f"adapters.hosts.{harness}".encode() in words:
            found.append(int(folder.name))
    return found


def gone(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def halfway(program: Program, n: int, at_once: int, server: ScoringServer) -> None:
    """Wait until a run has stored n answers and asked for so many more."""
    wait_for(lambda: len(server.requests) >= n + at_once and len(rows(program, "completions")) >= n)
