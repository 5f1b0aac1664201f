"""What the whole suite shares: what is marked `engine` or `bubblewrap` fails, in one line, where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from core.errors import SandboxUnavailable


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        for name in ("engine", "bubblewrap"):
            if item.get_closest_marker(name):
                item.fixturenames = [name, *item.fixturenames]  # of it alone: other parameters share the list


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


@pytest.fixture(scope="session")
def bubblewrap() -> None:
    """See that it is there."""
    from sandbox.bubblewrap import missing

    if packages := missing():
        pytest.fail(f"{packages[0]} is missing: as root, `apt-get install -y {' '.join(packages)}`", pytrace=False)
