"""Model servers on 127.0.0.1, real HTTP, for the tests: what a provider meets, and what can go wrong there.

with OpenAIServer(lambda body: "    return 1\\n", faults=lambda n: Fault(status=429) if n == 1 else None) as server:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    ...
assert len(server.requests) == 2
"""

from tests.loopback.anthropic import AnthropicServer
from tests.loopback.ollama import OllamaServer
from tests.loopback.openai import OpenAIServer
from tests.loopback.server import Fault, Received, Reply

__all__ = ["AnthropicServer", "Fault", "OllamaServer", "OpenAIServer", "Received", "Reply"]
