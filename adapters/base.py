"""The one plug point for harnesses.

A harness is a subclass of `Adapter`, or of `Driven` where it has a loop of its own, in a file of its own, its test, and
a line in `adapters.registry` (or an entry point of the group `touchstone.adapters` in another package). It translates
at its edge: in here there are only the nouns of `core.types`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from core.types import (
    Answers,
    Candidate,
    Completion,
    Message,
    Problem,
    Prompt,
    PromptStyle,
    Reported,
    Request,
    RunSpec,
    SampleKey,
    SamplingParams,
    Suite,
)


class Harness(ABC):
    """What every harness has: a name, and names for what can be evaluated."""

    name: str
    """The registry's name for the harness."""
    default: tuple[str, ...]
    """The suites that are run where none is named."""

    def __init__(self, include: Sequence[str] = ()) -> None:
        """include: folders of further tasks, for a harness that can have some."""

    @abstractmethod
    def names(self) -> Sequence[str]:
        """The suites it knows by name, in the order of a listing."""

    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """Names that stand for several suites."""
        return {}

    def claims(self, name: str) -> bool:
        """Whether `name`, given without a harness, is one of its suites."""
        return name in self.names() or name in self.aliases()

    def matching(self, pattern: str) -> Sequence[str]:
        """The suites whose names fit a pattern with * and ?."""
        return [name for name in self.names() if fnmatchcase(name, pattern)]


class Adapter(Harness):
    """A harness whose problems go through our flow: how they are put, and what of an answer is judged."""

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


@dataclass(frozen=True, slots=True)
class DrivenSuite:
    """What a harness is about to ask of one suite."""

    harness: str
    name: str
    version: str
    data_hash: str
    problems: tuple[tuple[str, int], ...]
    """The id of each problem, and how many requests each of its samples makes."""
    n_samples: int
    params: SamplingParams
    """As the suite and the run's settings have it."""
    generates: bool = True
    """Whether it asks for answers."""
    scores: bool = False
    """Whether it asks for the log-probabilities of continuations."""
    languages: tuple[str, ...] = ()
    """Those of what is executed of an answer; none: it is not."""


Ask = Callable[[Request], Awaitable[Completion | None]]
"""Gets an answer; None where it could not be had."""
Execute = Callable[[SampleKey, Candidate], Awaitable[bool | None]]
"""Judges a candidate: whether it passed; None where the sandbox failed. The key is that of the sample's first turn."""
Done = Callable[[str, str, Mapping[str, Any]], None]
"""Told of a suite's problem, by their names, that the harness is done with it, and what it says of it."""


class Drive(ABC):
    """One evaluation by a harness that owns its loop. Where it has a process, that has begun to load already.

    Used in the order of the methods, as a context manager.
    """

    def __init__(self) -> None:
        self.generations: dict[str, dict[int, list[str]]] = {}
        """Suite, and a problem's place in it, to what the harness has made of its answers; where it says so."""
        self.languages: frozenset[str] = frozenset()
        """Those of what it will have executed, as far as that is known before it is loaded."""

    @abstractmethod
    async def load(
        self, style: PromptStyle, n_samples: int | None, *, prefill: bool, references: bool, final: bool
    ) -> tuple[DrivenSuite, ...]:
        """See how the suites are to be put, and wait until they are loaded: what they are about to ask.

        n_samples: of each problem; None: as the suites say. prefill: whether the model continues a last turn of the
        assistant's. references: whether requests are to come with what would be right. final: whether the answers are
        what the harness would make of a model's. Raises UsageError, HostError.
        """

    @abstractmethod
    def requests(self) -> AsyncIterator[Request]:
        """Everything that would be asked, and no more than that: the evaluation cannot go on."""

    @abstractmethod
    async def run(
        self, ask: Ask, execute: Execute, done: Done, *, at_once: int, say: Callable[[str], None]
    ) -> tuple[Reported, ...]:
        """Evaluate: what the harness reports of its suites and groups.

        at_once: how many questions may be open. say: takes what the harness warns of. Problems of which an answer
        could not be had are in no figure. Raises UsageError, HostError, and what its callables raise.
        """

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Driven(Harness):
    """A harness that owns its loop, and computes its own figures."""

    styles: tuple[PromptStyle, ...] = ("completion", "instruct")
    """The styles in which it can put its suites, the one that it takes by itself first."""

    @abstractmethod
    def drive(self, spec: RunSpec) -> Drive:
        """Start an evaluation of those of a run's suites that are this harness's, and have them loaded."""

    @abstractmethod
    def listing(self, pattern: str) -> Sequence[Mapping[str, Any]]:
        """What there is, of the names that fit a pattern: rows of JSON values with the same keys."""


def chat(history: Sequence[tuple[Prompt, Completion]], content: str) -> tuple[Message, ...]:
    """The messages of a chat whose next user turn is `content`."""
    messages: list[Message] = []
    for prompt, completion in history:
        last = prompt if isinstance(prompt, str) else prompt[-1].content
        messages += [Message("user", last), Message("assistant", completion.answer)]
    return (*messages, Message("user", content))
