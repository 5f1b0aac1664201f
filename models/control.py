"""Models whose figures are known beforehand: they show that the measurement itself is right."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from core.errors import UnknownName
from core.types import Completion, Prompt, Request
from models.base import Capabilities, Model

NAMES = ("reference", "broken", "wrong", "slow", "ugly")


class Control(Model):
    """`control/reference` answers with the reference solution and must pass everything; `control/broken` answers with
    the task's wrong solutions, by turns, and must pass nothing; `control/wrong` with the first of them. `control/slow`
    and `control/ugly` answer with the reference, made slower or ugly. They reach no network and count no tokens.

    Those that know what is wrong find the reference alone unlikely where a continuation is scored; the others find it
    likely, and all else unlikely. Each character of a whole text is as likely to both.
    """

    provider = "control"
    capabilities = Capabilities(styles=("completion", "instruct"), logprobs=True)
    scores_chats = True
    answers_anew = False

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if name not in NAMES:
            raise UnknownName("control model", name, NAMES)

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
        match self.name:
            case "broken":
                text = answers.wrong[request.index % len(answers.wrong)]
            case "wrong":
                text = answers.wrong[0]
            case "slow":
                text = answers.slow or answers.reference
            case "ugly":
                text = answers.ugly or answers.reference
            case _:
                text = answers.reference
        return Completion(text, total_s=perf_counter() - started)

    def _score(self, prompt: Prompt, continuation: str, reference: str) -> tuple[float, bool]:
        """The log-probability of a continuation, and whether it is the likeliest."""
        if prompt == "":
            return float(-len(continuation)), True
        return (-0.5, True) if (continuation == reference) == (self.name not in ("broken", "wrong")) else (-50.0, False)
