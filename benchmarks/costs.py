"""Where a process's time goes, from a file that cProfile has written. cProfile itself makes everything slower: shares
count, not seconds."""

from __future__ import annotations

import pstats
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MOST = 25
WAITING = ("<method 'poll' of 'select.epoll' objects>", "<built-in method time.sleep>")

_Function = tuple[str, int, str]


def costs(path: Path) -> dict[str, Any]:
    """`packages`: the share of the time that each package's own code takes, with the C functions that it calls;
    `own`: the same by function; `under`: the share of Touchstone's functions with everything that they call, which
    coroutines have spent only while they ran; `busy_s`: the time that they are shares of; `waiting_s`: the rest.
    """
    entries: dict[_Function, Any] = pstats.Stats(str(path)).stats  # type: ignore[attr-defined]
    own: Counter[_Function] = Counter()
    waiting_s = 0.0
    for function, (_, _, own_s, _, callers) in entries.items():
        if function[2] in WAITING:
            waiting_s += own_s
        elif function[0] != "~" or not callers:
            own[function] += own_s
        else:  # a C function
            for caller, (_, _, for_caller_s, _) in callers.items():
                own[caller] += for_caller_s
    busy_s = sum(own.values())
    packages: Counter[str] = Counter()
    for function, seconds in own.items():
        packages[_package(function[0])] += seconds
    under = Counter(
        {function: whole_s for function, (_, _, _, whole_s, _) in entries.items() if _ours(function[0]) is not None}
    )

    def shares(counter: Counter[_Function]) -> dict[str, float]:
        return {_name(function): round(seconds / busy_s, 4) for function, seconds in counter.most_common(MOST)}

    return {
        "busy_s": round(busy_s, 2),
        "waiting_s": round(waiting_s, 2),
        "packages": {name: round(seconds / busy_s, 4) for name, seconds in packages.most_common(MOST)},
        "own": shares(own),
        "under": shares(under),
    }


def _ours(file: str) -> Path | None:
    path = Path(file)
    inside = path.is_relative_to(ROOT) and ".venv" not in path.parts
    return path.relative_to(ROOT) if inside else None


def _package(file: str) -> str:
    """The installed package, the standard library's module, or Touchstone's module."""
    if (ours := _ours(file)) is not None:
        return str(ours)
    parts = Path(file).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    return parts[-2] if parts[-2:-1] in (("asyncio",), ("json",), ("email",), ("importlib",)) else parts[-1]


def _name(function: _Function) -> str:
    file, line, name = function
    return f"{_package(file)}:{Path(file).name}:{line} {name}" if line else name
