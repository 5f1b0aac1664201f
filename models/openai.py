"""OpenAI, and the servers that speak its protocol: vLLM, OpenRouter, and any other at `OPENAI_BASE_URL`.

Answers are streamed. `Completion.ttft_s` is the time to the first text of the answer, reasoning excepted; times are
those of the request that succeeded, without the ones before it. Where a stop ends the reading early, or a server counts
no tokens in its stream, the tokens are None.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import TouchstoneError, UnknownName
from core.imports import lean
from core.types import Completion, FinishReason, Request
from models.base import Capabilities, Price
from models.failures import Transient, words
from models.http import error_in, listen, options
from models.scoring import ASKED, Scoring
from models.transcript import Transcript

if TYPE_CHECKING:
    from openai import APIError

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "refusal"}
_UNFINISHED = ("", "error", "abort")
"""Finish reasons with which servers end what they could not finish; "" stands for a stream that ended without one."""


class OpenAI(Scoring):
    """`openai/NAME`. Key: `OPENAI_API_KEY`. Address: `OPENAI_BASE_URL`; one of another server's needs no key."""

    provider = "openai"
    capabilities = Capabilities(styles=("instruct", "completion"))
    key_variable = "OPENAI_API_KEY"
    url_variable = "OPENAI_BASE_URL"
    default_url = "https://api.openai.com/v1"
    official_limit = "max_completion_tokens"
    """What the provider's own chats call the limit of an answer's tokens."""
    has_accounts = True
    """Whether `OPENAI_ORG_ID` and `OPENAI_PROJECT_ID`, which the client takes from the environment, are for it."""
    echoes = True
    """Whether servers at other addresses than the provider's own score continuations."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        url, key = self._address(), self._key()
        if self.echoes and not self.official:
            self.capabilities = replace(self.capabilities, logprobs=True)

        with lean("aiohttp"):
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        # The client insists on a key; servers that need none ignore it.
        self._client = AsyncOpenAI(api_key=key or "none", base_url=url, **options(DefaultAsyncHttpxClient))
        # `OPENAI_CUSTOM_HEADERS` may hold another server's keys; the client has no option against it.
        self._client._custom_headers = {}
        if not self.has_accounts:
            self._client.organization = self._client.project = None

    async def check(self) -> None:
        """See that the server answers and, where it lists its models, has this one."""
        from openai import APIConnectionError, APIError, APIStatusError

        fault: TouchstoneError
        try:
            models = _named(await self._client.models.list())
            if not models or self._found(models):
                return
            fault = UnknownName(f"model at {self.url}", self.name, models, self.unknown)
        except APIConnectionError as error:
            fault = self._unreachable(error)
        except APIStatusError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failure(error)
        # Lists of other forms, of which the client makes what it can.
        except (APIError, ValueError, TypeError, AttributeError):
            return
        # Raised out here, so that no error that may hold a key hangs on to it.
        raise fault

    def _found(self, models: Mapping[str, Any]) -> bool:
        """Whether the model is among those listed; what its server says of the weights is taken as their revision."""
        listed = models.get(self.name)
        root, context = (getattr(listed, name, None) for name in ("root", "max_model_len"))  # vLLM's and its like's
        self.revision = ", ".join(str(each) for each in (root, context) if isinstance(each, str | int)) or None
        self.served_context = context if type(context) is int and context > 0 else None
        return listed is not None

    async def generate(self, request: Request) -> Completion:
        """One completion: a chat for messages, a raw continuation for a string. See `Model.generate`."""
        from openai import APIError

        if request.continuation is not None:
            return await self.score(request)
        sent = self._sent(request)
        raw = isinstance(request.prompt, str)
        # The stops of a continuation are looked for here too, because servers take only a few.
        answer = _Answer(Transcript(request.params.stop if raw else (), chat=not raw))
        fault: TouchstoneError | None = None
        heard = listen()
        try:
            async with await self._open(request, sent) as stream:
                await answer.read(stream)
                if not answer.begun and (error_said := error_in(heard)):
                    raise APIError(str(error_said.get("message")), stream.response.request, body=error_said)
        except APIError as error:
            if _declined(error):
                answer.refused = True
            else:
                fault = self._failure(error)
        except (ValueError, TypeError, AttributeError) as error:
            fault = self._garbled(error, answer.begun, heard)
        if fault is None and not answer.refused and answer.finish in _UNFINISHED:
            fault = self._unfinished(answer.begun, heard)
        if isinstance(fault, Transient):
            fault.begun = answer.begun
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
        if request.continuation is not None:
            return {"endpoint": f"{self.url}/completions", "model": self.name, **ASKED}
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

        # Spent credit comes as 429, like too many requests, but waiting does not mend it.
        spent = error.code == "insufficient_quota"
        if isinstance(error, APIStatusError):
            return self._failed(402 if spent else error.status_code, words(error), error.response.headers)
        # What came with the status of a success may have, as its code, the status that it would have had.
        code = "402" if spent else error.code or ""
        if re.fullmatch("[45][0-9][0-9]", code):
            return self._failed(int(code), words(error))
        return Transient(f"{self.url}: {words(error)}")


class VLLM(OpenAI):
    """`vllm/NAME`. Address: `VLLM_BASE_URL`, by default this machine's port 8000. Key, if any: `VLLM_API_KEY`."""

    provider = "vllm"
    capabilities = replace(OpenAI.capabilities, logprobs=True)
    key_variable = "VLLM_API_KEY"
    url_variable = "VLLM_BASE_URL"
    default_url = "http://localhost:8000/v1"
    has_accounts = False
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
    has_accounts = False
    echoes = False

    def _needs_key(self) -> bool:
        return True

    def _found(self, models: Mapping[str, Any]) -> bool:
        """Whether the model is among those listed; its price, which stands there, is taken where none is known yet."""
        # Variants that only route differently, such as `:nitro`, are not listed.
        listed = models.get(self.name)
        pricing = getattr(listed, "pricing", None)
        if self.price is None and isinstance(pricing, dict):
            with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                read, written = (float(pricing[name]) * 1e6 for name in ("prompt", "completion"))
                if all(0 <= each < math.inf for each in (read, written)):  # -1 stands for one that varies
                    self.price = Price(read, written, f"{self.url}/models", datetime.now(UTC).date().isoformat())
        return listed is not None or self.name.partition(":")[0] in models


class _Answer:
    """What the chunks of a stream have said."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.begun = False
        self.finish = ""
        self.refused = False
        self.served: str | None = None
        self.usage: Any = None

    async def read(self, stream: AsyncIterator[Any]) -> None:
        """Read to the end, or until a stop has come."""
        async for chunk in stream:
            self.begun = True
            self.served = getattr(chunk, "model", None) or self.served
            self.usage = getattr(chunk, "usage", None) or self.usage
            # The chunk with the usage has no choices.
            for choice in (getattr(chunk, "choices", None) or ())[:1]:
                reason = getattr(choice, "finish_reason", None)
                if reason is not None:
                    self.finish = (reason or self.finish) if isinstance(reason, str) else "other"
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


def _named(listed: Any) -> dict[str, Any]:
    """The models of a list by their names; what has none is passed over."""
    entries = getattr(listed, "data", None) or ()
    return {name: each for each in entries if isinstance(name := getattr(each, "id", None), str)}


def _declined(error: APIError) -> bool:
    """Whether a filter has declined the request, which the servers report as an error of the caller."""
    metadata = error.body.get("metadata") if isinstance(error.body, dict) else None
    flagged = isinstance(metadata, dict) and "flagged_input" in metadata
    return flagged or error.code in ("content_filter", "content_policy_violation")
