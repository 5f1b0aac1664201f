"""Models whose figures are known beforehand: they show that the measurement itself is right."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from core.errors import UnknownName
from core.types import Completion, Request
from models.base import Capabilities, Model


class Control(Model):
    """`control/reference` answers with the reference solution and must pass everything; `control/broken` answers with
    the task's wrong solutions, by turns, and must pass nothing. They reach no network and count no tokens."""

    provider = "control"
    capabilities = Capabilities(styles=("completion", "instruct"))
    answers_anew = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if name not in ("reference", "broken"):
            raise UnknownName("control model", name, ("reference", "broken"))

    def parameters(self, _: Request) -> dict[str, Any]:
        """None: it is asked nothing."""
        return {}

    async def generate(self, request: Request) -> Completion:
        """The answer that the adapter gave along with the request."""
        started = perf_counter()
        answers = request.answers
        text = answers.reference if self.name == "reference" else answers.wrong[request.index % len(answers.wrong)]
        return Completion(text, total_s=perf_counter() - started)
