"""The harness's tasks, without what it imports and a task does not need."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from core.imports import lean

PACKAGE = "bigcode_eval.tasks"
UNUSED = (
    *("torch", "torch.utils", "torch.utils.data", "transformers", "accelerate", "accelerate.utils"),
    *("pandas", "requests"),
)
"""What the harness imports for models of its own, and for tasks that are not run here."""


def tasks() -> Mapping[str, Any]:
    """Name → class of each task. The working directory must hold the harness.

    What its list of MultiPL-E's languages runs together for want of two commas, `cljcpp` and `mlpl`, is taken apart.
    """
    with _without_unused(), lean():
        registry: dict[str, Any] = dict(importlib.import_module(PACKAGE).TASK_REGISTRY)
    multiple = importlib.import_module(f"{PACKAGE}.multiple")
    for joined, languages in (("cljcpp", ("clj", "cpp")), ("mlpl", ("ml", "pl"))):
        if registry.pop(f"multiple-{joined}", None) is not None:
            registry.update({f"multiple-{name}": multiple.create_task(name) for name in languages})
    return registry


def module_of(task: Any) -> str:
    """The last part of the name of the module that a task's class is from."""
    return str(task.__module__).rpartition(".")[2]


def make(task: Any, prompt: str | None, descriptions: str | None) -> Any:
    """A task, made with what it asks for of these, where it is given: else as it is by itself.

    prompt: the kind of prompt, of tasks that have several. descriptions: a file.
    """
    given = {"prompt": prompt, "load_data_path": descriptions}
    takes = inspect.signature(task).parameters
    return task(**{name: value for name, value in given.items() if name in takes and value is not None})


@contextmanager
def _without_unused() -> Iterator[None]:
    """Within, empty modules stand for those of `UNUSED`, which take seconds to import."""
    there: dict[str, ModuleType | None] = {name: sys.modules.get(name) for name in UNUSED}
    for name in UNUSED:
        module = _Anything(name)
        module.__spec__ = ModuleSpec(name, None)
        module.__path__ = []
        sys.modules[name] = module
    try:
        yield
    finally:
        for name, before in there.items():
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before


class _Anything(ModuleType):
    """A module that has whatever it is asked for: a class to be derived from, or a function to be called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
