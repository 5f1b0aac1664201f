"""OpenAI, and the servers that speak its protocol: vLLM, OpenRouter, and any other at `OPENAI_BASE_URL`.

Answers are streamed. `Completion.ttft_s` is the time to the first text of the answer, reasoning excepted; times are
those of the request that succeeded, without the ones before it. Where a stop ends the reading early, or a server counts
no tokens in its stream, the tokens are None.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from core.errors import ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, FinishReason, Request
from models import keys
from models.base import Capabilities, Model
from models.retry import Retry, Transient, failure, retry_after_s, words
from models.transcript import Transcript

if TYPE_CHECKING:
    from openai import APIError

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "refusal"}
_UNFINISHED = ("", "error", "abort")
"""Finish reasons with which servers end what they could not finish; "" stands for a stream that ended without one."""


class OpenAI(Model):
    """`openai/NAME`. Key: `OPENAI_API_KEY`. Address: `OPENAI_BASE_URL`; one of another server's needs no key."""

    provider = "openai"
    capabilities = Capabilities(styles=("instruct", "completion"))
    retry = Retry()
    key_variable = "OPENAI_API_KEY"
    url_variable = "OPENAI_BASE_URL"
    default_url = "https://api.openai.com/v1"
    start = "check the network"
    """What to do where no server answers, before setting another address."""
    unknown = ""
    """What to do where the server lacks the model."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        url = keys.setting(self.url_variable) or self.default_url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url_variable} is no address of a server: set it to one like {self.default_url}")
        if parts.password:
            keys.hide(parts.password)
        self.url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
        self._official = f".{parts.hostname}".endswith(".api.openai.com")
        key = keys.secret(self.key_variable)
        if key is None and self._needs_key():
            raise UsageError(f"{self.provider} needs a key: set {self.key_variable}, in the environment or in .env")

        from httpx2 import Timeout
        from openai import AsyncOpenAI

        # The client insists on a key; servers that need none ignore it. Retries are ours, so that they are counted.
        self._client = AsyncOpenAI(
            api_key=key or "none", base_url=url, max_retries=0, timeout=Timeout(600.0, connect=10.0)
        )

    def _needs_key(self) -> bool:
        return self._official

    async def check(self) -> None:
        """See that the server answers and, where it lists its models, has this one."""
        from openai import APIConnectionError, APIError, APIStatusError

        fault: TouchstoneError
        try:
            listed = await self._client.models.list()
        except APIConnectionError as error:
            fault = ServerUnreachable(
                f"no server answers at {self.url} ({words(error)}): {self.start}, or set {self.url_variable}"
            )
        except APIStatusError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failure(error)
        except (APIError, ValueError):
            return
        else:
            names = [model.id for model in getattr(listed, "data", None) or ()]
            if not names or self._is_listed(names):
                return
            fault = UnknownName(f"model at {self.url}", self.name, names, self.unknown)
        # Raised out here, so that no error that may hold a key hangs on to it.
        raise fault

    def _is_listed(self, names: list[str]) -> bool:
        return self.name in names

    async def generate(self, request: Request) -> Completion:
        """One completion: a chat for messages, a raw continuation for a string. See `Model.generate`."""
        return await self.retry.run(lambda: self._attempt(request))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _attempt(self, request: Request) -> Completion:
        """Make one request."""
        from openai import APIError

        sent = self._sent(request)
        raw = isinstance(request.prompt, str)
        # The stops of a continuation are looked for here too, because servers take only a few.
        answer = _Answer(Transcript(request.params.stop if raw else ()))
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
            fault = Transient(f"{self.url}: the server sent something that is no part of an answer ({words(error)})")
        if fault is None and not answer.refused and answer.finish in _UNFINISHED:
            fault = Transient(f"{self.url}: the stream ended before the answer did")
        if fault is not None:
            raise fault
        return answer.transcript.completion(
            "refusal" if answer.refused else _FINISH.get(answer.finish, "other"),
            model_served=answer.served,
            input_tokens=getattr(answer.usage, "prompt_tokens", None),
            output_tokens=getattr(answer.usage, "completion_tokens", None),
            effective={"endpoint": f"{self.url}/{'completions' if raw else 'chat/completions'}", **sent},
        )

    async def _open(self, request: Request, sent: dict[str, Any]) -> Any:
        options = {"stream": True, "stream_options": {"include_usage": True}, **sent}
        if isinstance(request.prompt, str):
            return await self._client.completions.create(prompt=request.prompt, **options)
        messages: Any = [{"role": message.role, "content": message.content} for message in request.prompt]
        return await self._client.chat.completions.create(messages=messages, **options)

    def _sent(self, request: Request) -> dict[str, Any]:
        """The parameters of a request, without the prompt."""
        params = request.params
        # OpenAI's chats deprecate `max_tokens`, and its reasoning models refuse it; elsewhere it is the name that every
        # server knows, and one that does not know the newer name would generate without a limit.
        chat_limit = "max_completion_tokens" if self._official else "max_tokens"
        parameters = {
            "model": self.name,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "max_tokens" if isinstance(request.prompt, str) else chat_limit: params.max_tokens,
            "seed": None if params.seed is None else params.seed + request.index,
            "stop": [stop for stop in params.stop if stop][: self.capabilities.max_stops] or None,
        }
        return {name: value for name, value in parameters.items() if value is not None}

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

    def _needs_key(self) -> bool:
        return False


class OpenRouter(OpenAI):
    """`openrouter/MAKER/NAME`. Key: `OPENROUTER_API_KEY`. Another address: `OPENROUTER_BASE_URL`."""

    provider = "openrouter"
    key_variable = "OPENROUTER_API_KEY"
    url_variable = "OPENROUTER_BASE_URL"
    default_url = "https://openrouter.ai/api/v1"

    def _needs_key(self) -> bool:
        return True

    def _is_listed(self, names: list[str]) -> bool:
        # Variants that only route differently, such as `:nitro`, are not listed.
        return self.name in names or self.name.partition(":")[0] in names


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
