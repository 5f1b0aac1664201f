"""Languages as data: a folder each, with `language.yaml`, an example that passes and one that fails.

A program in such a language is one file, solution and tests together, compiled and run in a container of the
language's own image. `docs/languages.md` says how it is judged and how a language is added. In every regular expression
`^` and `$` match at each line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from core.errors import UnknownName

FOLDER = Path(__file__).parent
FILE = "language.yaml"
PREPARE = "prepare.sh"
MARKER = "{marker}"
"""What `Marker.text` has in the place of the marker."""

Sign = Literal["out_of_memory", "compile_error", "failed"]
"""What a program can be seen to have died of, in the order in which it is looked for."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use, unless the candidate's own limits say otherwise."""

    compile_cpu_s: float
    """CPU seconds of the compiler, all its processes together."""
    cpu_s: float
    """CPU seconds of the program."""
    memory_bytes: int
    """Memory of the compiler, and of the program."""
    processes: int
    """Processes and threads."""
    address_space: bool
    """Whether `memory_bytes` may bound the address space too (RLIMIT_AS): not where a runtime reserves far more."""


@dataclass(frozen=True, slots=True)
class Detect:
    """Regular expressions that code of a language matches."""

    sure: tuple[str, ...] = ()
    """Other languages hardly match these."""
    likely: tuple[str, ...] = ()
    """Each counts a quarter of a sure one."""

    def score(self, code: str) -> int:
        """How much the code looks like the language: 0, not at all."""
        sure, likely = (
            sum(re.search(pattern, code, re.MULTILINE) is not None for pattern in patterns)
            for patterns in (self.sure, self.likely)
        )
        return 4 * sure + likely


PYTHON = Detect(
    sure=(
        r"^[ \t]*(async )?def \w+\(.*\)\s*(->.*)?:\s*(#.*)?$",
        r"^[ \t]*(from [\w.]+ import [^\n;]+|import \w[\w.]*( as \w+)?)$",
        r"^[ \t]*(elif\b.*|else|try|except\b.*|with\b.*):\s*(#.*)?$",
    ),
    likely=(
        r"^[ \t]*(if|for|while|class)\b[^\n{;]*:\s*(#.*)?$",
        r"^[ \t]*(return|yield|raise|assert)\b[^\n;{]*$(?![\s\S]*[;{][ \t]*$)",
        r"\b(len|range|sorted|enumerate|isinstance)\(|\bNone\b|\bself\.",
    ),
)
"""What Python is recognised by: it has no folder."""


@dataclass(frozen=True, slots=True)
class Marker:
    """How a program says that its tests came to their end."""

    pattern: str
    """A regular expression: its last match in the tests is where the marker goes."""
    text: str
    """What takes the match's place, as in `re.sub`, with `{marker}` for the marker itself."""


@dataclass(frozen=True, slots=True)
class Form:
    """One way in which tests of the language are written, and how such a program is compiled and run."""

    name: str
    when: str | None
    """A regular expression that tests of this form match; None: any tests."""
    file: str
    """What the program is called; the working directory is its folder."""
    compile: tuple[str, ...] | None
    """The compiler's arguments. Where it fails, the program has a compile error. None: nothing to compile."""
    run: tuple[str, ...]
    marker: Marker | None
    """None: such a program is judged by its exit status alone."""
    rejects: str | None
    """A regular expression: output beside the marker that matches it means failure, whatever the exit status."""
    judged: str
    """In words: what makes a program pass, and whose rules those are."""

    def marked(self, tests: str, marker: str) -> str | None:
        """The tests with the statement that prints `marker` and a line break; None where it has no place in them.

        marker: letters and digits, unguessable.
        """
        if self.marker is None:
            return None
        matches = list(re.finditer(self.marker.pattern, tests, re.MULTILINE))
        if not matches:
            return None
        last = matches[-1]
        return tests[: last.start()] + last.expand(self.marker.text.replace(MARKER, marker)) + tests[last.end() :]

    def rejected(self, output: str, marker: str) -> bool:
        """Whether what a program wrote, on either stream, means failure. marker: what `marked` put in."""
        beside = output.replace(f"{marker}\n", "")
        return self.rejects is not None and re.search(self.rejects, beside, re.MULTILINE) is not None


@dataclass(frozen=True, slots=True)
class Language:
    """Everything that the sandbox needs to know of a language."""

    name: str
    aliases: tuple[str, ...]
    """Other names, those that the harnesses use among them."""
    release: str
    """The Debian release that its image is made of."""
    packages: tuple[str, ...]
    """Debian packages, beside the `python3` that every image has for the agent."""
    prepare: str
    """A shell script that ends the making of the image, as root; empty: nothing to do."""
    version: tuple[str, ...]
    """What prints the toolchain's version, and so shows that it is there."""
    environment: Mapping[str, str]
    """Variables for compiling and running."""
    files: Mapping[str, str]
    """Further files laid beside the program: relative path to content."""
    limits: Limits
    signs: Mapping[Sign, str]
    """Regular expressions over the output of a program that did not pass: what it died of."""
    forms: tuple[Form, ...]
    """In the order in which they are tried; the last takes any tests."""
    undefended: tuple[str, ...]
    """What a candidate can do here to pass without being right."""
    detect: Detect
    """How unlabelled code of this language is recognised."""
    passes: str
    """An example program that passes, in the last form."""
    fails: str
    """One that a test fails."""

    def form(self, tests: str) -> Form:
        """The form that the tests are in. The solution has no say in it."""
        return next(form for form in self.forms if form.when is None or re.search(form.when, tests, re.MULTILINE))

    def died_of(self, output: str) -> Sign | None:
        """What the output of a program that did not pass says of why; None: nothing."""
        return next((sign for sign, pattern in self.signs.items() if re.search(pattern, output, re.MULTILINE)), None)


def names() -> list[str]:
    """Every language that has a folder."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}"))


def load(name: str) -> Language:
    """The language of that name or alias.

    Raises UnknownName with the closest names, and BadData where its folder is not as it should be.
    """
    known = _aliases()
    if name not in known:
        raise UnknownName("language", name, known, "a language is a folder in sandbox/languages")
    return _load(known[name])


def detect(code: str) -> str | None:
    """The language that unlabelled code is in: a name of `names`, `python`, or None where there is doubt."""
    said = _bounded(code)
    scores = {name: signs.score(said) for name, signs in _signs_of().items()}
    best = max(scores.values())
    found = [name for name, score in scores.items() if score == best]
    return found[0] if best and len(found) == 1 else None


def _bounded(code: str) -> str:
    """The beginning of the code without its comments: prose may hold any language's words, and a model's answer
    anything that makes a regular expression slow.
    """
    first, *rest = code[:KEPT].split("/*")
    blocks = first + "".join(part.partition("*/")[2] or part for part in rest)
    return "\n".join(line[:KEPT_OF_LINE] for line in blocks.splitlines() if not _COMMENT.match(line))


@cache
def _load(name: str) -> Language:
    from sandbox.languages import parse

    return parse.folder(FOLDER / name)


@cache
def _aliases() -> dict[str, str]:
    return {alias: name for name in names() for alias in (name, *_load(name).aliases)}


@cache
def _signs_of() -> dict[str, Detect]:
    return {"python": PYTHON, **{name: _load(name).detect for name in names()}}


_COMMENT = re.compile(r"\s*(//|--|#(?![!\[]|\s*include))")
KEPT, KEPT_OF_LINE = 10_000, 200
"""Characters of code, and of each of its lines, that a language is recognised by."""
