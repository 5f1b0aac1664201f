"""Names to implementations, resolved only when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from core.errors import UnknownName, UsageError


class Registry:
    """The implementations of one kind, each a lazy `module:attribute`.

    kind: what its names name ("provider"), for messages.
    group: the entry-point group in which other packages add to it.
    builtin: name → "module:attribute".
    extras: name → the extra of this package that the implementation needs, where it needs one.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str], extras: Mapping[str, str] | None = None):
        self.kind, self.group = kind, group
        self._builtin = dict(builtin)
        self._extras = dict(extras or {})

    def names(self) -> list[str]:
        """Every name that `get` takes."""
        return sorted({*self._builtin, *self._plugins()})

    def get(self, name: str) -> Any:
        """The implementation called `name`.

        Raises UnknownName with the closest names, and UsageError with the install command where an optional
        dependency is missing.
        """
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            try:
                return getattr(import_module(module), attribute)
            except ModuleNotFoundError as error:
                extra = self._extras.get(name)
                if extra is None:
                    raise
                raise UsageError(
                    f"{self.kind} '{name}' needs the package '{error.name}': pip install 'touchstone[{extra}]'"
                ) from error
        plugins = self._plugins()
        if name in plugins:
            return plugins[name].load()
        raise UnknownName(self.kind, name, self.names())

    def _plugins(self) -> dict[str, Any]:
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=self.group)}
