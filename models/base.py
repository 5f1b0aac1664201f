"""The one plug point for providers.

A provider is a subclass of `Model` in a file of its own, its test, and a line in `models.registry` (or an entry point
of the group `touchstone.models` in another package). It makes one request at a time for who asks; retries, rates,
concurrency, cost and caching are the same for all and not its business: see `models.line`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

from core.types import Completion, PromptStyle, Request


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model takes and can do. Everything is chosen by it, nothing by a substring of a model's name.

    A provider's class states those of models that it knows nothing of; `models.catalog` and the user's `config.yaml`
    say where a model differs.
    """

    styles: tuple[PromptStyle, ...]
    """The prompt styles it can serve, the preferred first: `instruct` needs chats, `completion` raw continuations."""
    temperature: bool = True
    """Whether it takes a sampling temperature."""
    top_p: bool = True
    """Whether it takes a nucleus' share."""
    seed: bool = True
    """Whether it takes a seed."""
    max_stops: int = 4
    """How many stop sequences it takes."""
    prefill: bool = False
    """Whether it continues a chat's last turn where that is the assistant's."""
    logprobs: bool = False
    """Whether it gives the log-probabilities of a given continuation. No model does that serves chats alone."""
    reasoning: bool = False
    """Whether it thinks before it answers: then it is sent no stops, which its thinking may hold."""
    context: int | None = None
    """Tokens that prompt and answer may have together; None: unknown."""
    max_output: int | None = None
    """Tokens that an answer may have; None: unknown."""

    def __post_init__(self) -> None:
        # Wherever styles are stated: a continuation goes on from a text, not from a turn.
        if self.logprobs and "completion" not in self.styles:
            object.__setattr__(self, "logprobs", False)


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens, as the provider asks them of everybody."""

    input: float
    output: float
    source: str = ""
    """Where it stands."""
    date: str = ""
    """When it stood there. ISO 8601."""


class Model(ABC):
    """A model of one provider.

    Made by `models.make` in the pipeline's event loop, where it may open clients; used by many tasks of that loop at
    once; closed once by `aclose`.
    """

    provider: str
    """The registry's name for the provider."""
    capabilities: Capabilities
    """The class has the provider's default; `models.make` sets the model's own."""
    price: Price | None = None
    """None: unknown, as for everything that runs on the user's own machines."""
    url: str = ""
    """Where it is asked, without keys; empty for what runs in this process."""
    revision: str | None = None
    """Which weights answer under the name, as far as `check` could find out."""
    scores_chats: bool = False
    """Whether it gives the log-probabilities of a continuation after a chat too."""
    answers_anew: bool = True
    """Whether an answer costs time or money, so that keeping it saves some."""

    def __init__(self, name: str) -> None:
        """name: what follows the provider in PROVIDER/NAME.

        Raises UsageError where a key or a setting is missing, with the variable's name.
        """
        self.name = name

    @property
    def official(self) -> bool:
        """Whether this is the provider's own service, so that its list prices hold."""
        return True

    async def check(self) -> None:
        """See before the first request that the server answers and has the model, at no cost in tokens.

        Raises ServerUnreachable with the address and what starts a server there, and UsageError (UnknownName) where
        the server can list its models and this one is not among them. A server that cannot list its models passes.
        Sets `revision` where it can.
        """

    @abstractmethod
    def parameters(self, request: Request) -> dict[str, Any]:
        """What is sent along with the prompt, by the provider's own names: all else that decides the answer.

        JSON values; kept with the completion as `effective`, and part of the response cache's key. Made from
        `sampling`.
        """

    @abstractmethod
    async def generate(self, request: Request) -> Completion:
        """Make one request: one completion.

        Where the request has a continuation, that is scored in place of an answer: `Completion.logprob` and `greedy`,
        as `models.likelihood` defines them. Only models whose capabilities say so are asked for it.

        Sends the prompt as it is and `parameters`. Where the stream shows a stop that could not be sent, reading may
        end there: cutting the text is the adapter's. `tries`, `effective`, `cost_usd` and `cached` are set by
        `models.line`.

        Raises Transient where another request may fare better, GenerationError where this one cannot, and UsageError
        where no request to this model can succeed (a wrong key, an unknown model): that ends the run.
        """

    async def aclose(self) -> None:
        """Give back connections."""

    def sampling(self, request: Request) -> dict[str, Any]:
        """What of the request's sampling the model takes: `temperature`, `top_p`, `max_tokens`, `seed`, `stop`.

        What was not asked for, or is not taken, is not there. A sample's seed is the run's and its index, so that each
        sample has its own. Of the stops those are sent that fit; all are applied to the answer later.
        """
        params, takes = request.params, self.capabilities
        stops = [] if takes.reasoning else [stop for stop in params.stop if stop][: takes.max_stops]
        asked = {
            "temperature": params.temperature if takes.temperature else None,
            "top_p": params.top_p if takes.top_p else None,
            "max_tokens": params.max_tokens,
            "seed": None if params.seed is None or not takes.seed else params.seed + request.index,
            "stop": stops or None,
        }
        return {name: value for name, value in asked.items() if value is not None}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
