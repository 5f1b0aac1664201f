"""The one plug point for harnesses.

A harness is a subclass of `Adapter` in a file of its own, its test, and a line in `adapters.registry` (or an entry
point of the group `touchstone.adapters` in another package). It translates at its edge: in here there are only the
nouns of `core.types`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from core.types import Answers, Candidate, Completion, Message, Problem, Prompt, PromptStyle, Suite


class Adapter(ABC):
    """A harness: its suites, how their problems are put, and what of an answer is judged."""

    name: str
    """The registry's name for the harness."""
    default: tuple[str, ...]
    """The suites that are run where none is named."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The suites it knows by name, in the order of a listing."""

    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Names that stand for several suites."""
        return {}

    def claims(self, name: str) -> bool:
        """Whether `name`, given without a harness, is one of its suites."""
        return name in self.names() or name in self.aliases()

    @abstractmethod
    def suite(self, name: str, datasets: Mapping[str, str]) -> Suite:
        """Load a suite, whole and validated.

        datasets: suite name → a local file or folder to load its data from.
        Raises UnknownName, BadData, HostError (its data is out of reach).
        """

    @abstractmethod
    def prompt(
        self, problem: Problem, turn: int, style: PromptStyle, history: Sequence[tuple[Prompt, Completion]]
    ) -> Prompt:
        """What is sent for a turn. history: the prompts and completions of the turns before it."""

    @abstractmethod
    def candidate(
        self, problem: Problem, turn: int, completion: str, style: PromptStyle, stops: Sequence[str]
    ) -> Candidate | None:
        """What the sandbox runs for an answer; None where nothing can be extracted: the answer is empty.

        stops: where the answer ends, whichever comes first: servers take only some of them, so all are applied here.
        """

    @abstractmethod
    def answers(self, problem: Problem, turn: int, style: PromptStyle) -> Answers:
        """What the control models answer the turn with."""


def chat(history: Sequence[tuple[Prompt, Completion]], content: str) -> tuple[Message, ...]:
    """The messages of a chat whose next user turn is `content`."""
    messages: list[Message] = []
    for prompt, completion in history:
        last = prompt if isinstance(prompt, str) else prompt[-1].content
        messages += [Message("user", last), Message("assistant", completion.answer)]
    return (*messages, Message("user", content))
