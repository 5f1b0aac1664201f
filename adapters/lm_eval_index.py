"""The index of lm-eval's own tasks, made once for an installed version and found again in no time."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adapters.hosted import environment
from core.errors import HostError, UsageError

INSTALL = "lm-eval is not installed: pip install 'touchstone[lm-eval]'"


def installed() -> bool:
    """Whether there is an lm-eval."""
    return find_spec("lm_eval") is not None


def path() -> Path:
    """The index of the installed lm-eval, made where there is none yet.

    Raises UsageError with the install command where lm-eval is not there.
    """
    stamp = _stamp()
    name = hashlib.sha256(stamp.encode()).hexdigest()[:16]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    found = Path(base) / "touchstone" / f"lm-eval-{name}.json"
    if not found.is_file():
        print("reading lm-eval's tasks, once for this version: some 10 s", file=sys.stderr, flush=True)
        _make(found, stamp)
    return found


@cache
def names() -> Mapping[str, Mapping[str, Any]]:
    """Name → what is known of a task, group or tag: `kind`, `path`, `tags`, `output`, `data`, `members`."""
    known: dict[str, dict[str, Any]] = json.loads(path().read_bytes())["names"]
    return known


def included(folders: tuple[str, ...]) -> Mapping[str, Mapping[str, Any]]:
    """The names of the tasks in further folders, as `names` has them. Raises UsageError for one that is none."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Passes over what only lm-eval understands."""

    Loader.add_multi_constructor("!", lambda *_: None)
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise UsageError(f"--include-path {folder}: there is no such folder")
        for file in sorted(Path(folder).glob("**/*.yaml")):
            try:
                told = yaml.load(file.read_text(encoding="utf-8"), Loader)
            except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{file}: cannot be read as YAML: {' '.join(str(error).split())}") from error
            if isinstance(told, dict) and isinstance(name := told.get("group") or told.get("task"), str):
                kind = "group" if "group" in told else "task"
                found[name] = {"kind": kind, "output": told.get("output_type"), "data": told.get("dataset_path")}
                for tag in [told["tag"]] if isinstance(told.get("tag"), str) else told.get("tag") or ():
                    found.setdefault(tag, {"kind": "tag"})
    return found


def _stamp() -> str:
    """What tells one state of the installed tasks from another."""
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(INSTALL)
    root = Path(next(iter(spec.submodule_search_locations)))
    try:
        package = distribution("lm_eval")
        record = Path(str(package.locate_file(f"lm_eval-{package.version}.dist-info/RECORD"))).stat()
        return f"{root} {package.version} {record.st_mtime_ns} {record.st_size}"
    except (PackageNotFoundError, OSError):
        # A checkout, whose tasks may change at any time.
        newest = max((f.stat().st_mtime_ns for f in (root / "tasks").rglob("*.yaml")), default=0)
        return f"{root} {newest}"


def _make(target: Path, stamp: str) -> None:
    command = [sys.executable, "-P", "-m", "adapters.hosts.lm_eval.index", str(target), stamp]
    done = subprocess.run(
        command, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        raise HostError(f"lm-eval's tasks cannot be read: {last}; see that it works: lm-eval ls tasks")
