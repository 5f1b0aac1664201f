"""The small pieces of Markdown. None of them lets a text that somebody else wrote break out of its place."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, what reorders text, and what UTF-8 cannot hold. Tab and newline are left out."""


def visible(text: str) -> str:
    """The text with its control characters written as Python's escapes, and with Unix line ends."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def line(text: str) -> str:
    """The text on one line, visible."""
    return " ".join(visible(text).split())


def code(text: str) -> str:
    """The text as a code span on one line."""
    text = line(text)
    ticks = _longer_ticks(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}" if text else ""


def fence(text: str) -> str:
    """The text as a fenced block, its fence longer than any in it."""
    text = visible(text)
    ticks = _longer_ticks(text, 3)
    return f"{ticks}\n{text}{'' if text.endswith(chr(10)) else chr(10)}{ticks}"


def cut(text: str, head: int, tail: int) -> str:
    """The first `head` and the last `tail` characters of a longer text, and between them how many were left out."""
    gone = len(text) - head - tail
    if gone <= 0:
        return text
    mark = f"[… {gone:,} characters cut …]"
    return "\n".join(part for part in (text[:head], mark, text[len(text) - tail :]) if part)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A table, its columns padded so that it reads as plain text too.

    align: a letter for each column: l or r.
    """
    cells = [[line(cell).replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]
    rules = ["-" * (width - 1) + (":" if a == "r" else "-") for width, a in zip(widths, align, strict=True)]
    padded = [
        [cell.rjust(w) if a == "r" else cell.ljust(w) for cell, w, a in zip(row, widths, align, strict=True)]
        for row in cells
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in (padded[0], rules, *padded[1:]))


def percent(share: float | None) -> str:
    """A share of 1 in percent, to two places: 0.00 and 100.00 are said of 0 and 1 alone."""
    if share is None:
        return "undefined"
    text = f"{100 * share:.2f}"
    if text == "100.00" and share < 1:
        text = "> 99.99"
    elif text == "0.00" and share > 0:
        text = "< 0.01"
    return f"{text} %"


def _longer_ticks(text: str, least: int) -> str:
    return "`" * max(least, *(len(run) + 1 for run in re.findall("`+", text) or [""]))
