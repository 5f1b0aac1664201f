"""The BigCode evaluation harness: its tasks, prompts, post-processing and metrics, in a process of its own.

A suite is one of its tasks, a problem one of the task's documents. See `adapters.hosts.bigcode`. Source:
https://github.com/bigcode-project/bigcode-evaluation-harness, whose last commit is 8fc5bae.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from adapters.base import Driven
from adapters.drive import HostedDrive
from adapters.hosted import Hosted, environment
from adapters.hosts.bigcode.execution import LANGUAGES
from core.errors import HostError, UsageError
from core.types import RunSpec

COMMIT = "8fc5bae6479c4fbbb28c3f8b644f6a15b3f3b5bd"
BRING = (
    "the BigCode evaluation harness is not there: git clone "
    "https://github.com/bigcode-project/bigcode-evaluation-harness && "
    f"git -C bigcode-evaluation-harness checkout {COMMIT[:7]} && "
    "export BIGCODE_HOME=$PWD/bigcode-evaluation-harness && pip install 'touchstone[bigcode]'"
)
TEMPERATURE, TOP_P, MAX_TOKENS = 0.2, 0.95, 1024
"""How it samples where a run does not say; it limits prompt and answer together, which servers do not offer."""
DESCRIPTIONS = "descriptions"
"""The name under which `--dataset` gives what `humanevalexplaindescribe-*` has generated."""

CODE = "works"
WITH = f"works with --dataset {DESCRIPTIONS}"
TEXT = "works; nothing is executed"
STATES = {
    "humaneval": CODE,
    "humanevalplus": CODE,
    "mbpp": CODE,
    "mbppplus": CODE,
    "parity": CODE,
    "quixbugs": CODE,
    "recode": CODE,
    "instruct_humaneval": CODE,
    "instruct_wizard_humaneval": CODE,
    "santacoder_fim": TEXT,
    "codexglue_code_to_text": "works with the package mosestokenizer; nothing is executed",
    "codexglue_text_to_text": TEXT,
    "conala": TEXT,
    "concode": TEXT,
    "python_bugs": TEXT,
    "apps": "not run: its metric is code of the hub, and needs pyext, which works up to Python 3.10",
    "ds1000": "not run: it executes on packages of Python 3.7 that it fetches, in a way of its own",
    "gsm": "not run: it executes in a way of its own, and compares what is printed",
    "mercury": "not run: it executes in a way of its own, and compares run times",
    "studenteval": "not run: it executes in a way of its own",
}
"""What there is to say of the tasks of each of its modules."""


class BigCode(Driven):
    """Its tasks, by its own names; those that it has run together for want of a comma, by the names that it meant."""

    name = "bigcode"
    default = ("humaneval",)

    def names(self) -> Sequence[str]:
        """All of them. Raises UsageError with the commands that bring the harness where it is not there."""
        return list(_known())

    def drive(self, spec: RunSpec) -> HostedDrive:
        """Start it on a run's suites. Raises UsageError for a task that cannot be run here."""
        names = [suite.name for suite in spec.suites if suite.harness == self.name]
        for name in names:
            state = _state(name, _known()[name]["module"])
            if state.startswith("not run"):
                raise UsageError(f"BigCode's task '{name}' is {state}; `touchstone tasks list --harness bigcode`")
            if state.startswith(WITH) and DESCRIPTIONS not in dict(spec.datasets):
                raise UsageError(f"BigCode's task '{name}' {state}; save them with --save-generations FILE")
        # Its process has a working directory of its own.
        datasets = {name: str(Path(path).absolute()) for name, path in spec.datasets}
        params = spec.params
        job = {
            "tasks": names,
            "descriptions": datasets.pop(DESCRIPTIONS, None),
            "datasets": datasets,
            "limit": spec.limit,
            "prompt": spec.prompt_kind,
            "stop": list(params.stop),
            "params": {
                "temperature": TEMPERATURE if params.temperature is None else params.temperature,
                "top_p": TOP_P if params.top_p is None else params.top_p,
                "max_tokens": params.max_tokens or MAX_TOKENS,
            },
        }
        drive = _Drive(job, params.seed)
        drive.languages = frozenset(language for name in names if (language := _language(name)))
        return drive

    def listing(self, pattern: str) -> Sequence[Mapping[str, Any]]:
        """The tasks whose names fit: whether each works, and what it needs, or why not."""
        return [
            {"harness": self.name, "suite": name, "data": told["data"], "state": _state(name, told["module"])}
            for name, told in _known().items()
            if fnmatchcase(name, pattern)
        ]


class _Drive(HostedDrive):
    """One evaluation, in a folder of its own."""

    def __init__(self, job: Mapping[str, Any], seed: int | None) -> None:
        place = str(home())
        self._folder = TemporaryDirectory(prefix="touchstone-bigcode-", ignore_cleanup_errors=True)
        super().__init__(
            BigCode.name, Hosted("adapters.hosts.bigcode", BigCode.name, job, place, self._folder.name), seed
        )

    def close(self) -> None:
        """End the process, and remove its folder."""
        super().close()
        self._folder.cleanup()


def home() -> Path:
    """The folder that holds the harness: `BIGCODE_HOME`, or where it is installed. Raises UsageError."""
    if given := os.environ.get("BIGCODE_HOME"):
        found = Path(given).expanduser().absolute()
        if not (found / "bigcode_eval").is_dir():
            raise UsageError(f"BIGCODE_HOME={given}: there is no bigcode_eval/ in it; {BRING}")
    else:
        spec = find_spec("bigcode_eval")
        if spec is None or not spec.submodule_search_locations:
            raise UsageError(BRING)
        found = Path(next(iter(spec.submodule_search_locations))).parent
    for package in ("datasets", "numpy"):
        if find_spec(package) is None:
            raise UsageError(f"harness 'bigcode' needs the package '{package}': pip install 'touchstone[bigcode]'")
    return found


@cache
def _known() -> Mapping[str, Mapping[str, Any]]:
    """Name → the module and the data set of each task."""
    place = home()
    newest = max((file.stat().st_mtime_ns for file in (place / "bigcode_eval" / "tasks").glob("*.py")), default=0)
    stamp = f"{place} {newest}"
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    file = Path(base) / "touchstone" / f"bigcode-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        command = [sys.executable, "-P", "-m", "adapters.hosts.bigcode.index", str(file), stamp, str(place)]
        done = subprocess.run(
            command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no word"])[-1]
            raise HostError(f"the BigCode evaluation harness in {place} cannot be imported: {last}")
    known: dict[str, dict[str, Any]] = json.loads(file.read_bytes())["names"]
    return known


def _language(name: str) -> str | None:
    """The language of what a task has executed; None: nothing is, or that is not known yet."""
    module = _known()[name]["module"]
    if module in ("multiple", "humanevalpack"):
        return None if name.startswith("humanevalexplaindescribe") else LANGUAGES.get(name.rpartition("-")[2])
    return "python" if STATES.get(module) == CODE else None


def _state(name: str, module: str) -> str:
    """Whether a task works, and what it needs, or why it is not run."""
    if module == "multiple":
        language = name.removeprefix("multiple-")
        return CODE if language in LANGUAGES else f"not run: the sandbox has no toolchain for '{language}'"
    if module == "humanevalpack":
        if name.startswith("humanevalexplaindescribe"):
            return "works; it generates descriptions, and has no figure"
        if name.startswith("humanevalexplainsynthesize"):
            return f"{WITH}=FILE: what humanevalexplaindescribe-* generated"
        return CODE
    return STATES.get(module, "not run: it is not known how it executes")
