from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for provider in ("ANTHROPIC", "OPENAI", "VLLM", "OPENROUTER"):
        monkeypatch.delenv(f"{provider}_API_KEY", raising=False)
        monkeypatch.delenv(f"{provider}_BASE_URL", raising=False)
    for variable in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_CUSTOM_HEADERS", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)
    monkeypatch.setattr("models.keys._hidden", set())
    monkeypatch.chdir(tmp_path)
