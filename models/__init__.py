"""Providers of completions, one file each. `registry` names them; `resolve` takes PROVIDER/NAME apart."""

from __future__ import annotations

from core.errors import UsageError
from core.registry import Registry

registry = Registry(
    "provider",
    "touchstone.models",
    {
        "control": "models.control:Control",
        "ollama": "models.ollama:Ollama",
        "openai": "models.openai:OpenAI",
        "openrouter": "models.openai:OpenRouter",
        "vllm": "models.openai:VLLM",
    },
)
"""Names to subclasses of `models.base.Model`."""


def split(model: str) -> tuple[str, str]:
    """PROVIDER/NAME as (provider, name); the name may hold slashes itself. Raises UsageError."""
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise UsageError(f"model '{model}' is not PROVIDER/NAME; providers are: {', '.join(registry.names())}")
    return provider, name
