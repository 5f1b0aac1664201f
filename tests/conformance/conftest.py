"""The backends that the suite is run on. A new one is a line here."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import registry
from sandbox.base import Sandbox

BACKENDS = [pytest.param("docker", marks=pytest.mark.engine)]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> type[Sandbox]:
    """What makes a sandbox of so many workers."""
    implementation: type[Sandbox] = registry.get(request.param)
    return implementation


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox(backend: type[Sandbox]) -> AsyncIterator[Sandbox]:
    """One worker, so that a candidate follows upon the one before it in the same place."""
    async with backend(1) as only:  # type: ignore[call-arg]
        yield only
