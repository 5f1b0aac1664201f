"""What the source of a solution may be asked to be. `quality.checks` looks whether it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

LITERAL = "literal"
CHECKS: Mapping[str, Literal["nothing", "a number", "words"]] = {
    LITERAL: "nothing",
    "docstrings": "nothing",
    "annotations": "nothing",
    "types": "nothing",
    "complexity": "a number",
    "nesting": "a number",
    "statements": "a number",
    "uses": "words",
    "avoids": "words",
}
"""Name → what goes with it. docs/tasks.md says what each means."""
