"""Tiny random transformers with tokenizers of their own, made on the spot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

BOS, EOS = "<s>", "</s>"
ROLES = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
GENERATION = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
WITHOUT_BOS = ROLES + GENERATION
WITH_BOS = "{{ bos_token }}" + WITHOUT_BOS
"""Chat templates. Both tokenizers add a BOS to what they encode unless told not to."""

TEXT = "def add(a, b):\n    return a + b\n\nfor i in range(10):\n    print(i, 'añadir', \"é\")\n"
SPECIAL = (BOS, EOS, "<|system|>", "<|user|>", "<|assistant|>")


def checkpoint(
    folder: Path,
    *,
    chat_template: str | None = None,
    context: int = 128,
    tokenizer: Literal["bytes", "words"] = "bytes",
    seed: int = 0,
    dtype: str = "float32",
    **generation: Any,
) -> Path:
    """Write a model with its tokenizer into a folder, and return it.

    tokenizer: "bytes" keeps every byte, as GPT-2's does; "words" marks spaces, normalises to NFKC and drops the space
    at a text's beginning, as Llama 2's does. generation: fields of its `generation_config.json`.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    made = _bytes() if tokenizer == "bytes" else _words()
    made.chat_template = chat_template
    made.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        # So wide that the likeliest token stands out, and the answer is no mere repetition.
        initializer_range=0.3,
        bos_token_id=made.bos_token_id,
        eos_token_id=made.eos_token_id,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).to(getattr(torch, dtype)).save_pretrained(folder)
    settings = {"bos_token_id": made.bos_token_id, "eos_token_id": made.eos_token_id, **generation}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _bytes() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=[*SPECIAL], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([TEXT], trainer)
    return _wrapped(made)


def _words() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.BPE(byte_fallback=True, unk_token=BOS))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    fallback = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=360, special_tokens=[*SPECIAL, *fallback], show_progress=False)
    made.train_from_iterator([TEXT, "    return    x"], trainer)
    return _wrapped(_plain(made, fallback))


def _plain(made: Any, fallback: list[str]) -> Any:
    """The tokenizer, whose bytes are no special tokens any more."""
    from tokenizers import Tokenizer

    state = json.loads(made.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] not in fallback]
    return Tokenizer.from_str(json.dumps(state))


def _wrapped(made: Any) -> Any:
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, made.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token=BOS, eos_token=EOS, additional_special_tokens=list(SPECIAL[2:])
    )
