"""lm-eval's model, whose answers come from elsewhere: each request is asked for as soon as a task has made it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from adapters.hosts.wire import Line

MAX_TOKENS = 256
"""The limit of an answer's tokens where a task states none, as lm-eval's own models have it."""
KNOWN = {"until", "max_gen_toks", "max_tokens", "do_sample", "temperature", "top_p"}
"""What of a task's `generation_kwargs` can be asked for."""
PREFIX = "Your answer has begun as follows. Go on right where this ends, and do not repeat it:"


class Lost:
    """In place of an answer that could not be had."""


LOST = Lost()


class Chat(str):
    """Messages as JSON, which lm-eval hands on as it does a prompt."""

    __slots__ = ()


class Questions:
    """The requests of all tasks, by document, place and repeat.

    prefill: whether the model continues a last turn of the assistant's. references: whether to say
    what would be right.
    """

    def __init__(self, line: Line, *, prefill: bool, references: bool) -> None:
        self._line, self._prefill, self._references = line, prefill, references
        self._numbers: dict[tuple[int, int], int] = {}
        """(an instance's identity, repeat) → the number under which its answer comes."""
        self._instances: list[Instance] = []  # kept, so that no identity is given twice
        self._turns: Counter[tuple[str, int]] = Counter()

    def ask(self, task: Any, instance: Instance) -> None:
        """Ask for the answers to a request, as often as it is repeated."""
        self._instances.append(instance)
        name, doc_id = str(instance.task_name), int(instance.doc_id or 0)
        turn = self._turns[name, doc_id]
        self._turns[name, doc_id] += 1
        request = {
            "suite": name,
            "task_id": str(doc_id),
            "turn": turn,
            "prompt": self._prompt(instance),
            "params": params(instance.args[1]) if instance.request_type == "generate_until" else {},
            "continuation": None if instance.request_type == "generate_until" else instance.args[-1],
            **(answers(task, instance) if self._references else {"reference": "", "wrong": [""]}),
        }
        for repeat in range(instance.repeats or 1):
            self._numbers[id(instance), repeat] = self._line.ask({"ask": {**request, "index": repeat}})

    def reply(self, task: Any, instance: Instance, repeat: int) -> dict[str, Any]:
        """Wait for an answer."""
        if (id(instance), repeat) not in self._numbers:  # of a task that makes its requests in a way of its own
            self.ask(task, instance)
        return self._line.reply(self._numbers[id(instance), repeat])

    def _prompt(self, instance: Instance) -> str | list[list[str]]:
        if instance.request_type == "loglikelihood_rolling":
            return ""
        context = instance.args[0]
        if not isinstance(context, Chat):
            return str(context)
        messages = json.loads(context)
        if messages[-1]["role"] == "assistant" and not self._prefill and len(messages) > 1:
            prefix = messages.pop()["content"]
            messages[-1]["content"] += f"\n\n{PREFIX}\n\n{prefix}"
        return [[message["role"], message["content"]] for message in messages]


class Bridge(LM):
    """The model that lm-eval is given."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: Any = None
        """Where answers come from: set before it is asked any."""
        self.tasks: dict[str, Any] = {}

    @property
    def tokenizer_name(self) -> str:
        """For lm-eval's cache of requests, which is not used."""
        return ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:  # noqa: ARG002
        """The messages as they are: the provider has the template."""
        return Chat(json.dumps(chat_history, ensure_ascii=False))

    def chat_template(self, chat_template: bool | str = False) -> str:  # noqa: ARG002
        """None of its own."""
        return ""

    def generate_until(self, requests: list[Instance]) -> list[Any]:
        """The answers, each up to the first of its stops."""
        return [
            LOST if "text" not in reply else until(reply["text"], stops(request.args[1]))
            for request, reply in self._replies(requests)
        ]

    def loglikelihood(self, requests: list[Instance]) -> list[Any]:
        """(log-probability, whether greedy decoding would give it) of each continuation."""
        return [
            LOST if "logprob" not in reply else (reply["logprob"], reply["greedy"])
            for _, reply in self._replies(requests)
        ]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[Any]:
        """The log-probability of each text."""
        return [reply.get("logprob", LOST) for _, reply in self._replies(requests)]

    def _replies(self, requests: Sequence[Instance]) -> list[tuple[Instance, dict[str, Any]]]:
        # A request that is repeated stands there so many times, each time the same object.
        seen: Counter[int] = Counter()
        replies = []
        for request in requests:
            task = self.tasks[str(request.task_name)]
            replies.append((request, self.questions.reply(task, request, seen[id(request)])))
            seen[id(request)] += 1
        return replies


def stops(settings: dict[str, Any]) -> list[str]:
    """Where an answer ends."""
    given = settings.get("until") or []
    return [stop for stop in ([given] if isinstance(given, str) else given) if stop]


def until(text: str, ends: Sequence[str]) -> str:
    """A text up to the earliest of its ends."""
    found = [at for end in ends if (at := text.find(end)) >= 0]
    return text[: min(found, default=None)]


def params(settings: dict[str, Any]) -> dict[str, Any]:
    """A task's `generation_kwargs` as sampling parameters: greedy, unless it says otherwise."""
    temperature = settings.get("temperature")
    if settings.get("do_sample") is False or (temperature is None and not settings.get("do_sample")):
        temperature = 0.0
    return {
        "temperature": None if temperature is None else float(temperature),
        "top_p": settings.get("top_p"),
        "max_tokens": int(settings.get("max_gen_toks") or settings.get("max_tokens") or MAX_TOKENS),
        "stop": stops(settings),
    }


def answers(task: Any, instance: Instance) -> dict[str, Any]:
    """What the control models answer: as far as it can be told from a task what would be right."""
    doc, code = instance.doc, getattr(task, "runs_code", False)
    if instance.request_type != "generate_until":
        return {"reference": instance.args[-1] if _is_gold(task, instance) else "", "wrong": [""]}
    if code and (solution := _solution(doc)):
        right, wrong = solution, "    return None\n"
    else:
        target = task.doc_to_target(doc)
        if isinstance(target, int) and task.config.doc_to_choice is not None:
            target = task.doc_to_choice(doc)[target]
        right, wrong = str(target[0] if isinstance(target, list) and target else target), "I cannot say."
    if "```" in (task.config.gen_prefix or ""):
        right = f"\n{right}\n```\n"
    return {"reference": right, "wrong": [wrong]}


def _solution(doc: dict[str, Any]) -> str | None:
    """The reference solution, where a document has one in one of the forms in use."""
    if "canonical_solution" in doc:  # HumanEval's
        return str(doc["canonical_solution"])
    if "code" in doc and "test_list" in doc:  # MBPP's
        return str(doc["code"])
    if {"code", "input", "output"} <= doc.keys():  # CRUXEval's, which ask for one of the two
        return f"assert f({doc['input']}) == {doc['output']}"
    return None


def _is_gold(task: Any, instance: Instance) -> bool:
    if task.OUTPUT_TYPE != "multiple_choice":
        return True
    gold = task.doc_to_text(instance.doc) if task.multiple_input else task.doc_to_target(instance.doc)
    if isinstance(gold, str):
        choices = task.doc_to_choice(instance.doc)
        gold = choices.index(gold) if gold in choices else -1
    return instance.idx in gold if isinstance(gold, list) else instance.idx == gold
