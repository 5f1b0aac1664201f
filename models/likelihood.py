"""What is scored of a text, and after what: as lm-eval 0.4.13 has it, so that figures are equal to its own.

Source: `TemplateLM._encode_pair` and `loglikelihood` in lm_eval/api/model.py, `get_rolling_token_windows` and
`make_disjoint_window` in lm_eval/utils.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.types import Completion

CONTEXT = 2048
"""The tokens that a model takes at once, where nothing says how many."""

Piece = tuple[list[int], list[int]]
"""Token ids, and those that are scored after them."""
Score = tuple[float, bool]
"""The sum of some tokens' natural log-probabilities, and whether each was the likeliest."""


def parted(prompt: str, continuation: str) -> tuple[str, str]:
    """The text that a continuation comes after, and the text that is scored.

    White space at the prompt's end is scored with the continuation: tokens begin with spaces rather than end with them.
    Where nothing else is before it, it is scored as a whole text.
    """
    context = prompt.rstrip()
    return context, prompt[len(context) :] + continuation


def windows(ids: Sequence[int], prefix: int, longest: int) -> list[Piece]:
    """A whole text in pieces that a model takes, in order; each token is scored once.

    ids: the text's tokens. A prefix at their beginning stands for the one that is put there. prefix: the token before
    the text. longest: tokens that are scored in one piece, at least 1. Each piece is scored after the token before it,
    the last one after as many as make it as long as the others.
    """
    ids = list(ids[1:] if ids[:1] == [prefix] else ids)
    ends = [min(at + longest, len(ids)) for at in range(0, len(ids), longest)]
    starts = range(0, len(ids), longest)
    return [
        (ids[end - longest - 1 : start] if start else [prefix], ids[start:end])
        for start, end in zip(starts, ends, strict=True)
    ]


def scored(continuation: str, scores: Sequence[Score]) -> Completion:
    """The completion that says how a continuation was scored, piece by piece. Of no pieces the probability is 1."""
    logprob, greedy = sum(logprob for logprob, _ in scores), all(greedy for _, greedy in scores)
    return Completion(continuation, logprob=float(logprob), greedy=greedy)
