"""Continuing prompts with a transformer, and scoring given texts: many rows together, each as it would go alone.

A row at temperature 0 takes the likeliest token. Another adds Gumbel noise of its own generator to the tempered
logits and takes the largest, which draws from their softmax exactly (Maddison, Tarlow, Minka: A* Sampling, 2014,
section 2). So what a row draws depends on its seed and its logits, and never on the rows beside it. The logits depend
on them by rounding errors alone: some 1e-6 in float32, and in half precision enough to turn a near tie.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from core.types import FinishReason
from models.likelihood import Piece, Score


class Row:
    """One prompt, how it is to be continued, and how far that has come.

    prompt: token ids, at least one. limit: how many tokens at most. temperature: 0 takes the likeliest. top_p: the
    share of the probability, beginning with the likeliest, that is drawn from. seed: None draws anew each time.
    stops: texts that end it. given_up: whether nobody wants it any more.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        limit: int,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
        stops: Sequence[str] = (),
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.prompt, self.limit = list(prompt), limit
        self.temperature, self.top_p, self.seed = temperature, top_p, seed
        self.stops, self.given_up = [stop for stop in stops if stop], given_up
        # Each token that shows holds at least a byte. A few more, for what a decoder does at the beginning of a text.
        self.reach = max((len(stop.encode()) for stop in self.stops), default=0) + 8
        self.ids: list[int] = []
        """The tokens that continue the prompt, the one that ended it included."""
        self.shown: list[int] = []
        """Those of them that are text."""
        self.finish: FinishReason | None = None
        """Why it has ended; None: it has not, or was given up."""
        self.ended = False
        self.began_at = self.first_at = self.ended_at = perf_counter()
        """By `perf_counter`: when it was made, for a batch that began then; when its first token came, and its last."""
        self._generator: torch.Generator | None = None

    def generator(self, device: torch.device) -> torch.Generator:
        """The row's own source of noise."""
        if self._generator is None:
            self._generator = torch.Generator(device)
            if self.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(self.seed % (1 << 63))
        return self._generator


class Given:
    """A text that is to be scored, and how far that has come.

    pieces: its tokens, each time after those that they are scored after, which are one at least. given_up: whether
    nobody wants it any more.
    """

    def __init__(self, pieces: Sequence[Piece], *, given_up: Callable[[], bool] = lambda: False) -> None:
        self.pieces, self.given_up = pieces, given_up
        self.scores: list[Score] = []
        """Those of the first pieces, in their order."""
        self.began_at = self.ended_at = perf_counter()


