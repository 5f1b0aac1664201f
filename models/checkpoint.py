"""A checkpoint of the transformers library: in a folder, or on the Hugging Face hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import GenerationError, HostError, TouchstoneError, UsageError
from core.types import Prompt
from models import keys
from models.failures import words

SUFFIXES = (".safetensors", ".bin", ".json", ".jinja", ".model", ".txt")
"""Of the files that decide what a model answers: weights, configuration, tokenizer, chat template."""


class Checkpoint:
    """A model's configuration and tokenizer, and where its weights are. Code that comes with a model is never run.

    name: a folder's path, which comes first, or a name on the hub, which is fetched where it is not in the hub's cache.
    Raises UsageError where neither is there or it is none that can be read, HostError where the hub gives no answer.
    """

    def __init__(self, name: str) -> None:
        from huggingface_hub import get_token
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils.hub import cached_file, extract_commit_hash

        if token := get_token():
            keys.hide(token)
        self.name = name
        self.folder = _folder(name)
        if self.folder is None and name.startswith(("/", ".", "~")):
            raise UsageError(f"there is no folder '{name}': name one that holds a model, or a model of the hub")
        self._source = name if self.folder is None else str(self.folder)
        with _reading(name):
            config = cached_file(self._source, "config.json")
            # What is read later is of the same commit, whatever becomes of the branch.
            self._commit = extract_commit_hash(config, None) or "main"
            self.config: Any = AutoConfig.from_pretrained(self._source, revision=self._commit, trust_remote_code=False)
            self.tokenizer: Any = AutoTokenizer.from_pretrained(
                self._source, revision=self._commit, trust_remote_code=False
            )

    @property
    def is_chat(self) -> bool:
        """Whether it says how a chat is written."""
        return bool(self.tokenizer.chat_template)

    @property
    def context(self) -> int | None:
        """How many tokens it takes, prompt and answer together; None: it does not say."""
        positions = getattr(self.config.get_text_config(), "max_position_embeddings", None)
        if isinstance(positions, int) and positions > 0:
            return positions
        # A tokenizer that knows no limit states 10^30.
        longest = self.tokenizer.model_max_length
        return int(longest) if longest < 10**9 else None

    @property
    def dtype(self) -> str:
        """The type that its weights are kept in, where it says so; else "auto", which looks at them."""
        return str(getattr(self.config, "dtype", None) or "auto").removeprefix("torch.")

    def ids(self, prompt: Prompt) -> list[int]:
        """The token ids that a prompt is put to the model with, never shortened.

        A string begins as the model's texts do, with one BOS where the tokenizer adds one. A chat is encoded as its
        template writes it, special tokens included; its last turn is continued where that is the assistant's.

        Raises GenerationError where the template takes no such chat, or the prompt has no tokens.
        """
        special = False
        if isinstance(prompt, str):
            text = prompt
            bos = self.tokenizer.bos_token
            special = not (bos and prompt.startswith(bos))
        else:
            text = self.written(prompt)
        ids: list[int] = self.tokenizer(text, add_special_tokens=special, truncation=False, verbose=False)["input_ids"]
        if not ids:
            raise GenerationError(f"hf/{self.name}: the prompt is empty, and the model has no token to begin with")
        return ids

    def weights(self, dtype: str, device: str) -> Any:
        """The model, loaded. dtype: a floating type of torch by name, or "auto". device: torch's word, or "auto".

        Raises as the constructor does.
        """
        from transformers import AutoModelForCausalLM

        # With what it has found it returns a pair, of which its annotations know nothing.
        load: Any = AutoModelForCausalLM.from_pretrained
        with _reading(self.name):
            model, found = load(
                self._source,
                revision=self._commit,
                trust_remote_code=False,
                dtype=dtype,
                device_map=device,
                output_loading_info=True,
            )
        # They would be filled with random numbers.
        if found["missing_keys"]:
            lacking = ", ".join(sorted(found["missing_keys"])[:3])
            raise UsageError(f"the weights of '{self.name}' lack {lacking}: get the whole model")
        return model

    def revision(self) -> str:
        """Which weights these are: the hub's commit, or the SHA-256 over names, sizes and contents of the files."""
        if self.folder is None:
            return self._commit
        whole = hashlib.sha256()
        for path in sorted(self.folder.iterdir()):
            if path.suffix in SUFFIXES and path.is_file():
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
                whole.update(f"{path.name}\0{path.stat().st_size}\0{content}\n".encode())
        return whole.hexdigest()

    def written(self, chat: Any) -> str:
        """A chat as its template writes it, to be continued."""
        continued = chat[-1].role == "assistant"
        messages = [{"role": message.role, "content": message.content} for message in chat]
        try:
            text: str = self.tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=not continued, continue_final_message=continued
            )
        # Templates are programs of their own: they raise what they like.
        except Exception as error:
            fault = words(error)
        else:
            return text
        raise GenerationError(f"hf/{self.name}: the chat template does not take this chat ({fault})")


def _folder(name: str) -> Path | None:
    """The folder of that name, if there is one."""
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (RuntimeError, OSError):  # a home of nobody; a name that no file has
        return None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """What reading a checkpoint fails with, as errors of ours."""
    from huggingface_hub import errors
    from torch import OutOfMemoryError

    fault: TouchstoneError
    try:
        yield
    except OutOfMemoryError as error:
        fault = HostError(f"'{name}' does not fit on the device ({words(error)}): set HF_DEVICE to another, or to auto")
    # The libraries raise what is at hand for files that are missing, garbled or of no use to them.
    except Exception as error:
        kinds = tuple(type(cause) for cause in _causes(error))
        if _among(kinds, errors.GatedRepoError):
            fault = UsageError(
                f"the hub gives '{name}' to some alone: ask for it there, and set HF_TOKEN to your token"
            )
        elif _among(kinds, errors.RepositoryNotFoundError, errors.HFValidationError):
            fault = UsageError(
                f"there is no folder '{name}', and no model of that name on the hub: see that it is right, and set "
                "HF_TOKEN where it is a private one"
            )
        elif _among(kinds, errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, ConnectionError):
            fault = HostError(
                f"'{name}' is no folder and not in the hub's cache, and the hub gives no answer ({words(error)}): "
                "see to the network, or name the folder of a model"
            )
        else:
            fault = UsageError(
                f"'{name}' cannot be loaded ({words(error)}): name a causal language model that the transformers "
                "library knows, without code of its own"
            )
    else:
        return
    raise fault


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _among(kinds: tuple[type, ...], *wanted: type) -> bool:
    return any(issubclass(kind, wanted) for kind in kinds)
