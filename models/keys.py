"""Settings of model servers, from the environment or a `.env` file; keys among them are never shown again.

Keys never come from options: command lines are seen by every process of the machine and end up in histories.
"""

from __future__ import annotations

import os
import re

from core.errors import UsageError

_hidden: set[str] = set()


def setting(variable: str) -> str | None:
    """What `variable` is set to in the environment, else in `.env` of the current directory.

    White space around it is dropped, and what is then empty counts as not set. Raises UsageError where `.env` cannot
    be read.
    """
    return os.environ.get(variable, "").strip() or _dotenv(variable).strip() or None


def secret(variable: str) -> str | None:
    """A `setting` that is a key: from here on, `scrub` removes it from every text.

    Raises UsageError where it cannot be a key: HTTP headers carry visible ASCII alone.
    """
    key = setting(variable)
    if key is None:
        return None
    hide(key)
    if not re.fullmatch("[!-~]+", key):
        raise UsageError(f"{variable} holds a character that no key has: set it again, without spaces or quotes")
    return key


def hide(text: str) -> None:
    """Have `scrub` remove `text` too."""
    if text:
        _hidden.add(text)


def scrub(text: str) -> str:
    """`text` without the keys that were handed out.

    Removes whole keys, and the shortened forms that servers echo: a key's beginning, then asterisks or dots, then its
    end ("sk-a1B2****wxyz").
    """
    for key in sorted(_hidden, key=len, reverse=True):
        text = text.replace(key, "[key]")
        if len(key) >= 8:
            text = re.sub(re.escape(key[:4]) + r"[\w-]*(?:\*+|\.{2,}|…)[\w-]*", "[key]", text)
    return text


def _dotenv(variable: str) -> str:
    from dotenv import dotenv_values

    try:
        return dotenv_values(".env", interpolate=False).get(variable) or ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f".env cannot be read ({error}): mend or remove it") from None
