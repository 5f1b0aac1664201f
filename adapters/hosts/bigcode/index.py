"""`python -m adapters.hosts.bigcode.index FILE STAMP HOME`: the harness's tasks by name, written down.

The file is JSON: `stamp`, and `names`: name → the module that the task is from, and its data set.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from adapters.hosts.bigcode.registry import module_of, tasks


def main() -> None:
    """Write the index of the harness in a folder."""
    target, stamp, home = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    sys.path.insert(0, home)
    os.chdir(home)
    from adapters.hosts.bigcode.execution import install
    from adapters.hosts.wire import Refused

    install(lambda *_: [])
    try:
        known = tasks()
    except Refused as refused:
        sys.exit(str(refused))
    names = {
        name: {"module": module_of(task), "data": getattr(task, "DATASET_PATH", None)}
        for name, task in sorted(known.items())
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"stamp": stamp, "names": names}, separators=(",", ":")))
    draft.replace(target)


if __name__ == "__main__":
    main()
