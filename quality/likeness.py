"""How alike two texts are: the share of their runs of words that they have in common. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

RUN = 4
"""Words in a run. Broder, "On the resemblance and containment of documents", 1997."""


def runs(text: str) -> frozenset[tuple[str, ...]]:
    """The runs of words of a text, without case."""
    words = re.findall(r"\w+", text.lower())
    return frozenset(tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1))


def alike(
    texts: Iterable[tuple[str, str]], others: Iterable[tuple[str, str]], least: float
) -> Iterator[tuple[str, str, float]]:
    """The pairs of named texts, of the first with each other and with the others, that are alike.

    least: the least share of the shorter one's runs that the other has too, from which they are. Names, and that share.
    """
    known: dict[str, frozenset[tuple[str, ...]]] = {}
    where: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    own = [(name, runs(text)) for name, text in texts]
    for name, found in ((name, runs(text)) for name, text in others):
        known[name] = found
        for run in found:
            where[run].append(name)
    for name, found in own:
        common: defaultdict[str, int] = defaultdict(int)
        for run in found:
            for other in where[run]:
                common[other] += 1
            where[run].append(name)
        known[name] = found
        for other, count in common.items():
            share = count / max(1, min(len(found), len(known[other])))
            if share >= least:
                yield name, other, share
