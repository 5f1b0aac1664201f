"""lm-eval's own loading of tasks, from an index that is known already, with data sets that may be local."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager
from lm_eval.tasks._factory import TaskFactory
from lm_eval.tasks._index import Entry, Kind, TaskIndex

from adapters.hosts.data import Data, first_line
from adapters.hosts.wire import Refused


class Tasks(TaskManager):
    """A TaskManager that reads no folder but those that are included.

    index: the file that `index` wrote. include: folders of further tasks, which come before the stock ones.
    """

    def __init__(self, index: Path, include: list[str], data: Data) -> None:
        self.include_path, self.metadata = include or None, None
        self._factory = _Factory(data)
        known = json.loads(index.read_bytes())
        root = Path(known["root"])
        self._index = {name: _entry(name, told, root) for name, told in known["names"].items()}
        if include:
            self._index.update(TaskIndex.build([Path(folder) for folder in include]))

    def load(self, task_list: Any) -> Any:
        """Load tasks and groups. Raises Refused where one cannot be."""
        try:
            return super().load(task_list)
        except ModuleNotFoundError as error:
            raise Refused(f"{self.doing} needs the package '{error.name}': pip install {error.name}") from error
        except Exception as error:
            raise Refused(f"{self.doing} cannot be loaded: {type(error).__name__}: {first_line(error)}") from error

    @property
    def doing(self) -> str:
        """What is being loaded, in words."""
        name = self._factory.data.task.get("task")
        return f"lm-eval's task '{name}'" if name else "lm-eval's task"


class _Factory(TaskFactory):
    """Says whose data is being loaded."""

    def __init__(self, data: Data) -> None:
        super().__init__(meta=None)
        self.data = data

    def _build_task(self, entry: Entry, overrides: dict[str, Any] | None) -> Any:
        self.data.task = {"task": entry.name}
        return super()._build_task(entry, overrides)

    def _load_full_config(self, entry: Entry, overrides: dict[str, Any] | None = None) -> dict[str, Any]:
        configuration: dict[str, Any] = super()._load_full_config(entry, overrides)
        if entry.kind is not Kind.GROUP:
            self.data.task = configuration
        return configuration


def _entry(name: str, told: Mapping[str, Any], root: Path) -> Entry:
    path = told.get("path")
    return Entry(name, Kind[told["kind"].upper()], root / path if path else None, tags=set(told.get("tags", ())))
