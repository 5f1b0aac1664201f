"""What the agent's roles have in common with each other, as far as it can be seen outside a sandbox."""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from sandbox.agent import candidate, frames, system

SOURCE = """
class Low(ValueError):
    pass

class Mute(Exception):
    def __str__(self):
        raise KeyError("no")

def deep(n):
    return 1 if n == 0 else deep(n - 1) / 0

def low():
    raise Low("so", "low")

def noted():
    error = ValueError("seen")
    error.add_note("first\\nsecond")
    raise error

def caused():
    try:
        low()
    except Low as error:
        raise TypeError("why") from error

def while_handling():
    try:
        low()
    except Low:
        raise TypeError("why")

def hidden():
    try:
        low()
    except Low:
        raise TypeError("why") from None

def several():
    raise ExceptionGroup("some", [ValueError("one"), Low("other")])

def own():
    Low.__module__ = "solution"
    low()

def silent():
    assert deep(0) == 2

def invalid():
    compile("def f(:", "tests.py", "exec")

def of_the_library():
    import json
    json.loads("{")

def of_no_file():
    exec(compile("1 / 0", "<call>", "exec"))

def little():
    deep(3)

def much():
    deep(100)

def endless():
    deep(10**6)
"""
NAMES = (
    *("low", "noted", "caused", "while_handling", "hidden", "several", "own", "silent", "invalid", "of_the_library"),
    *("of_no_file", "little", "much", "endless"),
)


def raiser(name: str) -> Callable[[], None]:
    """A function of the source, which is shown in tracebacks."""
    frames.source("solution.py", SOURCE)
    names: dict[str, Callable[[], None]] = {}
    exec(compile(SOURCE, "solution.py", "exec"), names)
    return names[name]


def unmarked(text: str) -> list[str]:
    """The lines but those that underline parts of the one above."""
    return [line for line in text.splitlines() if line.strip(" ~^")]


@pytest.mark.parametrize("name", NAMES)
def test_raised_then_the_text_is_the_interpreters_but_for_marks(name: str) -> None:
    function = raiser(name)
    try:
        function()
    except BaseException as error:
        found = frames.raised(error)
        steps = error.__traceback__.tb_next if error.__traceback__ else None
        whole = "".join(traceback.format_exception(type(error), error, steps, limit=-20))
    assert unmarked(found["traceback"]) == unmarked(whole)


def test_raised_when_the_exception_cannot_say_what_it_is_then_that_is_said() -> None:
    names: dict[str, type[Exception]] = {}
    exec(SOURCE, names)
    assert frames.raised(names["Mute"]()) == {
        "kinds": ["Mute", "Exception", "BaseException"],
        "message": "<its message raised KeyError>",
        "traceback": "Mute: <its message raised KeyError>\n",
    }


def test_rehearse_then_leaves_nothing_behind() -> None:
    def found() -> tuple[list[str], list[str], int]:
        return sorted(sys.modules), sorted(linecache.cache), len([*Path("/proc/self/fd").iterdir()])

    candidate.rehearse()
    before = found()
    candidate.rehearse()
    assert found() == before
    assert not {"solution", "solution.py"} & {*sys.modules, *linecache.cache}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that is writable to a candidate."""
    monkeypatch.setattr(system, "WRITABLE", (str(tmp_path), "/there/is/no/such/folder"))
    return tmp_path


def test_wipe_then_the_folder_is_empty_each_time(folder: Path) -> None:
    upkeep = system.Upkeep(tester=0)
    for name in ("one", "one", "other"):
        (folder / name).write_text("left")
        assert upkeep.wipe(os.getuid())
        assert not [*folder.iterdir()]
        os.utime(folder, (0, 0))  # else a change at once may have the same time, where the size does not tell


def test_wipe_when_the_folder_is_as_it_was_then_is_not_searched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(path: str) -> NoReturn:
        raise AssertionError(path)

    os.utime(folder, (0, 0))
    upkeep = system.Upkeep(tester=0)
    assert upkeep.wipe(os.getuid())
    monkeypatch.setattr(os, "listdir", searched)
    assert upkeep.wipe(os.getuid())
    (folder / "one").mkdir()
    with pytest.raises(AssertionError, match=str(folder)):
        upkeep.wipe(os.getuid())


def test_cpu_time_then_counts_the_children_that_were_waited_for() -> None:
    pid = os.fork()
    if pid == 0:
        while sum(os.times()[:2]) < 0.05:
            pass
        os._exit(0)
    os.waitpid(pid, 0)
    assert system.cpu_time(os.getpid()) >= 0.04
    assert system.cpu_time(pid) == 0.0
