"""What the whole suite shares: what is marked `engine` or `bubblewrap` fails, in one line, where there is none; what is
marked `bigcode` is left out. The end says what was left out, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from adapters.bigcode import BRING
from core.errors import SandboxUnavailable

IN_SLOW = ("python", "python3.13", "bash", "cpp", "lua")
"""What `make test-slow` tries. An image of each further language takes a minute or more: `make test-languages`."""


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and (language := _language(item)) and language not in IN_SLOW:
            item.add_marker(pytest.mark.languages)
        if item.get_closest_marker("bigcode") and not os.environ.get("BIGCODE_HOME"):
            item.add_marker(pytest.mark.skip(reason=BRING))
        for name in ("engine", "bubblewrap"):
            if item.get_closest_marker(name):
                item.fixturenames = [name, *item.fixturenames]  # of it alone: other parameters share the list


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was not run: a line for each reason, with how many tests it is."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"not run: {count} test{'s' * (count > 1)}: {reason.removeprefix('Skipped: ')}")


def _language(item: Any) -> str | None:
    """The one that a test's parameters name, if any."""
    from sandbox import languages

    for name, value in item.callspec.params.items() if hasattr(item, "callspec") else ():
        if name in ("language", "alias"):
            return "python" if value == "python" else languages.load(value).name
        if name == "exploit":
            return str(value[1])
        if name == "probe":
            return str(value.language)
    return None


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
