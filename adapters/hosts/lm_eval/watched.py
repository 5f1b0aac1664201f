"""A task of lm-eval's, watched while lm-eval evaluates it.

Its requests go out as they are made, what it would execute is executed elsewhere, and documents without an answer stay
out of its figures.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.task import ConfigurableTask
from lm_eval.utils import handle_non_serializable

from adapters.hosts.lm_eval.bridge import KNOWN, LOST, Questions, params
from adapters.hosts.lm_eval.code import CodeEval, Program, Verdicts, hook
from adapters.hosts.wire import Line

EMPTY = {"generate_until": "", "loglikelihood": (0.0, False), "loglikelihood_rolling": 0.0}
"""What filters get in place of an answer that is lost; its document counts in no figure."""


class Watched:
    """One task. Its methods are replaced on the object alone; lm-eval itself is not changed."""

    def __init__(self, task: Any, line: Line, questions: Questions, metric: CodeEval, verdicts: Verdicts) -> None:
        self.task, self.name = task, str(task.task_name)
        self._line, self._questions, self._verdicts = line, questions, verdicts
        task.runs_code = hook(task, metric, verdicts)
        self._lost: set[int] = set()
        """Documents without an answer."""
        self._doc_id = 0
        self._original = SimpleNamespace(
            construct_requests=task.construct_requests,
            apply_filters=task.apply_filters,
            process_results=task.process_results,
            doc_iterator=task.doc_iterator,
        )

    def description(self, limit: float | None) -> dict[str, Any]:
        """What is about to be asked. limit: lm-eval's: so many documents, or a share of them below 1."""
        from lm_eval.evaluator_utils import get_sample_size

        task = self.task
        docs = [doc for _, doc in task.doc_iterator(limit=get_sample_size(task, limit))]
        settings = task.config.generation_kwargs or {} if task.OUTPUT_TYPE == "generate_until" else {}
        for name in sorted(settings.keys() - KNOWN):
            self._line.tell({"say": f"{self.name}: its setting {name}={settings[name]!r} is not sent to the model"})
        return {
            "name": self.name,
            "version": str(task.VERSION),
            "data_hash": self._digest(docs),
            "turns": [self._requests(doc) for doc in docs],
            "repeats": int(task.config.repeats or 1),
            "output": self._kinds(),
            "languages": ["python"] if task.runs_code else [],
            "params": params(settings),
        }

    def install(self) -> None:
        """Watch it from here on."""
        for name in vars(self._original):
            setattr(self.task, name, getattr(self, name))

    # ── in place of the task's own ───────────────────────────────────────────────────────────────────────────────────

    def construct_requests(self, doc: Any, ctx: Any, **options: Any) -> Any:
        """A document's requests, each asked at once."""
        made = self._original.construct_requests(doc, ctx, **options)
        for instance in made if isinstance(made, list) else [made]:
            self._questions.ask(self.task, instance)
        return made

    def apply_filters(self) -> Any:
        """The answers' filters, over those that there are."""
        places = {id(instance): list(range(len(instance.resps))) for instance in self.task.instances}
        for instance in self.task.instances:
            self._keep(instance, places, [answer is not LOST for answer in instance.resps])
        if self.task.runs_code:
            self._judge(places)
        for instance in self.task.instances:
            if not instance.resps:
                self._lost.add(instance.doc_id)
                instance.resps.append(EMPTY[instance.request_type])
        return self._original.apply_filters()

    def doc_iterator(self, **options: Any) -> Iterator[tuple[int, Any]]:
        """The documents, in whose order their results are processed."""
        for doc_id, doc in self._original.doc_iterator(**options):
            self._doc_id = doc_id
            yield doc_id, doc

    def process_results(self, doc: Any, results: Any) -> Any:
        """A document's figures; none where an answer is lost."""
        return {} if self._doc_id in self._lost else self._original.process_results(doc, results)

    # ── what it would execute ────────────────────────────────────────────────────────────────────────────────────────

    def _judge(self, places: dict[int, list[int]]) -> None:
        """Have every answer's programs executed, all together; those that could not be are taken out."""
        alone = [
            (
                instance,
                place,
                Instance(instance.request_type, instance.doc, instance.arguments, 0, instance.metadata, [answer]),
            )
            for instance in self.task.instances
            for place, answer in zip(places[id(instance)], instance.resps, strict=True)
        ]
        if not alone:
            return
        for ensemble in self.task._filters:
            ensemble.apply([each for _, _, each in alone])
        asked: list[tuple[Instance, int, list[Program], list[int]]] = []
        for instance, place, each in alone:
            programs = self._programs(each)
            numbers = [self._execute(instance, place, rank, program) for rank, program in enumerate(programs)]
            asked.append((instance, place, programs, numbers))
        ungraded: set[tuple[int, int]] = set()
        for instance, place, programs, numbers in asked:
            for program, number in zip(programs, numbers, strict=True):
                passed = self._line.reply(number)["passed"]
                if passed is None:
                    ungraded.add((id(instance), place))
                self._verdicts.passed[program] = bool(passed)
        for instance in self.task.instances:
            here = [(id(instance), place) not in ungraded for place in places[id(instance)]]
            self._keep(instance, places, here)

    def _programs(self, instance: Instance) -> list[Program]:
        """What the metric would run for one answer, by each of the task's filters."""
        self._verdicts.noted = []
        try:
            for answer in instance.filtered_resps.values():
                self._original.process_results(instance.doc, [answer])
            return list(dict.fromkeys(self._verdicts.noted))
        finally:
            self._verdicts.noted = None

    def _execute(self, instance: Instance, place: int, rank: int, program: Program) -> int:
        solution, tests = program
        key = {"suite": self.name, "task_id": str(instance.doc_id), "index": place}
        return self._line.ask(
            {"execute": {**key, "rank": rank, "solution": solution, "tests": tests, "language": "python"}}
        )

    def _keep(self, instance: Instance, places: dict[int, list[int]], which: list[bool]) -> None:
        answers = zip(instance.resps, places[id(instance)], which, strict=True)
        kept = [(answer, place) for answer, place, keep in answers if keep]
        instance.resps[:] = [answer for answer, _ in kept]
        places[id(instance)] = [place for _, place in kept]

    # ── what it is made of ───────────────────────────────────────────────────────────────────────────────────────────

    def _requests(self, doc: Any) -> int:
        """How many requests a document will make."""
        task = self.task
        if type(task).construct_requests is not ConfigurableTask.construct_requests:
            made = self._original.construct_requests(doc, "", metadata=(self.name, 0, 1))
            return len(made) if isinstance(made, list) else 1
        if task.OUTPUT_TYPE != "multiple_choice":
            return 1
        return len(task.doc_to_choice(doc)) * (2 if "acc_mutual_info" in task._metric_fn_list else 1)

    def _kinds(self) -> list[str]:
        """The kinds of its requests: `generate_until`, `loglikelihood`, `loglikelihood_rolling`."""
        task = self.task
        if type(task).construct_requests is not ConfigurableTask.construct_requests:
            made = self._original.construct_requests(task.eval_docs[0], "", metadata=(self.name, 0, 1))
            return sorted({each.request_type for each in (made if isinstance(made, list) else [made])})
        return ["loglikelihood" if task.OUTPUT_TYPE == "multiple_choice" else task.OUTPUT_TYPE]

    def _digest(self, docs: list[Any]) -> str:
        """SHA-256 of the documents and of what is made of them."""
        digest = hashlib.sha256()
        settings = self.task.config.to_dict(keep_callable=True)
        for part in ({name: value for name, value in settings.items() if name != "metadata"}, *docs):
            digest.update(json.dumps(part, default=_lasting, sort_keys=True).encode())
        return digest.hexdigest()


def _lasting(value: Any) -> Any:
    """What JSON has no word for, said alike in every process: a function by its source, not by its address."""
    if isinstance(value, partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if not callable(value):
        return handle_non_serializable(value)
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
