"""What the whole suite shares: tests that are marked `engine` fail, in one line, where no container engine answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import SandboxUnavailable


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if item.get_closest_marker("engine"):
            item.fixturenames.insert(0, "engine")


@pytest.fixture(scope="session")
def engine() -> Iterator[Any]:
    """The engine's client, a `docker.DockerClient`."""
    from sandbox.engine import connect

    try:
        client = connect()
    except SandboxUnavailable as error:
        pytest.fail(str(error), pytrace=False)
    yield client
    client.close()
