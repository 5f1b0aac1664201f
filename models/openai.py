"""OpenAI, and the servers that speak its protocol: vLLM, OpenRouter, and any other at `OPENAI_BASE_URL`.

Answers are streamed. `Completion.ttft_s` is the time to the first text of the answer, reasoning excepted; times are
those of the request that succeeded, without the ones before it. Where a stop ends the reading early, or a server counts
no tokens in its stream, the tokens are None.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import TouchstoneError, UnknownName
from core.types import Completion, FinishReason, Request
from models.base import Capabilities, Price
from models.failures import Transient, failure, retry_after_s, words
from models.http import TIMEOUT, Remote
from models.transcript import Transcript

if TYPE_CHECKING:
    from openai import APIError

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "refusal"}
_UNFINISHED = ("", "error", "abort")
"""Finish reasons with which servers end what they could not finish; "" stands for a stream that ended without one."""


class OpenAI(Remote):
    """`openai/NAME`. Key: `OPENAI_API_KEY`. Address: `OPENAI_BASE_URL`; one of another server's needs no key."""

    provider = "openai"
    capabilities = Capabilities(styles=("instruct", "completion"))
    key_variable = "OPENAI_API_KEY"
    url_variable = "OPENAI_BASE_URL"
    default_url = "https://api.openai.com/v1"
    official_limit = "max_completion_tokens"
    """What the provider's own chats call the limit of an answer's tokens."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        url, key = self._address(), self._key()

        from httpx2 import Timeout
        from openai import AsyncOpenAI

        # The client insists on a key; servers that need none ignore it. Retries are ours, so that they are counted.
        self._client = AsyncOpenAI(api_key=key or "none", base_url=url, max_retries=0, timeout=Timeout(**TIMEOUT))

    async def check(self) -> None:
        """See that the server answers and, where it lists its models, has this one."""
        from openai import APIConnectionError, APIError, APIStatusError

        fault: TouchstoneError
        try:
            listed = await self._client.models.list()
        except APIConnectionError as error:
            fault = self._unreachable(error)
        except APIStatusError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failure(error)
        except (APIError, ValueError):
            return
        else:
            models = {model.id: model for model in getattr(listed, "data", None) or ()}
            if not models or self._found(models):
                return
            fault = UnknownName(f"model at {self.url}", self.name, models, self.unknown)
        # Raised out here, so that no error that may hold a key hangs on to it.
        raise fault

    def _found(self, models: Mapping[str, Any]) -> bool:
        """Whether the model is among those listed."""
        return self.name in models

    async def generate(self, request: Request) -> Completion:
        """One completion: a chat for messages, a raw continuation for a string. See `Model.generate`."""
        from openai import APIError

        sent = self._sent(request)
        raw = isinstance(request.prompt, str)
        # The stops of a continuation are looked for here too, because servers take only a few.
        answer = _Answer(Transcript(request.params.stop if raw else (), chat=not raw))
        fault: TouchstoneError | None = None
        try:
            async with await self._open(request, sent) as stream:
                await answer.read(stream)
        except APIError as error:
            if _declined(error):
                answer.refused = True
            else:
                fault = self._failure(error)
        except (ValueError, TypeError, AttributeError) as error:
            fault = self._garbled(error)
        if fault is None and not answer.refused and answer.finish in _UNFINISHED:
            fault = self._unfinished()
        if fault is not None:
            raise fault
        return answer.transcript.completion(
            "refusal" if answer.refused else _FINISH.get(answer.finish, "other"),
            model_served=answer.served,
            input_tokens=getattr(answer.usage, "prompt_tokens", None),
            output_tokens=getattr(answer.usage, "completion_tokens", None),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    def parameters(self, request: Request) -> dict[str, Any]:
        """The body of a request but for the prompt. See `Model.parameters`."""
        path = "completions" if isinstance(request.prompt, str) else "chat/completions"
        return {"endpoint": f"{self.url}/{path}", **self._sent(request)}

    async def _open(self, request: Request, sent: dict[str, Any]) -> Any:
        options = {"stream": True, "stream_options": {"include_usage": True}, **sent}
        if isinstance(request.prompt, str):
            return await self._client.completions.create(prompt=request.prompt, **options)
        messages: Any = [{"role": message.role, "content": message.content} for message in request.prompt]
        return await self._client.chat.completions.create(messages=messages, **options)

    def _sent(self, request: Request) -> dict[str, Any]:
        """The parameters of a request, without the prompt."""
        sent = {"model": self.name, **self.sampling(request)}
        # OpenAI's chats deprecate `max_tokens`, and its reasoning models refuse it; elsewhere it is the name that every
        # server knows, and one that does not know the newer name would generate without a limit.
        if self.official and "max_tokens" in sent and not isinstance(request.prompt, str):
            sent[self.official_limit] = sent.pop("max_tokens")
        return sent

    def _failure(self, error: APIError) -> TouchstoneError:
        """What a failed request ends in."""
        from openai import APIStatusError

        said = f"{self.url}: {words(error)}"
        if not isinstance(error, APIStatusError):
            return Transient(said)
        # Spent credit comes as 429, like too many requests, but waiting does not mend it.
        status = 402 if error.code == "insufficient_quota" else error.status_code
        wait_s = retry_after_s(error.response.headers.get("retry-after"))
        return failure(status, said, key=self.key_variable, address=self.url_variable, retry_after_s=wait_s)


class VLLM(OpenAI):
    """`vllm/NAME`. Address: `VLLM_BASE_URL`, by default this machine's port 8000. Key, if any: `VLLM_API_KEY`."""

    provider = "vllm"
    key_variable = "VLLM_API_KEY"
    url_variable = "VLLM_BASE_URL"
    default_url = "http://localhost:8000/v1"
    start = "start one with 'vllm serve NAME'"
    unknown = "serve another with 'vllm serve NAME'"

    @property
    def official(self) -> bool:
        """No: it is the user's own."""
        return False

    def _needs_key(self) -> bool:
        return False


