"""Models whose figures are known beforehand: they show that the measurement itself is right."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from core.errors import UnknownName
from core.types import Completion, Prompt, Request
from models.base import Capabilities, Model


class Control(Model):
    """`control/reference` answers with the reference solution and must pass everything; `control/broken` answers with
    the task's wrong solutions, by turns, and must pass nothing. They reach no network and count no tokens.

    The first finds the reference likely where a continuation is scored, and all else unlikely; the second finds the
    reference alone unlikely. Each character of a whole text is as likely to both.
    """

    provider = "control"
    capabilities = Capabilities(styles=("completion", "instruct"), logprobs=True)
    scores_chats = True
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
        if request.continuation is not None:
            logprob, greedy = self._score(request.prompt, request.continuation, answers.reference)
            return Completion(request.continuation, logprob=logprob, greedy=greedy, total_s=perf_counter() - started)
        text = answers.reference if self.name == "reference" else answers.wrong[request.index % len(answers.wrong)]
        return Completion(text, total_s=perf_counter() - started)

    def _score(self, prompt: Prompt, continuation: str, reference: str) -> tuple[float, bool]:
        """The log-probability of a continuation, and whether it is the likeliest."""
        if prompt == "":
            return float(-len(continuation)), True
        return (-0.5, True) if (continuation == reference) == (self.name == "reference") else (-50.0, False)
