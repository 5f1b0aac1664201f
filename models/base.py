"""The one plug point for providers.

A provider is a subclass of `Model` in a file of its own, its test, and a line in `models.registry` (or an entry point
of the group `touchstone.models` in another package).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

from core.types import Completion, PromptStyle, Request


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider's interface can do. The pipeline chooses by it, never by a model's name."""

    styles: tuple[PromptStyle, ...]
    """The prompt styles it can serve, the preferred first."""
    temperature: bool = True
    """Whether it takes a sampling temperature."""
    seed: bool = True
    """Whether it takes a seed."""
    max_stops: int = 4
    """How many stop sequences it takes."""


class Model(ABC):
    """A model of one provider.

    Made by `Model(name)` in the pipeline's event loop, where it may open clients; used by many tasks of that loop at
    once; closed once by `aclose`.
    """

    provider: str
    """The registry's name for the provider."""
    capabilities: Capabilities

    def __init__(self, name: str) -> None:
        """name: what follows the provider in PROVIDER/NAME.

        Raises UsageError where a key or a setting is missing, with the variable's name.
        """
        self.name = name

    async def check(self) -> None:
        """See before the first request that the server answers and has the model, at no cost in tokens.

        Raises ServerUnreachable with the address and what starts a server there, and UsageError (UnknownName) where
        the server can list its models and this one is not among them. A server that cannot list its models passes.
        """

    @abstractmethod
    async def generate(self, request: Request) -> Completion:
        """One completion.

        Sends the prompt as it is, the parameters as far as the provider takes them, and what was sent in
        `Completion.effective`. Stop sequences are sent as far as they fit; where the stream shows one of the others,
        reading may end there: cutting the text is the adapter's.

        Raises GenerationError where no completion could be had (with `tries`), and UsageError where no request to
        this model can succeed (a wrong key, an unknown model): that ends the run.
        """

    async def aclose(self) -> None:
        """Give back connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
