"""A stock task's data set from a local file or folder, and what to say where it is out of reach."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from adapters.hosts.wire import Refused
from core.imports import lean

FORMATS = {".json": "json", ".jsonl": "json", ".csv": "csv", ".parquet": "parquet", ".arrow": "arrow"}


class Data:
    """Stands before `datasets.load_dataset`.

    local: a task's name, or its data set's on the hub → a file or folder, which is taken in place of it.
    num_fewshot: of worked examples, as the run asks for them; None: as the tasks do.
    """

    def __init__(self, local: Mapping[str, str], num_fewshot: int | None) -> None:
        self.local, self._num_fewshot = local, num_fewshot
        self.used: set[str] = set()
        """The names in `local` that a task has asked for."""
        self.task: Mapping[str, Any] = {}
        """The configuration of the task that is being loaded."""
        self._load: Callable[..., Any] = lambda *_, **__: None
        self._read: Callable[[Mapping[str, list[Path]]], Any] = lambda _: None

    def install(self) -> None:
        """Take the place of `datasets.load_dataset`."""
        import datasets

        self._load, datasets.load_dataset = datasets.load_dataset, self.load

    def stand_in(self, read: Callable[[Mapping[str, list[Path]]], Any]) -> None:
        """Take the place of all of `datasets`, whose import is long, until it is needed.

        read: gives the splits of files as that would, or None where it does not know how.
        """
        module = ModuleType("datasets")
        module.load_dataset = self.load  # type: ignore[attr-defined]
        sys.modules["datasets"] = module
        self._read = read
        self._load = lambda *args, **options: _package().load_dataset(*args, **options)

    def load(self, path: str | None = None, name: str | None = None, **options: Any) -> Any:
        """What a task gets when it asks for its data. Raises Refused."""
        task = str(self.task.get("task"))
        for known in (task, str(path)):
            if known in self.local:
                self.used.add(known)
                return self._local(task, Path(self.local[known]), name, options)
        try:
            return self._load(path, name, **options)
        except RuntimeError as error:
            raise Refused(f"the data set '{path}' of task '{task}' cannot be loaded: {first_line(error)}") from error
        except (OSError, ValueError) as error:  # the hub's own errors are kinds of these
            kind = "host" if isinstance(error, OSError) else "usage"
            mend = f"give it from a file or folder: --dataset {task}=PATH"
            raise Refused(
                f"the data set '{path}' of task '{task}' cannot be loaded: {first_line(error)}; {mend}", kind
            ) from error

    def _local(self, task: str, place: Path, config: str | None, options: dict[str, Any]) -> Any:
        """The splits of a file, which is the one that is evaluated on, or of a folder with a file for each."""
        wanted = str(self.task.get("test_split") or self.task.get("validation_split") or "test")
        if place.is_file():
            files = {wanted: [place]}
        elif place.is_dir():
            files = _splits(place / config) if config and (place / config).is_dir() else {}
            # One of several parts of a data set may be a file called after it.
            named = [path for path in _files(place) if path.name.split(".")[0] == config]
            files = files or ({wanted: named} if named else _splits(place))
        else:
            raise Refused(f"--dataset {task}={place}: there is no such file or folder")
        try:
            if not files:  # a copy of the hub's repository, or what `save_to_disk` wrote
                return self._folder(place, config, options)
            loaded = self._read(files) or self._load(
                _format(next(iter(files.values()))[0]), data_files={k: list(map(str, v)) for k, v in files.items()}
            )
        except StopIteration as error:
            raise Refused(f"--dataset {task}={place}: there is no record in it") from error
        except Exception as error:  # of whichever of the readers, most often in one that says nothing
            why = first_line(error.__cause__ or error)
            raise Refused(f"--dataset {task}={place}: cannot be read: {why}") from error
        self._complete(task, place, loaded)
        return loaded

    def _folder(self, place: Path, config: str | None, options: dict[str, Any]) -> Any:
        if (place / "dataset_dict.json").is_file():
            return _package().load_from_disk(str(place))
        return self._load(str(place), config, **options)

    def _complete(self, task: str, place: Path, loaded: Any) -> None:
        """See that the splits that the task uses are there. Raises Refused.

        One for worked examples is read by lm-eval even where none are asked for: then it is made, and empty.
        """
        evaluated = self.task.get("test_split") or self.task.get("validation_split")
        shots = self._fewshot_split()
        for split in (evaluated, shots):
            if not isinstance(split, str) or "[" in split or split in loaded:
                continue
            if split != evaluated and not self._shots():
                loaded[split] = next(iter(loaded.values())).select([])
            else:
                raise Refused(
                    f"--dataset {task}={place}: task '{task}' takes the split '{split}' too: give a folder with a file "
                    f"for each, such as {split}.jsonl"
                )

    def _shots(self) -> int:
        """How many worked examples the task's prompts will have: a 0 of its own stays."""
        own = self.task.get("num_fewshot")
        return int((own if own == 0 or self._num_fewshot is None else self._num_fewshot) or 0)

    def _fewshot_split(self) -> Any:
        """Where lm-eval takes the task's worked examples from; None where it has some of its own."""
        settings = self.task.get("fewshot_config") or {}
        if split := self.task.get("fewshot_split") or settings.get("split"):
            return split
        if settings.get("samples") is not None:
            return None
        return next((s for s in map(self.task.get, ("training_split", "validation_split", "test_split")) if s), None)


def _package() -> Any:
    """The package `datasets`, where something stood for it too."""
    if getattr(sys.modules.get("datasets"), "__spec__", True) is None:
        del sys.modules["datasets"]
    with lean("chardet"):
        import datasets
    return datasets


def _splits(folder: Path) -> dict[str, list[Path]]:
    """The data files of a folder by the splits in their names, as in test.jsonl.gz or train-00000-of-2.parquet."""
    found: dict[str, list[Path]] = {}
    for path in _files(folder):
        found.setdefault(path.name.split(".")[0].split("-")[0], []).append(path)
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_file() and _suffix(path) in FORMATS]


def _suffix(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix in (".gz", ".zst", ".xz", ".bz2") else path.suffix


def _format(path: Path) -> str:
    if (suffix := _suffix(path)) not in FORMATS:
        raise Refused(f"--dataset …={path}: a file of {', '.join(FORMATS)} was expected, or one of these with .gz")
    return FORMATS[suffix]


def first_line(error: BaseException) -> str:
    """What an error says, on one line that is not too long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
