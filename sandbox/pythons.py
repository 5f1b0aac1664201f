"""The environments in which Python runs under the agent: an image each, with a Python of its own.

A candidate's language names one: `python` alone, or with what is after the stroke.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PYTHON = "python"
"""Debian 12's Python, whose packages are in `packages.txt`."""


@dataclass(frozen=True, slots=True)
class Environment:
    """Another one: a Debian release, its packages, and modules that each candidate finds imported already."""

    release: str
    packages: tuple[str, ...]
    preloaded: tuple[str, ...] = ()


ENVIRONMENTS: Mapping[str, Environment] = {
    f"{PYTHON}/3.13": Environment("trixie", ("python3", "python3-numpy")),
    f"{PYTHON}/frameworks": Environment(
        "trixie",
        (
            *("python3", "python3-numpy", "python3-pandas", "python3-fastapi", "python3-httpx", "python3-django"),
            *("python3-sqlalchemy", "python3-pydantic", "python3-flask", "python3-requests", "python3-pytest"),
            "python3-multipart",
        ),
        ("numpy", "pandas", "fastapi", "fastapi.testclient", "django", "sqlalchemy", "sqlalchemy.orm", "pydantic"),
    ),
}


def is_python(language: str) -> bool:
    """Whether the agent itself runs programs of this language."""
    return language == PYTHON or language in ENVIRONMENTS
