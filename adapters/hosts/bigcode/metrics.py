"""The hub's metrics of texts, as its code has them, and without it: nothing of the hub is fetched or run."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

JOINED = (("<skipped>", ""), ("-\n", ""), ("\n", " "))
ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
"""In this order: `&amp;lt;` is a `<` too."""
APART = (
    (r"([ -&(-+/:-@\[-`{-~])", r" \1 "),  # all of ASCII's punctuation but these: ' , - .
    (r"([^0-9])([.,])", r"\1 \2 "),
    (r"([.,])([^0-9])", r" \1 \2"),
    (r"([0-9])(-)", r"\1 \2 "),
)
"""What is set apart from its neighbours: a point or a comma stays between digits, a dash after anything but a digit."""


class Bleu:
    """`bleu`, https://huggingface.co/spaces/evaluate-metric/bleu, with the tokens that it takes by default.

    BLEU of a whole corpus: Papineni et al. 2002, https://aclanthology.org/P02-1040. The references' length is that of
    the shortest of each.
    """

    def compute(
        self,
        *,
        predictions: Sequence[str],
        references: Sequence[str | Sequence[str]],
        max_order: int = 4,
        smooth: bool = False,
    ) -> dict[str, Any]:
        """`bleu` and its parts. Raises ValueError where there are not as many references as predictions.

        references: of each prediction, one or several. smooth: add one to all counts of n-grams, in every order: Lin
        and Och 2004, https://aclanthology.org/C04-1072.

        Where the hub's divides by zero: it is 0 if no prediction has a token, and no number if no reference has.
        """
        matches, possible = [0] * max_order, [0] * max_order
        length = reference_length = 0
        for prediction, of_one in zip(predictions, references, strict=True):
            found = tokens(prediction)
            right = [tokens(text) for text in ([of_one] if isinstance(of_one, str) else of_one)]
            length += len(found)
            reference_length += min(map(len, right))
            for order in range(1, max_order + 1):
                grams, most = _grams(found, order), Counter[tuple[str, ...]]()
                for each in right:
                    most |= _grams(each, order)
                matches[order - 1] += (grams & most).total()
                possible[order - 1] += grams.total()
        precisions = [_precision(*counts, smooth) for counts in zip(matches, possible, strict=True)]
        ratio = length / reference_length if reference_length else math.nan
        penalty = 1.0 if ratio > 1 else math.exp(1 - 1 / ratio) if ratio else 0.0
        mean = math.exp(sum(1 / max_order * math.log(p) for p in precisions)) if min(precisions) > 0 else 0.0
        return {
            "bleu": mean * penalty,
            "precisions": precisions,
            "brevity_penalty": penalty,
            "length_ratio": ratio,
            "translation_length": length,
            "reference_length": reference_length,
        }


class ExactMatch:
    """`exact_match`, https://huggingface.co/spaces/evaluate-metric/exact_match."""

    def compute(
        self,
        *,
        predictions: Sequence[str],
        references: Sequence[str],
        regexes_to_ignore: Sequence[str] | None = None,
        ignore_case: bool = False,
        ignore_punctuation: bool = False,
        ignore_numbers: bool = False,
    ) -> dict[str, float]:
        """The share of predictions that are their references, less what is to be ignored; no number of none.

        Raises ValueError where there are not as many references as predictions.
        """
        import numpy as np

        removed = (string.punctuation if ignore_punctuation else "") + (string.digits if ignore_numbers else "")
        gone: Any = str.maketrans("", "", removed)

        def compared(texts: Any) -> Any:
            # As arrays, which cut off what is longer in lower case than all were before, as the hub's do.
            for pattern in regexes_to_ignore or ():
                texts = np.array([re.sub(pattern, "", text) for text in texts])
            texts = np.asarray(texts)
            texts = np.char.lower(texts) if ignore_case else texts
            return np.char.translate(texts, gone) if removed else texts

        if len(predictions) != len(references):
            raise ValueError(f"{len(predictions)} predictions, {len(references)} references")
        if not len(predictions):
            return {"exact_match": math.nan}
        return {"exact_match": float(np.mean(compared(predictions) == compared(references)))}


TEXT = {"bleu": Bleu(), "exact_match": ExactMatch()}
"""By their names on the hub."""


def tokens(text: str) -> list[str]:
    """A text's tokens, case and all, as NIST's `mteval-v13a` makes them, and sacrebleu's `13a` after it."""
    for old, new in (*JOINED, *ENTITIES):
        text = text.replace(old, new)
    text = f" {text} "
    for pattern, apart in APART:
        text = re.sub(pattern, apart, text)
    return text.split()


def _grams(words: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(words[start:] for start in range(order)), strict=False))


def _precision(matches: int, possible: int, smooth: bool) -> float:
    if smooth:
        return (matches + 1) / (possible + 1)
    return matches / possible if possible else 0.0
