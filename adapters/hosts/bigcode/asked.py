"""One task of the harness's: what it asks, what becomes of the answers, and what it reports."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from adapters import extraction, humaneval
from adapters.hosts.bigcode import execution
from adapters.hosts.bigcode.registry import module_of
from adapters.hosts.wire import Line

EOS = "<|endoftext|>"
ASK = "Complete the following program. Answer with the whole program, in one fenced block that begins with ```{}."


class Asked:
    """A task that is evaluated."""

    at_work: ClassVar[Asked]
    """The one whose results are being processed."""

    def __init__(self, name: str, task: Any, line: Line, job: Mapping[str, Any]) -> None:
        self.name, self.task, self._line = name, task, line
        self._params: dict[str, Any] = job["params"]
        self._module = module_of(type(task).__mro__[1] if type(task).__module__ == "" else type(task))
        dataset = task.get_dataset()
        count = len(dataset) if job["limit"] is None else min(job["limit"], len(dataset))
        self._docs = [dataset[number] for number in range(count)]
        self._ids = self._named()
        self._chat = self._final = self._references = False
        self._repeats = 1
        self._numbers: dict[tuple[int, int], int] = {}
        self._kept: list[tuple[int, list[int]]] = []
        """The documents that are evaluated, and the samples of each."""

    def put(self, put: Mapping[str, Any]) -> None:
        """See how it is to be put."""
        self._chat, self._final, self._references = put["chat"], put["final"], put["references"]
        self._repeats = put["repeats"] or 1

    def description(self) -> dict[str, Any]:
        """What is about to be asked."""
        digest = hashlib.sha256()
        for doc in self._docs:
            digest.update(json.dumps(doc, default=str, sort_keys=True).encode())
        language = self._language()
        return {
            "name": self.name,
            "version": VERSION,
            "data_hash": digest.hexdigest(),
            "ids": self._ids,
            "turns": [1] * len(self._docs),
            "repeats": self._repeats,
            "output": ["generate_until"],
            "languages": [language] if language else [],
            "params": {**self._params, "stop": self._stops()},
        }

    def ask(self) -> None:
        """Ask for all of its generations."""
        for number, doc in enumerate(self._docs):
            request = {
                "suite": self.name,
                "task_id": self._ids[number],
                "turn": 0,
                "prompt": self._prompt(doc),
                "params": {**self._params, "stop": self._stops()},
                "continuation": None,
                **self._answers(doc),
            }
            for repeat in range(self._repeats):
                self._numbers[number, repeat] = self._line.ask({"ask": {**request, "index": repeat}})

    def evaluate(self) -> None:
        """Process the answers as the harness does, and say what it finds."""
        generations: list[list[str]] = []
        self._kept.clear()
        for number in range(len(self._docs)):
            replies = [self._line.reply(self._numbers[number, repeat]) for repeat in range(self._repeats)]
            places = [repeat for repeat, reply in enumerate(replies) if "text" in reply]
            if places:
                self._kept.append((number, places))
                generations.append([self._generation(number, replies[repeat]["text"]) for repeat in places])
        for of_one, (number, _) in zip(generations, self._kept, strict=True):
            self._line.tell({"generations": {"suite": self.name, "number": number, "of": of_one}})
        results = self._processed(generations) if generations else {}
        for number, _ in self._kept:
            self._line.tell({"document": {"suite": self.name, "task_id": self._ids[number], "reported": {}}})
        for number in {*range(len(self._docs))} - {number for number, _ in self._kept}:
            self._line.tell({"document": {"suite": self.name, "task_id": self._ids[number], "reported": {}}})
        self._line.tell({"row": self._row(results)})

    def run(self, programs: execution.Programs, language: str) -> list[list[bool | None]]:
        """Have programs executed: those of the documents and samples that are kept, in their order."""
        numbers = [
            [self._execute(number, place, program, language) for place, program in zip(places, of_one, strict=True)]
            for (number, places), of_one in zip(self._kept, programs, strict=True)
        ]
        return [[self._line.reply(number)["passed"] for number in of_one] for of_one in numbers]

    # ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────

    def _named(self) -> list[str]:
        """The documents' own names, where each has one."""
        for field in ("task_id", "name"):
            names = [str(doc.get(field, "")) for doc in self._docs]
            if all(names) and len(set(names)) == len(names):
                return names
        return [str(number) for number in range(len(self._docs))]

    def _prompt(self, doc: Any) -> str | list[list[str]]:
        prompt = self.task.get_prompt(doc)
        if isinstance(prompt, dict):  # an instruction, and what the answer begins with
            instruction, context = prompt["instruction"], prompt["context"]
            return [["user", f"{instruction}\n\n{context}".strip()]] if self._chat else instruction + context
        if not self._chat:
            return str(prompt)
        if self._module == "humanevalpack":
            return [["user", prompt]]
        label = {"javascript": "js"}.get(self._language() or "", self._language() or "")
        return [["user", f"{ASK.format(label)}\n\n```{label}\n{prompt}\n```"]]

    def _stops(self) -> list[str]:
        return [*dict.fromkeys([*(self.task.stop_words or ()), EOS])]

    def _language(self) -> str | None:
        """The sandbox's name of what is executed; None: nothing is."""
        if not getattr(self.task, "requires_execution", False):
            return None
        if self._module == "multiple":
            return execution.LANGUAGES[str(self.task.language)]
        if self._module == "humanevalpack":
            return execution.LANGUAGES[str(self.task.DATASET_NAME)]
        return "python"

    def _answers(self, doc: Any) -> dict[str, Any]:
        """What the control models answer."""
        if not self._references:
            return {"reference": "", "wrong": [""]}
        right = str(doc.get("canonical_solution") or doc.get("code") or "")
        prompt = self.task.get_prompt(doc)
        if isinstance(prompt, str) and not prompt.endswith("\n") and not self._chat:
            right = "\n" + right
        wrong = str(doc.get("buggy_solution") or "\n    return None\n")
        if self._chat:
            whole = f"{doc.get('prompt', '')}{doc.get('canonical_solution', '') or doc.get('code', '')}"
            right, wrong = f"```\n{whole}\n```", f"```\n{doc.get('prompt', '')}{wrong}\n```"
        return {"reference": right, "wrong": [wrong]}

    # ── what becomes of it ───────────────────────────────────────────────────────────────────────────────────────────

    def _generation(self, number: int, text: str) -> str:
        """A generation as the harness's own files have it."""
        if self._final:
            return text
        doc = self._docs[number]
        prompt = self.task.get_prompt(doc)
        if isinstance(prompt, dict):
            prompt = prompt["context"]
        if self._chat and (whole := self._whole(doc, text)) is not None:
            return whole
        generation: str = self.task.postprocess_generation(prompt + text, number)
        return generation

    def _whole(self, doc: Any, answer: str) -> str | None:
        """The program in a chat's answer; None where there is no fence, and the answer is taken as a continuation."""
        entry = str(doc.get("entry_point") or "")
        found = extraction.extract(answer, entry)
        if found is None or found.method == "raw":
            return None
        if self._language() == "python" and entry and isinstance(prompt := doc.get("prompt"), str):
            return humaneval.whole(prompt, entry, found.code)
        return found.code

    def _processed(self, generations: list[list[str]]) -> dict[str, Any]:
        """What the harness finds."""
        Asked.at_work = self
        references = [self.task.get_reference(self._docs[number]) for number, _ in self._kept]
        docs = [self._docs[number] for number, _ in self._kept]
        if len(docs) < len(self._docs) or self._module == "multiple":
            self.task.get_dataset = lambda: _Docs(docs)
        if self._module == "multiple":
            programs = [[(each, test) for each in of_one] for of_one, test in zip(generations, references, strict=True)]
            outcomes = self.run(programs, str(self._language()))
            execution.known.update({doc["name"]: passed for doc, passed in zip(docs, outcomes, strict=True)})
        results: dict[str, Any] = self.task.process_results(generations, references)
        fewest = min(len(places) for _, places in self._kept)
        return {name: value for name, value in results.items() if not _beyond(name, fewest)}

    def _execute(self, number: int, place: int, program: tuple[str, str], language: str) -> int:
        solution, tests = program
        key = {"suite": self.name, "task_id": self._ids[number], "index": place, "rank": 0}
        return self._line.ask({"execute": {**key, "solution": solution, "tests": tests, "language": language}})

    def _row(self, results: Mapping[str, Any]) -> dict[str, Any]:
        metrics = {
            f"{name},bigcode": {"value": _number(value), "stderr": None, "n": len(self._kept)}
            for name, value in results.items()
            if _number(value) is not None
        }
        return {
            "name": self.name,
            "group": False,
            "members": [],
            "metrics": metrics,
            "higher_is_better": dict.fromkeys(results, True),
            "details": {"version": VERSION, "results": json.loads(json.dumps(results, default=str))},
        }


VERSION = "8fc5bae"


class _Docs(list[Any]):
    """Documents as a data set, as far as the harness looks."""

    def select(self, numbers: Sequence[int]) -> list[Any]:
        """Some of them."""
        return [self[number] for number in numbers]


def _beyond(name: str, fewest: int) -> bool:
    """Whether a figure is a pass@k with fewer samples than k."""
    k = name.removeprefix("pass@")
    return name.startswith("pass@") and k.isdecimal() and int(k) > fewest


def _number(value: Any) -> float | None:
    try:
        figure = float(value)
    except (TypeError, ValueError):
        return None
    return figure if math.isfinite(figure) else None
