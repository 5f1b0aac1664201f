"""Models of the transformers library, run in this process: many requests in one batch, on a GPU where there is one.

`Completion.output_tokens` counts the token that ends an answer, where one does. `ttft_s` is the time to a request's
first token, waiting for the device included; `timings` are its batch's time until then, and its own from there on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from core.errors import GenerationError, UsageError
from core.types import Completion, Request
from models import keys
from models.base import Capabilities, Model
from models.batch import Asked, Batcher
from models.checkpoint import Checkpoint
from models.failures import words
from models.likelihood import CONTEXT, Piece, parted, scored, windows
from models.transcript import Transcript

if TYPE_CHECKING:
    from models.decoding import Decoder, Given, Row

# Without importing them, which takes seconds: this is what the registry answers with the extra to install.
for _package in ("torch", "transformers", "accelerate"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named '{_package}'", name=_package)

MAX_TOKENS = 1024
"""The limit of an answer where none is asked for and the context has room."""
BATCH = 8
"""Requests that are run together, unless `HF_BATCH` says otherwise."""


class HuggingFace(Model):
    """`hf/NAME`: a model's name on the hub, or the path of a folder, as `hf//absolute/path` or `hf/./relative`.

    Device: `HF_DEVICE`, as torch names it (`cuda:1`, `cpu`), or `auto` to spread a model over all; by default the first
    GPU, else the CPU. Requests together: `HF_BATCH`. The hub's token, if any: `HF_TOKEN`.
    """

    provider = "hf"
    scores_chats = True
    capabilities = Capabilities(styles=("instruct", "completion"), max_stops=sys.maxsize, prefill=True, logprobs=True)

    def __init__(self, name: str) -> None:
        """Reads configuration and tokenizer, because what the model can do depends on them.

        Raises UsageError and HostError as `Checkpoint` does, and UsageError for a setting that is none.
        """
        super().__init__(name)
        self._device = _device()
        self._batcher = Batcher(self._work, _batch_size())
        self._checkpoint = checkpoint = Checkpoint(name)
        # CPUs compute in half precision slowly, if at all, and its rounding lets the rows of a batch disturb each
        # other. Every number of half precision is one of float32.
        self._dtype = "float32" if self._device.partition(":")[0] == "cpu" else checkpoint.dtype
        self._decoder: Decoder | None = None
        self.capabilities = replace(
            self.capabilities,
            styles=("instruct", "completion") if checkpoint.is_chat else ("completion",),
            context=checkpoint.context,
        )

    async def check(self) -> None:
        """Load the model, once. Raises UsageError and HostError, with the mend."""
        await self._batcher.run(self._load)

    def parameters(self, request: Request) -> dict[str, Any]:
        """What the answer depends on but for the prompt. See `Model.parameters`."""
        used = {
            "endpoint": "in process",
            "model": self.name,
            "device": self._device.partition(":")[0],
            "dtype": self._dtype,
        }
        if request.continuation is not None:
            return used
        return {**used, "temperature": 0.0, "max_tokens": MAX_TOKENS, **self.sampling(request)}

    async def generate(self, request: Request) -> Completion:
        """One completion: a chat for messages, a raw continuation for a string. See `Model.generate`."""
        if not isinstance(request.prompt, str) and not self._checkpoint.is_chat:
            raise UsageError(f"hf/{self.name} has no chat template: choose --prompt-style completion")
        if self._decoder is None:
            await self.check()
        return await self._batcher.ask(request)

    async def aclose(self) -> None:
        """Give up what is being generated, and the model's memory."""
        await self._batcher.aclose()
        self._decoder = None

    # ── in the device's thread ───────────────────────────────────────────────────────────────────────────────────────

    def _load(self) -> None:
        from models.decoding import Decoder

        if self._decoder is None:
            model = self._checkpoint.weights(self._dtype, self._device)
            self.revision = self._checkpoint.revision()
            self._decoder = Decoder(model, self._checkpoint.tokenizer)

    def _work(self, batch: Sequence[Asked]) -> None:
        """Answer requests together; where that fails, those that have no answer yet one by one."""
        from models.decoding import Given

        rows: dict[Row | Given, Asked] = {}
        for asked in batch:
            try:
                rows[self._row(asked) if asked.request.continuation is None else self._given(asked)] = asked
            except GenerationError as error:
                asked.fail(error)
        fault = self._tried(rows, self._batcher.size)
        if fault and len(rows) == 1 and isinstance(next(iter(rows)), Given):
            # A text may be in many pieces.
            fault = self._tried(rows, 1)
        left = [asked for asked in rows.values() if fault and not asked.ended and not asked.given_up]
        if len(rows) == 1:
            for asked in left:
                asked.fail(GenerationError(f"hf/{self.name}: the model failed: {fault}"))
            return
        for asked in left:
            self._work([asked])
        if left and not any(asked.failed for asked in left):
            # It was too much at once, and would be again.
            self._batcher.size = max(1, len(rows) // 2)

    def _tried(self, rows: Mapping[Row | Given, Asked], together: int) -> str:
        """Run rows together, and answer. Returns what went wrong, if anything.

        together: how many pieces of texts are scored at once. It keeps no error: a traceback holds on to the device's
        memory.
        """
        from models.decoding import Given, Row

        assert self._decoder is not None
        answered = [row for row in rows if isinstance(row, Row)]
        texts = [row for row in rows if isinstance(row, Given)]
        try:
            if answered:
                self._decoder.run(answered, lambda row: rows[row].answer(self._completion(rows[row], row)))
            if texts:
                self._decoder.score(texts, together, lambda given: rows[given].answer(self._scored(rows[given], given)))
        # Whatever the model or its device raise; running out of memory comes as several kinds.
        except Exception as error:
            return words(error)
        return ""

    def _row(self, asked: Asked) -> Row:
        """A request as the model takes it. Raises GenerationError where it does not."""
        from models.decoding import Row

        request = asked.request
        sampling, raw = self.sampling(request), isinstance(request.prompt, str)
        prompt, limit = self._checkpoint.ids(request.prompt), sampling.get("max_tokens")
        context = self.capabilities.context or sys.maxsize
        if len(prompt) + (limit or 1) > context:
            raise GenerationError(
                f"hf/{self.name} takes {context} tokens: the prompt has {len(prompt)}, and the answer may have "
                f"{limit or MAX_TOKENS}"
            )
        return Row(
            prompt,
            limit or min(MAX_TOKENS, context - len(prompt)),
            temperature=sampling.get("temperature", 0.0),
            top_p=sampling.get("top_p", 1.0),
            seed=sampling.get("seed"),
            stops=request.params.stop if raw else sampling.get("stop", ()),
            given_up=lambda: asked.given_up,
        )

    def _given(self, asked: Asked) -> Given:
        """A request's continuation as the model scores it. Raises GenerationError where it does not."""
        from models.decoding import Given

        prompt, continuation = asked.request.prompt, asked.request.continuation or ""
        chat = not isinstance(prompt, str)
        context, text = parted(prompt if isinstance(prompt, str) else self._checkpoint.written(prompt), continuation)
        pieces = self._windows(text) if not context else [self._piece(context, text, chat=chat)] if text else []
        return Given(pieces, given_up=lambda: asked.given_up)

    def _piece(self, context: str, text: str, *, chat: bool) -> Piece:
        """The tokens of a context, and those of a text after it. chat: whether the context is one as a template has it.

        Source: `TemplateLM._encode_pair` in lm_eval/api/model.py.
        """
        encode = self._plain if chat else self._checkpoint.ids
        before, whole = encode(context), encode(context + text)
        longest = self.capabilities.context or sys.maxsize
        # What goes before the last token is read.
        if len(whole) - 1 > longest:
            raise GenerationError(
                f"hf/{self.name} takes {longest} tokens: the prompt and the continuation have {len(whole)}"
            )
        if len(whole) <= len(before):
            # The text's beginning and the context's end are one token, which is scored as the text's.
            before = [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, whole, strict=False))]
        if not before or len(whole) <= len(before):
            raise GenerationError(f"hf/{self.name}: the continuation has no token of its own after the prompt")
        return before, whole[len(before) :]

    def _windows(self, text: str) -> list[Piece]:
        """A whole text's tokens, in pieces that the model takes."""
        tokenizer = self._checkpoint.tokenizer
        prefix = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        if prefix is None:
            raise GenerationError(f"hf/{self.name} has no token to put before a whole text, neither BOS nor EOS")
        return windows(self._plain(text), prefix, self.capabilities.context or CONTEXT)

    def _plain(self, text: str) -> list[int]:
        """A text's tokens, without special ones but those that stand in it."""
        tokenizer = self._checkpoint.tokenizer
        ids: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return ids

    def _scored(self, asked: Asked, given: Given) -> Completion:
        """The score that a text has been given."""
        return replace(
            scored(asked.request.continuation or "", given.scores),
            model_served=self.name,
            input_tokens=sum(len(before) + len(tokens) for before, tokens in given.pieces),
            output_tokens=0,
            total_s=given.ended_at - asked.asked_at,
            timings={"prompt": given.ended_at - given.began_at},
        )

    def _completion(self, asked: Asked, row: Row) -> Completion:
        """The answer that a row has ended with."""
        assert self._decoder is not None and row.finish is not None
        transcript = Transcript(chat=not isinstance(asked.request.prompt, str))
        transcript.add(self._decoder.text(row.shown))
        completion = transcript.completion(
            row.finish,
            model_served=self.name,
            input_tokens=len(row.prompt),
            output_tokens=len(row.ids),
            timings={"prompt": row.first_at - row.began_at, "generation": row.ended_at - row.first_at},
        )
        return replace(completion, ttft_s=row.first_at - asked.asked_at, total_s=row.ended_at - asked.asked_at)


def _device() -> str:
    """Where the model runs. Raises UsageError for a setting that names no device."""
    import torch

    chosen = keys.setting("HF_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if chosen != "auto":
        try:
            torch.empty(0, device=chosen)
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            fault = words(error)
        else:
            return chosen
        raise UsageError(f"HF_DEVICE names no device of this machine ({fault}): set it to cpu, cuda or auto")
    return chosen


def _batch_size() -> int:
    """How many requests are run together. Raises UsageError."""
    size = keys.setting("HF_BATCH") or str(BATCH)
    if not size.isdecimal() or int(size) < 1:
        raise UsageError("HF_BATCH is no number of requests: set it to one like 8")
    return int(size)
