"""A task's documents as problems: how each is put, and what the harness makes of an answer to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters import extraction, humaneval
from adapters.hosts.bigcode.execution import LANGUAGES
from adapters.hosts.bigcode.registry import module_of

EOS = "<|endoftext|>"
ASK = "Complete the following program. Answer with the whole program, in one fenced block that begins with ```{}."


class Problems:
    """The documents of a task that are evaluated.

    stop: stop words in place of the task's own, if there are any. limit: only the first so many.
    """

    def __init__(self, name: str, task: Any, stop: list[str], limit: int | None) -> None:
        self.task, self._stop = task, stop
        # As the harness has them when it generates.
        task.stop_words = [*dict.fromkeys([*(stop or task.stop_words or ()), EOS])]
        self.module = module_of(type(task))
        self.describes = name.startswith("humanevalexplaindescribe")
        """Whether it only has things described, and has no figure."""
        dataset = task.get_dataset()
        count = len(dataset) if limit is None else min(limit, len(dataset))
        self.docs = [dataset[number] for number in range(count)]
        for doc in self.docs[:1]:  # what it cannot make of its data, or of a kind of prompt, it says at once
            task.get_prompt(doc)
            task.get_reference(doc)
        self.ids = self._named()
        self.chat = self.final = self.references = False

    def put(self, put: Mapping[str, Any]) -> None:
        """See how they are to be put: in chats; and whether answers are final, and references asked for."""
        self.chat, self.final, self.references = put["chat"], put["final"], put["references"]

    def _named(self) -> list[str]:
        """The documents' own names, where each has one."""
        for field in ("task_id", "name"):
            names = [str(_field(doc, field) or "") for doc in self.docs]
            if all(names) and len(set(names)) == len(names):
                return names
        return [str(number) for number in range(len(self.docs))]

    def prompt(self, doc: Any) -> str | list[list[str]]:
        """What is asked for a document: a text to be continued, or a chat's messages, role and content each."""
        prompt = self.task.get_prompt(doc)
        if isinstance(prompt, dict):  # an instruction, and what the answer begins with
            instruction, context = prompt["instruction"], prompt["context"]
            return [["user", f"{instruction}\n\n{context}".strip()]] if self.chat else instruction + context
        if not self.chat:
            return str(prompt)
        if self.module == "humanevalpack" or self.language() is None:
            return [["user", str(prompt)]]
        label = {"javascript": "js"}.get(self.language() or "", self.language() or "")
        return [["user", f"{ASK.format(label)}\n\n```{label}\n{prompt}\n```"]]

    def stops(self) -> list[str]:
        """Where an answer ends."""
        # Those of a continuation would end a chat's answer at its first line of code.
        return self._stop if self.chat else self.task.stop_words

    def language(self) -> str | None:
        """The sandbox's name of what is executed; None: nothing is."""
        # Bugs are said to be executed, and are compared.
        if self.describes or self.module == "python_bugs" or not getattr(self.task, "requires_execution", False):
            return None
        if self.module == "multiple":
            return LANGUAGES[str(self.task.language)]
        if self.module == "humanevalpack":
            return LANGUAGES[str(self.task.DATASET_NAME)]
        return "python"

    def answers(self, doc: Any) -> dict[str, Any]:
        """What the control models answer."""
        if not self.references:
            return {"reference": "", "wrong": [""]}
        prompt, head = self.task.get_prompt(doc), _field(doc, "prompt") or ""
        if self.language() is None and not self.describes:
            text = str(self.task.get_reference(doc))
            return {"reference": text.removeprefix(self._begun(prompt)), "wrong": ["    return None\n"]}
        right = str(_field(doc, "canonical_solution") or _field(doc, "code") or "")
        wrong = str(_field(doc, "buggy_solution") or "    return None\n")
        if self.chat:
            return {"reference": f"```\n{head}{right}\n```", "wrong": [f"```\n{head}{wrong}\n```"]}
        gap = "" if not isinstance(prompt, str) or prompt.endswith("\n") else "\n"
        return {"reference": gap + right, "wrong": [gap + wrong]}

    def generation(self, number: int, text: str) -> str:
        """A generation as the harness's own files have it."""
        if self.final:
            return text
        doc = self.docs[number]
        prompt = self.task.get_prompt(doc)
        if isinstance(prompt, dict):
            prompt = prompt["context"]
        if self.chat and self.language() is None and not self.describes:
            text = (extraction.fenced(text, "") or text).removeprefix(self._begun(prompt))
        elif self.chat and (whole := self._whole(number, doc, prompt, text)) is not None:
            return whole
        if self.module == "quixbugs":  # it takes what is before the last stop
            text = self.task._stop_at_stop_token(text, self.task.stop_words) + EOS
        generation: str = self.task.postprocess_generation(prompt + text, number)
        return generation

    def _begun(self, prompt: str) -> str:
        """What a prompt has of the answer already."""
        return "def" if self.module == "python_bugs" and prompt.endswith("def") else ""

    def _whole(self, number: int, doc: Any, prompt: str, answer: str) -> str | None:
        """The program in a chat's answer; None where there is no fence, and the answer is taken as a continuation."""
        entry = str(_field(doc, "entry_point") or "")
        if self.language() == "python" and self.module != "multiple":
            found = extraction.extract(answer, entry)
            if found is None or found.method == "raw":
                return None
            asked = _field(doc, "prompt")
            return humaneval.whole(asked, entry, found.code) if entry and isinstance(asked, str) else found.code
        code = extraction.fenced(answer, entry)
        if code is None or self.module != "multiple":
            return code
        # Its tests begin where a continuation was cut off, as with the function's last brace.
        above, _, signature = prompt.rpartition("\n")
        at = code.find(signature.strip())
        if at < 0:
            continued: str = self.task.postprocess_generation(f"{prompt}\n{code}", number)
            return continued
        begun = at + len(signature.strip())
        body = self.task._stop_at_stop_token(code[begun:], self.task.stop_words)
        first = next((line for line in above.split("\n") if line.strip()), "")
        return f"{'' if first in code[:at] else above}\n{code[:begun]}{body}"


def _field(doc: Any, name: str) -> Any:
    """A document's field; None where it has none of that name, or has none at all."""
    return doc.get(name) if isinstance(doc, Mapping) else None
