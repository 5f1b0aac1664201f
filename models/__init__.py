"""Providers of completions, one file each. `registry` names them; `make` makes the model that PROVIDER/NAME means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from core.errors import UsageError
from core.registry import Registry

if TYPE_CHECKING:
    from models.base import Model

registry = Registry(
    "provider",
    "touchstone.models",
    {
        "anthropic": "models.anthropic:Anthropic",
        "control": "models.control:Control",
        "hf": "models.huggingface:HuggingFace",
        "ollama": "models.ollama:Ollama",
        "openai": "models.openai:OpenAI",
        "openrouter": "models.openai:OpenRouter",
        "vllm": "models.openai:VLLM",
    },
    extras={"hf": "hf"},
)
"""Names to subclasses of `models.base.Model`."""


def split(model: str) -> tuple[str, str]:
    """PROVIDER/NAME as (provider, name); the name may hold slashes itself. Raises UsageError."""
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise UsageError(f"model '{model}' is not PROVIDER/NAME; providers are: {', '.join(registry.names())}")
    return provider, name


def make(model: str, given: Mapping[str, Mapping[str, Any]] | None = None) -> Model:
    """The model that PROVIDER/NAME means, with what is known of it.

    given: PROVIDER or PROVIDER/NAME → what the user says of it, which comes before what the catalogue says; see
    `models.catalog.known`. Raises UsageError, and UnknownName for a provider that there is not.
    """
    from models import catalog

    provider, name = split(model)
    made: Model = registry.get(provider)(name)
    made.capabilities, made.price = catalog.known(made, given or {})
    return made
