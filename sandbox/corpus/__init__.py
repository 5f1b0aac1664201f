"""Hostile programs, and the correct one that runs after each of them: what a sandbox is tried with.

None of them solves its task, so that none may pass; nor may one hang, or be noticed by the correct one. Python's are in
`python/`, a file for each way to be hostile; another language's are in `LANGUAGE.yaml`. `docs/sandbox.md` has the form
of the files. `sandbox.corpus.trial` runs them and says what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

from core.errors import UnknownName
from core.types import Candidate, Case, Limits, Solution, Tests
from sandbox.pythons import PYTHON

FOLDER = Path(__file__).parent
PROGRAM_CPU_S = 3.0
"""CPU seconds of a hostile program in another language than Python."""

Mode = Literal["data", "code", "beside", "program"]
"""Who judges: the host alone, by values; test code in a process of its own; test code in the candidate's process; or,
in other languages than Python, tests and solution in one program."""

DATA = Tests(
    cases=(
        Case("add(1, 2)", 3),
        Case("add('ab', 'c')", "abc"),
        Case("add(None, 1)", raises="TypeError"),
    )
)
CODE = Tests(
    source=dedent(
        """
        def check(candidate):
            assert candidate(1, 2) == 3
            assert candidate('ab', 'c') == 'abc'
            try:
                candidate(None, 1)
            except TypeError:
                pass
            else:
                assert False, "add(None, 1) raised nothing"
        """
    ),
    calls=("check(add)",),
)
BESIDE = replace(CODE, shared=True)
MODES: dict[Mode, Tests] = {"data": DATA, "code": CODE, "beside": BESIDE}
"""The tests of the task that Python's programs are given: a function `add`."""
ONE_PROCESS = "test code shares the candidate's process"
"""Why some of Python's programs pass in the mode `beside`."""

NEIGHBOUR = """
import ctypes, json, math, os, socket, threading

libc = ctypes.CDLL(None)
assert os.listdir("/tmp") == [] and os.listdir("/dev/shm") == [], "files were left"
assert len([name for name in os.listdir("/proc") if name.isdigit()]) == 3, "processes were left"
assert libc.shmget(4711, 1, 0) == libc.semget(4711, 1, 0) == libc.msgget(4711, 0) == -1, "System V objects were left"
assert libc.syscall(249, b"user", b"left", 0, 0) == -1, "a key was left"
assert socket.socket(socket.AF_UNIX).connect_ex("\\0left"), "a listener was left"
assert socket.socket().connect_ex(("127.0.0.1", 4711)), "a port was left"
assert "LEFT" not in os.environ and os.nice(0) == 0 and os.umask(0o22) == 0o22, "the environment was changed"
assert math.sqrt(4) == 2 and json.dumps([1]) == "[1]", "modules were changed"
open("/tmp/own", "w").write("x" * 10**6)
thread = threading.Thread(target=bytearray, args=(100 << 20,))
thread.start()
thread.join()
if os.fork() == 0:
    os._exit(0)
assert os.wait()[1] == 0
print("done")

def add(a, b):
    return a + b
"""
"""Correct, and particular about the place that it is given."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One hostile program and the tests that it is judged by."""

    language: str
    file: str
    """The way in which it is hostile; in other languages than Python, the language."""
    name: str
    """Unique in its file."""
    mode: Mode
    candidate: Candidate
    slow: bool = False
    """Left out of a quick check."""
    undefended: str = ""
    """Why it passes, where that is known and cannot be helped. Empty: it must not."""

    @property
    def key(self) -> str:
        """What names it among all: FILE/NAME-MODE."""
        return f"{self.file}/{self.name}-{self.mode}"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A correct program, which must pass wherever it runs."""

    candidate: Candidate
    stdout: str | None = None
    """What it writes, and no more may be found; None: not looked at."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """All that a sandbox is tried with in one language."""

    language: str
    probes: tuple[Probe, ...]
    neighbour: Neighbour


def names() -> list[str]:
    """The languages that have hostile programs: Python, then the others."""
    return [PYTHON, *sorted(path.stem for path in FOLDER.glob("*.yaml"))]


def corpus(language: str = PYTHON) -> Corpus:
    """A language's.

    language: a name or alias of `sandbox.languages`, or `python`. Raises UnknownName where it has none, and BadData
    where a file is not as it should be.
    """
    from sandbox import languages

    if language == PYTHON:
        return _python()
    name = language if language in names() else languages.load(language).name
    if name not in names():
        raise UnknownName("corpus of hostile programs", name, names(), "each is a file in sandbox/corpus")
    return _programs(name)


def candidate(code: str, tests: Tests = DATA, **limits: Any) -> Candidate:
    """A candidate in Python with short limits, but for those given."""
    return Candidate(
        Solution(dedent(code), "verbatim"), "add", tests, Limits(**{"cpu_s": 1.0, "wall_margin_s": 1.0, **limits})
    )


def _python() -> Corpus:
    neighbour = Neighbour(candidate(NEIGHBOUR, cpu_s=3.0, wall_margin_s=10.0), "done\n")
    files = sorted((FOLDER / PYTHON).glob("*.yaml"))
    return Corpus(PYTHON, tuple(probe for path in files for probe in _ways(path)), neighbour)


def _ways(path: Path) -> Iterator[Probe]:
    """Every program of a file in Python, in every mode.

    Who judges is all the same to programs that do not aim at it: quick checks have those in one mode.
    """
    from sandbox.corpus import parse

    for entry in (file := parse.python(path)).entries:
        for mode, tests in MODES.items():
            beside = mode == "beside"
            if beside and not file.judge:
                continue
            yield Probe(
                language=PYTHON,
                file=path.stem,
                name=entry.name,
                mode=mode,
                candidate=candidate(entry.code, tests),
                slow=entry.slow or beside or (mode == "code" and not file.judge),
                undefended=f"{ONE_PROCESS}: {entry.undefended}" if beside and entry.undefended else "",
            )


def _programs(language: str) -> Corpus:
    from sandbox import languages
    from sandbox.corpus import parse

    file = parse.programs(FOLDER / f"{language}.yaml")
    own = languages.load(language).limits
    tests = Tests(source=file.tests, calls=("tests",))

    def program(code: str, limits: Limits) -> Candidate:
        return Candidate(Solution(code, "verbatim"), "", tests, limits, language)

    short = Limits(cpu_s=min(own.cpu_s, PROGRAM_CPU_S), memory_bytes=own.memory_bytes)
    probes = (
        Probe(language, language, entry.name, "program", program(entry.code, short), entry.slow, entry.undefended)
        for entry in file.entries
    )
    long = Limits(cpu_s=own.cpu_s, wall_margin_s=10.0, memory_bytes=own.memory_bytes)
    return Corpus(language, tuple(probes), Neighbour(program(file.neighbour, long)))
