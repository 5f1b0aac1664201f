"""One task of the harness's: its questions, the executions that it asks for, and what it reports."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from adapters.hosts.bigcode import execution
from adapters.hosts.bigcode.problems import Problems
from adapters.hosts.bigcode.rows import Rows
from adapters.hosts.wire import Line, finite

MULTIPLE_S = 15.0
"""MultiPL-E's limit for Python, as its evaluator has it."""


class Asked:
    """A task that is evaluated."""

    at_work: ClassVar[Asked]
    """The one whose results are being processed."""

    def __init__(self, name: str, task: Any, line: Line, job: Mapping[str, Any]) -> None:
        self.name, self.task, self._line = name, task, line
        self._params: dict[str, Any] = job["params"]
        self._problems = Problems(name, task, job["stop"], job["limit"])
        self._repeats = 1
        self._numbers: dict[tuple[int, int], int] = {}
        self._kept: list[tuple[int, list[int]]] = []
        """The documents that are evaluated, and the samples of each."""
        self._generations: list[list[str]] = []
        """Theirs."""
        self._by_text: dict[str, list[tuple[int, int]]] = {}
        """The samples of each text."""
        self._ranks: Counter[tuple[int, int]] = Counter()
        """How many programs of a sample have been executed."""
        self._judged: set[tuple[int, int]] = set()
        """The samples that could be judged."""

    def put(self, put: Mapping[str, Any]) -> None:
        """See how it is to be put."""
        self._problems.put(put)
        self._repeats = put["repeats"] or 1

    def description(self) -> dict[str, Any]:
        """What is about to be asked."""
        digest = hashlib.sha256()
        for doc in self._problems.docs:
            digest.update(json.dumps(doc, default=str, sort_keys=True).encode())
        language = self._problems.language()
        return {
            "name": self.name,
            "version": VERSION,
            "data_hash": digest.hexdigest(),
            "ids": self._problems.ids,
            "turns": [1] * len(self._problems.docs),
            "repeats": self._repeats,
            "output": ["generate_until"],
            "languages": [language] if language else [],
            "params": {**self._params, "stop": self._problems.stops()},
        }

    def ask(self) -> None:
        """Ask for all of its generations."""
        for number, doc in enumerate(self._problems.docs):
            request = {
                "suite": self.name,
                "task_id": self._problems.ids[number],
                "turn": 0,
                "prompt": self._problems.prompt(doc),
                "params": {**self._params, "stop": self._problems.stops()},
                "continuation": None,
                **self._problems.answers(doc),
            }
            for repeat in range(self._repeats):
                self._numbers[number, repeat] = self._line.ask({"ask": {**request, "index": repeat}})

    def evaluate(self) -> None:
        """Process the answers as the harness does, and say what it finds."""
        generations = self._generations
        for number in range(len(self._problems.docs)):
            replies = [self._line.reply(self._numbers[number, repeat]) for repeat in range(self._repeats)]
            places = [repeat for repeat, reply in enumerate(replies) if "text" in reply]
            if places:
                self._kept.append((number, places))
                generations.append([self._problems.generation(number, replies[repeat]["text"]) for repeat in places])
        for of_one, (number, _) in zip(generations, self._kept, strict=True):
            self._line.tell({"generations": {"suite": self.name, "number": number, "of": of_one}})
        results = self._processed(generations) if generations and not self._problems.describes else {}
        for task_id in self._problems.ids:
            self._line.tell({"document": {"suite": self.name, "task_id": task_id, "reported": {}}})
        self._line.tell({"row": self._row(results)})

    def run(self, programs: execution.Programs, language: str, timeout: float | None) -> list[list[bool | None]]:
        """Have programs executed: of the samples that are kept, some or all of them, in whatever order."""
        places = self._places(programs)
        numbers = [
            [self._execute(place, program, language, timeout) for place, program in zip(of_places, of_one, strict=True)]
            for of_places, of_one in zip(places, programs, strict=True)
        ]
        outcomes = [[self._line.reply(number)["passed"] for number in of_one] for of_one in numbers]
        for of_places, of_one in zip(places, outcomes, strict=True):
            self._judged.update(place for place, passed in zip(of_places, of_one, strict=True) if passed is not None)
        return outcomes

    def _places(self, programs: execution.Programs) -> list[list[tuple[int, int]]]:
        """Which sample each program is of: by its place, or by its text where the metric is asked in another shape."""
        shape = [[(number, place) for place in places] for number, places in self._kept]
        if [len(of_one) for of_one in programs] == [len(of_one) for of_one in shape]:
            return shape
        if not self._by_text:
            for of_places, of_one in zip(shape, self._generations, strict=True):
                for place, text in zip(of_places, of_one, strict=True):
                    self._by_text.setdefault(text, []).append(place)
        # A text that several samples share is each of them in turn.
        return [[_next(self._by_text[solution]) for solution, _ in of_one] for of_one in programs]

    def _processed(self, generations: list[list[str]]) -> dict[str, Any]:
        """What the harness finds."""
        Asked.at_work = self
        references = [self.task.get_reference(self._problems.docs[number]) for number, _ in self._kept]
        docs = Rows(self._problems.docs[number] for number, _ in self._kept)
        if self._problems.module == "multiple":
            for earlier in Path(tempfile.gettempdir()).glob("*.results.json"):  # of another of its tasks
                earlier.unlink()
            programs = [[(each, test) for each in of_one] for of_one, test in zip(generations, references, strict=True)]
            limit = MULTIPLE_S if self._problems.language() == "python" else None
            outcomes = self.run(programs, str(self._problems.language()), limit)
            execution.known.update(
                {
                    doc["name"]: [ok for ok in of_one if ok is not None]
                    for doc, of_one in zip(docs, outcomes, strict=True)
                }
            )
            # A problem without an outcome would be one that is solved.
            there = [i for i, doc in enumerate(docs) if execution.known[doc["name"]]]
            docs, generations = docs.select(there), [generations[i] for i in there]
            references = [references[i] for i in there]
        self.task.get_dataset = lambda: docs
        # A copy, since some tasks write over what they are given.
        results = self.task.process_results([list(of_one) for of_one in generations], references) if generations else {}
        if self._problems.module in WHOLE and self._lacks():
            return {}
        fewest = min(self._counts().values(), default=0)
        return {
            name: value for name, value in _flat(results).items() if not (_beyond(name, fewest) or _undefined(value))
        }

    def _counts(self) -> Mapping[int, int]:
        """How many samples of each document its figures are of."""
        if self._problems.language() is None:
            return {number: len(places) for number, places in self._kept}
        return Counter(number for number, _ in self._judged)

    def _lacks(self) -> bool:
        """Whether an answer or an outcome is lacking."""
        return sum(self._counts().values()) < len(self._problems.docs) * self._repeats

    def _execute(self, place: tuple[int, int], program: tuple[str, str], language: str, timeout: float | None) -> int:
        solution, tests = program
        number, index = place
        key = {"suite": self.name, "task_id": self._problems.ids[number], "index": index, "rank": self._ranks[place]}
        self._ranks[place] += 1
        told = {**key, "solution": solution, "tests": tests, "language": language, "timeout": timeout}
        return self._line.ask({"execute": told})

    def _row(self, results: Mapping[str, Any]) -> dict[str, Any]:
        metrics = {
            f"{name},bigcode": {"value": finite(value), "stderr": None, "n": len(self._counts())}
            for name, value in results.items()
            if finite(value) is not None
        }
        return {
            "name": self.name,
            "group": False,
            "members": [],
            "metrics": metrics,
            "higher_is_better": dict.fromkeys(results, True),
            "details": {
                "version": VERSION,
                "results": json.loads(json.dumps(results, default=str), parse_constant=str),
            },
        }


VERSION = "8fc5bae"
WHOLE = ("parity", "python_bugs", "recode")
"""The modules of tasks whose figures mean something only where no sample is lost: they go by places, by groups, or
by the number of the first document's samples."""


def _next(places: list[tuple[int, int]]) -> tuple[int, int]:
    places.append(places.pop(0))
    return places[-1]


def _flat(results: Mapping[str, Any]) -> dict[str, Any]:
    """Figures that stand in several tables of a task's, under the names of both."""
    flat: dict[str, Any] = {}
    for name, value in results.items():
        flat |= {f"{name} {inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _beyond(name: str, fewest: int) -> bool:
    """Whether a figure is a pass@k with fewer samples than k."""
    _, at, k = name.rpartition("pass@")
    return bool(at) and k.isdecimal() and int(k) > fewest


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
