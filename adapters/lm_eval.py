"""lm-eval: the harness itself, in a process of its own, evaluates any of its tasks. See `adapters.hosts.lm_eval`.

A suite is one of its tasks, a problem one of the task's documents, by its number. A sample is one of its repeats, and
each request that a document makes is a turn of it. Source: https://github.com/EleutherAI/lm-evaluation-harness.
"""

from __future__ import annotations

import ast
import asyncio
import builtins
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from adapters import lm_eval_index
from adapters.base import Ask, Done, Drive, Driven, DrivenSuite, Execute
from adapters.hosted import Hosted
from core.types import (
    Answers,
    Candidate,
    Completion,
    Limits,
    Message,
    Metric,
    PromptStyle,
    Reported,
    Request,
    RunSpec,
    SampleKey,
    SamplingParams,
    Solution,
    Tests,
)

LIMITS = Limits(cpu_s=3.0)
"""As the metric `code_eval` has it."""
TASKS = ("task", "py_task")
"""What lm-eval's index calls them."""


class LmEval(Driven):
    """Tasks, groups and tags of the installed lm-eval, and those of the folders that are included."""

    name = "lm-eval"
    default = ("humaneval",)

    def __init__(self, include: Sequence[str] = ()) -> None:
        self._included = lm_eval_index.included(tuple(include))

    def names(self) -> Sequence[str]:
        """Thousands. Raises UsageError with the install command where lm-eval is not there."""
        return [*self._included, *lm_eval_index.names()]

    def claims(self, name: str) -> bool:
        """Whether there is such a task, group or tag."""
        return name in self._included or name in lm_eval_index.names()

    def matching(self, pattern: str) -> Sequence[str]:
        """The tasks whose names fit: groups and tags stand for some of them again, and are named as they are."""
        known = {**lm_eval_index.names(), **self._included}
        return [name for name, told in known.items() if told["kind"] in TASKS and fnmatchcase(name, pattern)]

    def drive(self, spec: RunSpec) -> LmEvalDrive:
        """Start lm-eval on a run's suites."""
        job = {
            "tasks": [suite.name for suite in spec.suites if suite.harness == self.name],
            "index": str(lm_eval_index.path()),
            "include": list(spec.include),
            "datasets": dict(spec.datasets),
            "num_fewshot": spec.num_fewshot,
            "limit": spec.limit,
            "generation": _generation(spec.params),
            "system_prompt": spec.system_prompt,
            "multiturn": spec.fewshot_as_multiturn,
        }
        return LmEvalDrive(Hosted("adapters.hosts.lm_eval", "lm-eval", job), spec.params.seed)

    def listing(self, pattern: str) -> Sequence[Mapping[str, Any]]:
        """The tasks, groups and tags whose names fit."""
        known = {**lm_eval_index.names(), **self._included}
        return [
            {
                "harness": self.name,
                "suite": name,
                "kind": "task" if told["kind"] in TASKS else told["kind"],
                "output": told.get("output"),
                "data": told.get("data"),
                "of": len(told.get("members") or told.get("tags", ())) if told["kind"] in ("group", "tag") else None,
            }
            for name, told in sorted(known.items())
            if fnmatchcase(name, pattern)
        ]