class OpenRouter(OpenAI):
    """`openrouter/MAKER/NAME`. Key: `OPENROUTER_API_KEY`. Another address: `OPENROUTER_BASE_URL`."""

    provider = "openrouter"
    key_variable = "OPENROUTER_API_KEY"
    url_variable = "OPENROUTER_BASE_URL"
    default_url = "https://openrouter.ai/api/v1"
    official_limit = "max_tokens"

    def _needs_key(self) -> bool:
        return True

    def _found(self, models: Mapping[str, Any]) -> bool:
        """Whether the model is among those listed; its price, which stands there, is taken where none is known yet."""
        # Variants that only route differently, such as `:nitro`, are not listed.
        listed = models.get(self.name)
        pricing = getattr(listed, "pricing", None)
        if self.price is None and isinstance(pricing, dict):
            with contextlib.suppress(KeyError, TypeError, ValueError):
                read, written = (float(pricing[name]) * 1e6 for name in ("prompt", "completion"))
                if all(0 <= each < math.inf for each in (read, written)):  # -1 stands for one that varies
                    self.price = Price(read, written, f"{self.url}/models", datetime.now(UTC).date().isoformat())
        return listed is not None or self.name.partition(":")[0] in models


class _Answer:
    """What the chunks of a stream have said."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.finish = ""
        self.refused = False
        self.served: str | None = None
        self.usage: Any = None

    async def read(self, stream: AsyncIterator[Any]) -> None:
        """Read to the end, or until a stop has come."""
        async for chunk in stream:
            self.served = getattr(chunk, "model", None) or self.served
            self.usage = getattr(chunk, "usage", None) or self.usage
            # The chunk with the usage has no choices.
            for choice in (getattr(chunk, "choices", None) or ())[:1]:
                self.finish = getattr(choice, "finish_reason", None) or self.finish
                if self._take(choice):
                    self.finish = "stop"
                    return

    def _take(self, choice: Any) -> bool:
        """Take in what a choice adds. Returns whether a stop has come."""
        delta = getattr(choice, "delta", None)
        if delta is None:
            return self.transcript.add(getattr(choice, "text", None))
        # Reasoning has no name in OpenAI's protocol; these are the two in use.
        self.transcript.think(getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None))
        if delta.refusal:
            self.refused = True
            return self.transcript.add(delta.refusal)
        return self.transcript.add(delta.content)


def _declined(error: APIError) -> bool:
    """Whether a filter has declined the request, which the servers report as an error of the caller."""
    metadata = error.body.get("metadata") if isinstance(error.body, dict) else None
    return error.code in ("content_filter", "content_policy_violation") or "flagged_input" in (metadata or ())
