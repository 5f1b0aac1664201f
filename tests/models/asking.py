"""Requests to put to a model."""

from __future__ import annotations

from typing import Any

from core.types import Answers, Message, Prompt, Request, SamplingParams

CHAT = (Message("system", "Be brief."), Message("user", "Write add."))


def request(prompt: Prompt = CHAT, *, index: int = 0, turn: int = 0, **params: Any) -> Request:
    """A request for a chat's answer, or for what continues a string; `params` are sampling parameters."""
    return Request(
        suite="s",
        task_id="t/0",
        index=index,
        turn=turn,
        prompt=prompt,
        params=SamplingParams(**params),
        answers=Answers(reference="right", wrong=("wrong 0", "wrong 1")),
    )
