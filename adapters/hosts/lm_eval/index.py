"""`python -m adapters.hosts.lm_eval.index FILE STAMP`: lm-eval's tasks by name, written down, so that nobody need read
its thousands of files again. The file is JSON: `stamp`, `root`, and `names`: name → kind, path below the root, and so
on.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Write the index of the installed lm-eval's own tasks."""
    import lm_eval.tasks

    target, stamp = Path(sys.argv[1]), sys.argv[2]
    manager = lm_eval.tasks.TaskManager()
    root = Path(lm_eval.tasks.__file__).parent
    names = {name: _entry(entry, root) for name, entry in manager.task_index.items()}
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"stamp": stamp, "root": str(root), "names": names}, separators=(",", ":")))
    draft.replace(target)


def _entry(entry: Any, root: Path) -> dict[str, Any]:
    configuration = entry.cfg or {}
    members = configuration.get("task")
    told = {
        "kind": entry.kind.name.lower(),
        "path": str(entry.yaml_path.relative_to(root)) if entry.yaml_path else None,
        "tags": sorted(entry.tags),
        "output": configuration.get("output_type"),
        "data": configuration.get("dataset_path"),
        "members": [m for m in members if isinstance(m, str)] if isinstance(members, list) else None,
    }
    return {name: value for name, value in told.items() if value}


if __name__ == "__main__":
    main()
