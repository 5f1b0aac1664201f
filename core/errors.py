"""Every error that Touchstone raises on purpose.

TouchstoneError
├── UsageError             exit 2: the user can mend it in input or configuration
│   ├── UnknownName        a name that no registry, suite or store knows
│   ├── BadData            a file that cannot be read as what it should be
│   └── RunMismatch        a run that cannot be resumed with these settings or data
├── HostError              exit 1: the environment
│   ├── ServerUnreachable  a model server gave no answer at all
│   ├── SandboxUnavailable no sandbox can be had on this host
│   └── StorageError       the database or a file cannot be written
└── GenerationError        one completion could not be had; the run goes on

Each message names the fault and the mend, in one line.
"""

from __future__ import annotations

from collections.abc import Iterable


class TouchstoneError(Exception):
    """The root. `exit_code` is what the command ends with when nothing handles the error."""

    exit_code = 1


class UsageError(TouchstoneError):
    """Something that the user can mend in input or configuration."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not known, said with the closest names and with what there is.

    kind: what the name should have named, as in "unknown model".
    known: every name that would have been taken.
    hint: a further sentence: the command that mends it.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        import difflib

        names = sorted(set(known))
        self.kind, self.name, self.known = kind, name, names
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        parts = [f"unknown {kind} '{name}'"]
        if close:
            parts.append("did you mean " + " or ".join(f"'{c}'" for c in close) + "?")
        if names and len(names) <= 30:
            parts.append("there is: " + ", ".join(names))
        elif names:
            parts.append(f"there are {len(names)}, such as " + ", ".join(names[:5]))
        if hint:
            parts.append(hint)
        super().__init__("; ".join(parts))


class BadData(UsageError):
    """A file whose content is not what it should be.

    where: the file, as the user named it; line: counted from 1; field: a dotted path in the record.
    """

    def __init__(self, where: str, message: str, *, line: int | None = None, field: str | None = None) -> None:
        self.where, self.line, self.field = where, line, field
        place = where if line is None else f"{where}:{line}"
        super().__init__(f"{place}: {field}: {message}" if field else f"{place}: {message}")


class RunMismatch(UsageError):
    """A run cannot be resumed: its settings or its data set differ from those asked for."""


class HostError(TouchstoneError):
    """The environment cannot do what was asked."""


class ServerUnreachable(HostError):
    """A model server gave no answer at all."""


class SandboxUnavailable(HostError):
    """No sandbox can be had on this host."""


class StorageError(HostError):
    """The database or a file cannot be read or written."""


class GenerationError(TouchstoneError):
    """One completion could not be had. The sample is a `generation_error`; the run goes on.

    tries: how many requests were made for it. begun: whether an answer had begun, which may have to be paid.
    """

    def __init__(self, message: str, *, tries: int = 1, begun: bool = False) -> None:
        self.tries, self.begun = tries, begun
        super().__init__(message)
