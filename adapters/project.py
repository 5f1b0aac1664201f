"""Solutions that are several files of a project: each begins with a line `# file: PATH`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adapters.extraction import blocks
from core.types import Solution

_MARK = re.compile(r"^#[ \t]*file:[ \t]*(\S+)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_PART = re.compile(r"[\w-][\w.-]{0,99}")
_COOKIE = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
UTF8 = ("utf-8", "utf8", "utf_8")


def split(text: str) -> dict[str, str]:
    """Path → content of each file in a text. What stands before the first belongs to none, and so do files whose
    path leads out of the project."""
    marks = list(_MARK.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    found = {_path(mark[1]): _content(text[mark.end() : end]) for mark, end in zip(marks, ends, strict=True)}
    return {path: content for path, content in found.items() if safe(path)}


def _path(written: str) -> str:
    """A path without what is written around it."""
    return written.strip("`*\"'").removesuffix(":").strip("`*\"'").removeprefix("./")


def _content(text: str) -> str:
    """Without the blank lines around it, and without a word of another encoding."""
    lines = text.strip("\n").split("\n")
    # Python would read the file in that encoding, and who looks at the text does not.
    lines[:2] = [line for line in lines[:2] if not ((cookie := _COOKIE.match(line)) and cookie[1].lower() not in UTF8)]
    kept = "\n".join(lines).strip("\n")
    return f"{kept}\n" if kept.strip() else ""


def safe(path: str) -> bool:
    """Whether a path is relative, and stays where it begins."""
    return all(_PART.fullmatch(part) for part in path.split("/"))


def joined(files: Mapping[str, str]) -> str:
    """The text that `split` takes apart."""
    return "".join(f"# file: {path}\n{content.rstrip()}\n" for path, content in files.items())


def overlaid(given: Sequence[tuple[str, str]], text: str) -> tuple[tuple[str, str], ...]:
    """The whole project: what is given, with the files of a solution in place of those of the same path, or added."""
    return tuple({**dict(given), **split(text)}.items())


def extract(answer: str) -> Solution | None:
    """The files in a chat answer; None where there is none. Of several of the same path the last one is meant."""
    files: dict[str, str] = {}
    for block in blocks(answer):
        files.update(split(block))
    return Solution(joined(files), "fence") if files else None


def fences(text: str) -> str:
    """A solution as a chat answer gives it: a fence for each file."""
    parts = [f"```python\n# file: {path}\n{content.rstrip()}\n```" for path, content in split(text).items()]
    return "\n\n".join(parts)