class Decoder:
    """A loaded model with its tokenizer. Used in one thread.

    model: a causal language model; what its checkpoint says about sampling is dropped, the ids that end a text are
    kept. tokenizer: the model's.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        declared = (model.generation_config.eos_token_id, model.config.get_text_config().eos_token_id)
        self.ends = _ids(*declared, tokenizer.eos_token_id)
        self._hidden = self.ends | set(tokenizer.all_special_ids)
        # `generate` fills what its caller leaves open from here, where checkpoints keep penalties and the like.
        model.generation_config = GenerationConfig()
        anchor = tokenizer.encode("x", add_special_tokens=False)
        self._anchor, self._anchor_text = anchor, self._decode(anchor)

    def run(self, rows: Sequence[Row], ended: Callable[[Row], None]) -> None:
        """Continue rows that were made for it until all have ended.

        ended: told of each row as soon as it has ended, unless it was given up. Raises what the model raises.
        """
        width = max(len(row.prompt) for row in rows)
        pads = [width - len(row.prompt) for row in rows]
        # The mask hides the padding: any id does.
        inputs = [[0] * pad + row.prompt for pad, row in zip(pads, rows, strict=True)]
        masks = [[0] * pad + [1] * len(row.prompt) for pad, row in zip(pads, rows, strict=True)]
        device, longest = self._model.device, max(row.limit for row in rows)
        config = GenerationConfig(max_new_tokens=longest, do_sample=False, use_cache=True)
        self._model.generate(
            input_ids=torch.tensor(inputs, device=device),
            attention_mask=torch.tensor(masks, device=device),
            generation_config=config,
            logits_processor=LogitsProcessorList([_Draw(rows)]),
            stopping_criteria=StoppingCriteriaList([_Ends(self, rows, ended)]),
        )

    def score(self, texts: Sequence[Given], together: int, ended: Callable[[Given], None]) -> None:
        """Score texts, as far as they have not been, so many pieces at a time.

        ended: told of each as soon as it is scored, unless it was given up. Raises what the model raises.
        """
        for text in texts:
            if not text.pieces:
                ended(text)
        left = [(text, piece) for text in texts for piece in text.pieces[len(text.scores) :]]
        for at in range(0, len(left), together):
            rows = [(text, piece) for text, piece in left[at : at + together] if not text.given_up()]
            for (text, _), score in zip(rows, self._scores([piece for _, piece in rows]), strict=True):
                text.scores.append(score)
                if len(text.scores) == len(text.pieces):
                    text.ended_at = perf_counter()
                    ended(text)

    def _scores(self, pieces: Sequence[Piece]) -> list[Score]:
        """The scores of pieces in one forward pass, in float32."""
        if not pieces:
            return []
        # The last token's probability stands before it. What a token gives depends on none after it, padding included.
        inputs = [(before + tokens)[:-1] for before, tokens in pieces]
        width, device = max(map(len, inputs)), self._model.device
        with torch.no_grad():
            logits = self._model(
                input_ids=torch.tensor([ids + [0] * (width - len(ids)) for ids in inputs], device=device),
                attention_mask=torch.tensor(
                    [[1] * len(ids) + [0] * (width - len(ids)) for ids in inputs], device=device
                ),
                use_cache=False,
            ).logits
            return [
                _score(row[len(before) - 1 :], tokens) for row, (before, tokens) in zip(logits, pieces, strict=True)
            ]

    def text(self, ids: Sequence[int]) -> str:
        """What token ids say in the middle of a text, the model's special tokens left out.

        Decoders that drop a space at the beginning of a text would drop the indentation's: so they get a beginning.
        """
        text = self._decode([*self._anchor, *ids])
        return text.removeprefix(self._anchor_text) if text.startswith(self._anchor_text) else self._decode(ids)

    def take(self, row: Row, token: int) -> None:
        """Continue a row by a token, and end it where that is its last."""
        row.ended_at = perf_counter()
        if not row.ids:
            row.first_at = row.ended_at
        row.ids.append(token)
        if token not in self._hidden:
            row.shown.append(token)
        if token in self.ends or self._stopped(row):
            row.finish = "stop"
        elif len(row.ids) >= row.limit:
            row.finish = "length"
        row.ended = row.finish is not None or row.given_up()

    def _stopped(self, row: Row) -> bool:
        if not row.stops:
            return False
        tail = self.text(row.shown[-row.reach :])
        return any(stop in tail for stop in row.stops)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


class _Draw(LogitsProcessor):
    """Makes the token that each row draws the one with the largest score."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, _: Any, scores: Any) -> Any:
        if torch.isnan(scores).any():
            raise ArithmeticError("its logits are not numbers, as in an overflow of half precision")
        for i, row in enumerate(self._rows):
            if row.temperature > 0 and not row.ended:
                scores[i] = noisy(scores[i], row.temperature, row.top_p, row.generator(scores.device))
        return scores


class _Ends(StoppingCriteria):
    """Hands each row its token, and says which rows have ended."""

    def __init__(self, decoder: Decoder, rows: Sequence[Row], ended: Callable[[Row], None]) -> None:
        self._decoder, self._rows, self._ended = decoder, rows, ended

    def __call__(self, input_ids: Any, _: Any, **__: Any) -> Any:
        for row, token in zip(self._rows, input_ids[:, -1].tolist(), strict=True):
            if row.ended:
                continue
            self._decoder.take(row, token)
            if row.finish is not None:
                self._ended(row)
        return torch.tensor([row.ended for row in self._rows], device=input_ids.device)


def _score(logits: torch.Tensor, tokens: Sequence[int]) -> Score:
    """Of tokens by one row's logits, which begin with those of the first."""
    shares = logits[: len(tokens)].float().log_softmax(-1)
    if torch.isnan(shares).any():
        raise ArithmeticError("its logits are not numbers, as in an overflow of half precision")
    ids = torch.tensor(tokens, device=shares.device)
    logprobs = shares.gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    return float(logprobs.sum()), bool((shares.argmax(-1) == ids).all())


def noisy(scores: torch.Tensor, temperature: float, top_p: float, generator: torch.Generator) -> torch.Tensor:
    """One row's logits, whose largest is then a token drawn from their softmax at a temperature.

    top_p: only the likeliest tokens are left whose share of the probability reaches it, at least one.
    """
    scores = (scores - scores.max()) / temperature
    if top_p < 1:
        shares, order = scores.softmax(-1).sort(descending=True)
        beyond = shares.cumsum(-1) - shares >= top_p
        beyond[0] = False
        scores = scores.index_fill(0, order[beyond], -torch.inf)
    noise = torch.empty_like(scores).exponential_(generator=generator)
    return scores - noise.clamp_min_(torch.finfo(noise.dtype).tiny).log_()


def _ids(*declared: int | Sequence[int] | None) -> frozenset[int]:
    """The ids that a checkpoint declares in one of its ways: none, one or several."""
    found: set[int] = set()
    for ids in declared:
        found.update([ids] if isinstance(ids, int) else ids or ())
    return frozenset(found)
