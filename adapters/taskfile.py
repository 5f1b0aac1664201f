"""The native task format: one YAML file a task. docs/tasks.md describes it for authors.

Reading is strict, since a slip in a task is a wrong figure: every key is known, every value has its type, all Python
in it compiles. None of it is executed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adapters.taskturn import turn
from adapters.yamlfile import File, Node
from core.errors import BadData
from core.types import Problem

TIERS = ("easy", "medium", "hard", "extreme")


def load(path: Path) -> Problem:
    """The problem in a task file.

    Raises BadData with file, line and field, for the fault that is found first: a misspelt key comes before what is
    missing for it.
    """
    problem, faults = _read(path)
    if faults:
        raise faults[0]
    return problem


def check(path: Path) -> list[BadData]:
    """Every fault of a task file, in the order of its lines; empty where `load` takes it."""
    return sorted(_read(path)[1], key=lambda fault: fault.line or 0)


def problems(paths: Iterable[Path]) -> tuple[Problem, ...]:
    """The problems of several task files, in their order. Raises BadData for the first fault."""
    return tuple(load(path) for path in paths)


def metadata(path: Path) -> dict[str, Any]:
    """What a task file says of itself beside the task; empty where it says nothing."""
    import yaml

    found = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return dict(found.get("metadata") or {})


_WORD = ("[a-z0-9]+(-[a-z0-9]+)*", "a lower-case word or kebab-case")
_NAME = (r"[^\W\d]\w*", "a single Python name")
_ENTRY = (rf"([a-z_]\w*(\.[a-z_]\w*)*:)?{_NAME[0]}", "a single Python name, or MODULE:NAME of a project,")
DIMENSIONS = (
    *("writing", "explaining", "debugging", "refactoring", "multi-turn", "modern-python", "standard-library"),
    *("frameworks", "error-handling", "documentation", "multi-file", "adversarial"),
)
"""What a task can measure."""
RUNS_ON = {"python3.11": "python", "python3.13": "python/3.13", "frameworks": "python/frameworks"}
"""Where solutions run, and how the sandbox calls it."""
LATER = ("python3.13", "frameworks")
"""Those of Python 3.13."""


def _read(path: Path) -> tuple[Problem, list[BadData]]:
    """A task file's problem, without meaning where there are faults; and the faults."""
    file, problem = File(path), Problem("", (), "")
    try:
        problem = _problem(file, file.root())
    except RecursionError:
        file.fault(Node(None), "it is nested too deeply; state something flatter")
    return problem, file.faults


def _problem(file: File, root: Node | None) -> Problem:
    keys = ("id", "version", "tier", "category", "entry_point", "turns")
    fields = file.mapping(root, keys, ("tags", "metadata", "dimensions", "changes", "runs_on"))
    task_id, entry_point = file.text(fields.get("id")), file.text(fields.get("entry_point"), *_ENTRY)
    path = file.path.absolute()
    if task_id and f"{task_id}.yaml" != f"{path.parent.name}/{path.name}":
        file.fault(fields["id"], f"the file lies at {path.parent.name}/{path.name}; rename it or change the id")
    tier = file.text(fields.get("tier"), "|".join(TIERS), " or ".join(TIERS))
    if tier and task_id and tier != task_id.partition("/")[0]:
        file.fault(fields["tier"], f"the id '{task_id}' has another tier; change one of them")
    version = file.whole(fields.get("version"), 1)
    changes = [file.text(node) for node in file.items(fields.get("changes"))]
    if changes and len(changes) != version:
        file.fault(fields["changes"], f"{len(changes)} lines for {version} versions; give one for each")
    dimensions = [file.text(node, "|".join(DIMENSIONS), "a dimension") for node in file.items(fields.get("dimensions"))]
    runs_on = fields.get("runs_on")
    place = file.text(runs_on, "|".join(map(re.escape, RUNS_ON)), " or ".join(RUNS_ON)) if runs_on else ""
    later = place in LATER
    file.later = later and sys.version_info < (3, 13)
    turns = tuple(turn(file, node, entry_point) for node in file.items(fields.get("turns")))
    for number, each in enumerate(turns):
        if later and (unread := sorted({check.name for check in each.tests.checks} - {"uses", "avoids"})):
            named = Node(None, f"turns[{number}].checks", 1)
            file.fault(named, f"{', '.join(unread)}: of what runs on {place} only uses and avoids can be checked")
    metadata = fields.get("metadata")
    if metadata and not isinstance(metadata.value, dict):
        file.fault(metadata, "a mapping was expected")
    return Problem(
        task_id=task_id,
        turns=turns,
        entry_point=entry_point,
        language=RUNS_ON.get(place, "python"),
        tier=tier,
        category=file.text(fields.get("category"), *_WORD),
        tags=tuple(file.text(node, *_WORD) for node in file.items(fields.get("tags"))),
        dimensions=tuple(dimensions),
        version=version,
        changes=tuple(changes),
    )
