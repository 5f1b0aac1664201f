"""What a run depended on: enough to run it again, and nothing secret."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from core.types import RunSpec
from results.records import SuiteRecord, to_record

ROOT = Path(__file__).resolve().parent.parent
"""Where the project lies: its checkout, or the folder that it is installed in."""

GIT_S = 5.0
"""How long git may take."""


def collect(
    spec: RunSpec,
    suites: Sequence[SuiteRecord],
    sandbox: Mapping[str, Any],
    command: Sequence[str],
    effective: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest, of JSON values.

    sandbox: what `Sandbox.describe` says. command: the command line, in words; passwords in URLs are left out of it.
    effective: the settings after defaults and the provider's limits, where they differ from `spec`.
    Nothing of the environment's variables is in it. What cannot be found out is None.
    """
    return {
        "touchstone": _version("touchstone"),
        "python": platform.python_version(),
        "packages": _packages(),
        "git": _git(),
        "host": _host(),
        "sandbox": to_record(sandbox),
        "suites": [
            {
                "harness": suite.harness,
                "name": suite.name,
                "version": suite.version,
                "data_hash": suite.data_hash,
                "prompt_style": suite.style,
                "n_problems": len(suite.problems),
            }
            for suite in suites
        ],
        "settings": {
            "requested": to_record(spec),
            "effective": None if effective is None else to_record(effective),
        },
        "command": [re.sub(r"(?<=://)[^/\s]*@", "", word) for word in command],
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> dict[str, str]:
    """The installed ones of those that the project declares it uses, tools for its development left out."""
    try:
        declared = metadata.requires("touchstone") or []
    except metadata.PackageNotFoundError:
        declared = []
    names = {re.split(r"[^\w.-]", line)[0] for line in declared if not re.search(r"extra == .(dev|all)\b", line)}
    return {name: version for name in sorted(names) if (version := _version(name)) is not None}


def _git() -> dict[str, Any] | None:
    # Installed into somebody else's checkout, the project is not what that one's commit names.
    if _run_git("rev-parse", "--show-toplevel") != str(ROOT):
        return None
    commit, changes = _run_git("rev-parse", "HEAD"), _run_git("status", "--porcelain")
    return None if commit is None or changes is None else {"commit": commit, "dirty": changes != ""}


def _run_git(*words: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(ROOT), *words],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _host() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "kernel": platform.release(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }


def _cpu() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, None) or platform.processor() or None