class LmEvalDrive(Drive):
    """One evaluation by lm-eval."""

    def __init__(self, hosted: Hosted, seed: int | None) -> None:
        self._hosted, self._seed = hosted, seed
        self._expected = 0
        self._said: list[str] = []

    async def load(
        self, style: PromptStyle, n_samples: int | None, *, prefill: bool, references: bool
    ) -> tuple[DrivenSuite, ...]:
        """See `Drive.load`."""
        put = {"chat": style == "instruct", "repeats": n_samples, "prefill": prefill, "references": references}
        await self._hosted.send({"id": 0, **put})
        while "loaded" not in (message := await self._hosted.receive()):
            self._said.append(message["say"])
        suites = tuple(_suite(told, self._seed) for told in message["loaded"])
        self._expected = sum(suite.n_samples * turns for suite in suites for _, turns in suite.problems)
        return suites

    async def requests(self) -> AsyncIterator[Request]:
        """See `Drive.requests`."""
        for _ in range(self._expected):
            while "ask" not in (message := await self._hosted.receive()):
                pass
            yield self._request(message["ask"])

    async def run(
        self, ask: Ask, execute: Execute, done: Done, *, at_once: int, say: Callable[[str], None]
    ) -> tuple[Reported, ...]:
        """See `Drive.run`."""
        rows: list[Reported] = []
        room = asyncio.Semaphore(at_once)

        async def answer(number: int, request: Request) -> None:
            try:
                await self._hosted.send({"id": number, **_reply(await ask(request))})
            finally:
                room.release()

        async def judge(number: int, told: Mapping[str, Any]) -> None:
            key = SampleKey(told["suite"], told["task_id"], told["index"], told["rank"])
            await self._hosted.send(
                {"id": number, "passed": await execute(key, candidate(told["solution"], told["tests"]))}
            )

        for text in self._said:
            say(f"lm-eval: {text}")
        async with asyncio.TaskGroup() as group:
            while (message := await self._hosted.receive()) is not None:
                if "ask" in message:
                    await room.acquire()
                    group.create_task(answer(message["id"], self._request(message["ask"])))
                elif "execute" in message:
                    group.create_task(judge(message["id"], message["execute"]))
                elif "document" in message:
                    told = message["document"]
                    done(told["suite"], told["task_id"], told["reported"])
                elif "row" in message:
                    rows.append(_reported(message["row"]))
                elif "say" in message:
                    say(f"lm-eval: {message['say']}")
        return tuple(rows)

    def close(self) -> None:
        """End lm-eval."""
        self._hosted.close()

    def _request(self, told: Mapping[str, Any]) -> Request:
        prompt, params = told["prompt"], told["params"]
        return Request(
            told["suite"],
            told["task_id"],
            told["index"],
            told["turn"],
            prompt if isinstance(prompt, str) else tuple(Message(role, content) for role, content in prompt),
            _sampling(params, self._seed),
            Answers(told["reference"], tuple(told["wrong"])),
            told["continuation"],
        )


def candidate(solution: str, tests: str) -> Candidate:
    """What `code_eval` runs, as one: a prediction, then its reference, which is test code that calls it.

    Its last statement, where it is a call, is named as the test; else the code as a whole is.
    """
    source, call = tests, "..."
    try:
        statements = ast.parse(tests).body
    except (SyntaxError, ValueError, RecursionError):
        statements = []
    last = statements[-1] if statements else None
    if isinstance(last, ast.Expr) and last.col_offset == 0 and (text := ast.get_source_segment(tests, last)):
        lines = tests.splitlines(keepends=True)
        source, call = "".join(lines[: last.lineno - 1]), text
    tested = Tests(source=source, calls=(call,), shared=None)
    return Candidate(Solution(solution, "verbatim"), _called(statements), tested, LIMITS)


def _called(statements: Sequence[ast.stmt]) -> str:
    """The function that test code is of: a name that it calls or hands on and does not define itself.

    One that Python has too, such as `sum`, is meant only where there is no other.
    """
    defined = {getattr(statement, "name", None) for statement in statements}
    calls = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call)]
    used = [node.id for call in calls for node in (call.func, *call.args) if isinstance(node, ast.Name)]
    names = [name for name in used if name not in defined]
    return next((name for name in names if not hasattr(builtins, name)), next(iter(names), ""))


def _generation(params: SamplingParams) -> dict[str, Any]:
    """What the run's settings put in place of the tasks' own."""
    given = {
        "temperature": params.temperature,
        "do_sample": None if params.temperature is None else params.temperature > 0,
        "top_p": params.top_p,
        "max_gen_toks": params.max_tokens,
        "until": list(params.stop) or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _sampling(told: Mapping[str, Any], seed: int | None) -> SamplingParams:
    return SamplingParams(
        told.get("temperature"), told.get("top_p"), told.get("max_tokens"), seed, tuple(told.get("stop", ()))
    )


def _suite(told: Mapping[str, Any], seed: int | None) -> DrivenSuite:
    kinds = told["output"]
    return DrivenSuite(
        "lm-eval",
        told["name"],
        told["version"],
        told["data_hash"],
        tuple((str(number), turns) for number, turns in enumerate(told["turns"])),
        told["repeats"],
        _sampling(told["params"], seed),
        generates="generate_until" in kinds,
        scores=any(kind.startswith("loglikelihood") for kind in kinds),
        runs_code=told["runs_code"],
    )


def _reply(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        return {"lost": True}
    if completion.logprob is not None:
        return {"logprob": completion.logprob, "greedy": completion.greedy}
    return {"text": completion.answer}


def _reported(row: Mapping[str, Any]) -> Reported:
    metrics = {name: Metric(told["value"], told["stderr"], None, told["n"]) for name, told in row["metrics"].items()}
    return Reported(
        "lm-eval",
        row["name"],
        metrics,
        row["higher_is_better"],
        tuple(row["members"]),
        row["group"],
        row["details"],
    )
