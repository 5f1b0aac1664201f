"""Driving a harness that runs in a process of its own: its questions and its findings, in our words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from adapters.base import Ask, Done, Drive, DrivenSuite, Execute
from adapters.hosted import Hosted
from adapters.programs import candidate
from core.types import (
    Answers,
    Completion,
    Message,
    Metric,
    PromptStyle,
    Reported,
    Request,
    SampleKey,
    SamplingParams,
)


class HostedDrive(Drive):
    """One evaluation by a harness in a process of its own.

    name: the harness's. seed: the run's.
    """

    def __init__(self, name: str, hosted: Hosted, seed: int | None) -> None:
        super().__init__()
        self._name, self._hosted, self._seed = name, hosted, seed
        self._expected = 0
        self._said: list[str] = []

    async def load(
        self, style: PromptStyle, n_samples: int | None, *, prefill: bool, references: bool, final: bool
    ) -> tuple[DrivenSuite, ...]:
        """See `Drive.load`."""
        put = {"chat": style == "instruct", "repeats": n_samples, "prefill": prefill}
        put |= {"references": references, "final": final}
        await self._hosted.send({"id": 0, **put})
        while "loaded" not in (message := await self._hosted.receive()):
            self._said.append(message["say"])
        suites = tuple(_suite(self._name, told, self._seed) for told in message["loaded"])
        self._expected = sum(suite.n_samples * turns for suite in suites for _, turns in suite.problems)
        return suites

    async def requests(self) -> AsyncIterator[Request]:
        """See `Drive.requests`."""
        for _ in range(self._expected):
            while (message := await self._hosted.receive()) is not None and "ask" not in message:
                pass
            if message is None:
                return
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
            passed = await execute(
                key, candidate(told["solution"], told["tests"], told["language"], told.get("timeout"))
            )
            await self._hosted.send({"id": number, "passed": passed})

        for text in self._said:
            say(f"{self._name}: {text}")
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
                elif "generations" in message:
                    told = message["generations"]
                    self.generations.setdefault(told["suite"], {})[told["number"]] = told["of"]
                elif "row" in message:
                    rows.append(_reported(self._name, message["row"]))
                elif "say" in message:
                    say(f"{self._name}: {message['say']}")
        return tuple(rows)

    def close(self) -> None:
        """End the process."""
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


def _sampling(told: Mapping[str, Any], seed: int | None) -> SamplingParams:
    return SamplingParams(
        told.get("temperature"), told.get("top_p"), told.get("max_tokens"), seed, tuple(told.get("stop", ()))
    )


def _suite(harness: str, told: Mapping[str, Any], seed: int | None) -> DrivenSuite:
    kinds = told["output"]
    return DrivenSuite(
        harness,
        told["name"],
        told["version"],
        told["data_hash"],
        tuple(zip(told.get("ids") or map(str, range(len(told["turns"]))), told["turns"], strict=True)),
        told["repeats"],
        _sampling(told["params"], seed),
        generates="generate_until" in kinds,
        scores=any(kind.startswith("loglikelihood") for kind in kinds),
        languages=tuple(told["languages"]),
    )


def _reply(completion: Completion | None) -> dict[str, Any]:
    if completion is None:
        return {"lost": True}
    if completion.logprob is not None:
        return {"logprob": completion.logprob, "greedy": completion.greedy}
    return {"text": completion.answer}


def _reported(harness: str, row: Mapping[str, Any]) -> Reported:
    metrics = {name: Metric(told["value"], told["stderr"], None, told["n"]) for name, told in row["metrics"].items()}
    return Reported(
        harness,
        row["name"],
        metrics,
        row["higher_is_better"],
        tuple(row["members"]),
        row["group"],
        row["details"],
    )
