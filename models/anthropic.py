"""Anthropic, and the servers that speak its protocol, at `ANTHROPIC_BASE_URL`.

Answers are streamed. `Completion.ttft_s` is the time to the first text of the answer, reasoning excepted; times are
those of the request that succeeded.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import TouchstoneError, UnknownName, UsageError
from core.types import Completion, FinishReason, Request
from models.base import Capabilities
from models.failures import Transient, words
from models.http import Remote, error_in, events, listen, options
from models.transcript import Transcript

if TYPE_CHECKING:
    from anthropic import APIError, AsyncAPIResponse

MAX_TOKENS = 16_384
"""The limit of an answer where none is asked for, as far as the model has it: the protocol insists on one."""
SAMPLED_VERSION = {"anthropic-version": "2023-06-01"}
"""The version of the protocol that takes sampling parameters: the newer one that the client speaks refuses them all."""

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}
_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}
"""The HTTP status that an error would have had, had it not come in the middle of a stream."""
_SPENT = ("contract_spend_limit_reached", "enforced_spend_limit_reached")
_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
"""What was read is the sum of these."""


class Anthropic(Remote):
    """`anthropic/NAME`. Key: `ANTHROPIC_API_KEY`. Address: `ANTHROPIC_BASE_URL`; another server's needs no key."""

    provider = "anthropic"
    # New models refuse sampling parameters; those that take them are listed. How many stops are taken is documented
    # nowhere: four are by every server that takes any.
    capabilities = Capabilities(styles=("instruct",), temperature=False, top_p=False, seed=False, max_stops=4)
    key_variable = "ANTHROPIC_API_KEY"
    url_variable = "ANTHROPIC_BASE_URL"
    default_url = "https://api.anthropic.com"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        url, key = self._address(), self._key()

        from anthropic import AsyncAnthropic, DefaultAsyncHttpxClient

        # Without a key the client would look for other credentials of the machine's.
        self._client = AsyncAnthropic(api_key=key or "none", base_url=url, **options(DefaultAsyncHttpxClient))
        # The client sends the key as `Authorization`; gateways may know only the protocol's older `x-api-key`. An
        # argument would leave what `ANTHROPIC_CUSTOM_HEADERS` says, which may hold another server's keys.
        self._client._custom_headers = {"x-api-key": key} if key and not self.official else {}

    @property
    def official(self) -> bool:
        """Whether this is Anthropic's own service."""
        return f".{self._host}".endswith(".anthropic.com")

    async def check(self) -> None:
        """See that the server answers and, where it can tell, has the model. Sets `revision` to what an alias means."""
        from anthropic import APIConnectionError, APIError, APIStatusError

        fault: TouchstoneError
        try:
            others = await self._others()
        except APIConnectionError as error:
            fault = self._unreachable(error)
        except APIStatusError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failure(error)
        except (APIError, ValueError, TypeError, AttributeError):
            return
        else:
            if not others:
                return
            fault = UnknownName(f"model at {self.url}", self.name, others)
        # Raised out here, so that no error that may hold a key hangs on to it.
        raise fault

    async def _others(self) -> list[str]:
        """The models that there are, if this is none of them."""
        from anthropic import NotFoundError

        try:
            # The list holds no aliases.
            meant: Any = (await self._client.models.retrieve(self.name)).id
        except NotFoundError:
            named = [model.id async for model in self._client.models.list(limit=1000)]
            names = [name for name in named if isinstance(name, str)]
            return [] if self.name in names else names
        self.revision = meant if isinstance(meant, str) else None
        return []

    async def generate(self, request: Request) -> Completion:
        """One completion, by a chat. See `Model.generate`."""
        from anthropic import APIError
        from httpx2 import HTTPError

        answer = _Answer(Transcript(chat=True))
        fault: TouchstoneError | None = None
        heard = listen()
        try:
            # Read here, because the client passes over events that it cannot read: the answer would lack them.
            async with self._open(request) as response, aclosing(events(response.iter_bytes())) as stream:
                await answer.read(stream)
            if not answer.begun and (error_said := error_in(heard)):
                raise _Broken(error_said)
        except _Broken as error:
            fault = self._failed(error.status, words(error))
        except APIError as error:
            fault = self._failure(error)
        except HTTPError as error:
            fault = Transient(f"{self.url}: {words(error)}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fault = self._garbled(error, answer.begun, heard)
        if fault is None and not (answer.ended and answer.finish):
            fault = self._unfinished(answer.begun, heard)
        if isinstance(fault, Transient):
            fault.begun = answer.begun
        if fault is not None:
            raise fault
        return answer.transcript.completion(
            _FINISH.get(answer.finish, "other"),
            model_served=answer.served,
            input_tokens=answer.input_tokens,
            output_tokens=answer.counts.get("output_tokens"),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    def parameters(self, request: Request) -> dict[str, Any]:
        """The body of a request but for the messages. See `Model.parameters`."""
        return {"endpoint": f"{self.url}/v1/messages", **self._sent(request)}

    def sampling(self, request: Request) -> dict[str, Any]:
        """See `Model.sampling`. Stops of white space alone, which the server rejects, take no other's place."""
        stops = tuple(stop for stop in request.params.stop if stop.strip())
        return super().sampling(replace(request, params=replace(request.params, stop=stops)))

    def _open(self, request: Request) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        sent = self._sent(request)
        return self._client.messages.with_streaming_response.create(
            model=self.name,
            max_tokens=sent["max_tokens"],
            stream=True,
            # The client knows no sampling parameters any more: they go along as they are.
            extra_body=sent,
            extra_headers=SAMPLED_VERSION if {"temperature", "top_p"} & sent.keys() else None,
            **self._chat(request),
        )

    def _sent(self, request: Request) -> dict[str, Any]:
        """The parameters of a request, without the messages."""
        limit = min(MAX_TOKENS, self.capabilities.max_output or MAX_TOKENS)
        sent = {"model": self.name, "max_tokens": limit, **self.sampling(request)}
        if "stop" in sent:
            sent["stop_sequences"] = sent.pop("stop")
        return sent

    def _chat(self, request: Request) -> dict[str, Any]:
        """The messages of a request, as the protocol has them."""
        if isinstance(request.prompt, str):
            raise UsageError("anthropic takes chats alone: choose --prompt-style instruct")
        if request.prompt[-1].role == "assistant" and not self.capabilities.prefill:
            raise UsageError(
                f"anthropic/{self.name} may not go on from an answer that has begun: if it does, say so in config.yaml "
                f"with catalog: {{anthropic/{self.name}: {{prefill: true}}}}"
            )
        system = [message.content for message in request.prompt if message.role == "system"]
        turns = [{"role": each.role, "content": each.content} for each in request.prompt if each.role != "system"]
        return {"messages": turns, **({"system": "\n\n".join(system)} if system else {})}

    def _failure(self, error: APIError) -> TouchstoneError:
        """What a failed request ends in."""
        from anthropic import APIStatusError

        if not isinstance(error, APIStatusError):
            return Transient(f"{self.url}: {words(error)}")
        # Its own text is the whole document that the server sent.
        said = words(error if error.api_message is None else Exception(f"{error.type}: {error.api_message}"))
        # What was set aside to be spent is spent: waiting does not mend it.
        status = 402 if error.error_code in _SPENT else error.status_code
        return self._failed(status, said, error.response.headers)


class _Answer:
    """What the events of a stream have said."""

    def __init__(self, transcript: Transcript) -> None:
        self.transcript = transcript
        self.begun = False
        self.finish = ""
        self.ended = False
        self.served: str | None = None
        self.counts: dict[str, float] = {}

    @property
    def input_tokens(self) -> float | None:
        return sum(self.counts.get(name, 0) for name in _INPUT) if "input_tokens" in self.counts else None

    async def read(self, stream: AsyncIterator[tuple[str, str]]) -> None:
        """Read to the end. Kinds of events that are not known are passed over, as the protocol wants it.

        Raises _Broken for an error in the stream; ValueError, KeyError, TypeError and AttributeError for what is no
        event.
        """
        async for name, data in stream:
            event = json.loads(data)
            if event["type"] != name:
                raise ValueError(f"an event called '{name}' is of the type '{event['type']}'")
            self.begun = True
            match name:
                case "message_start":
                    self.served = event["message"]["model"]
                    self._count(event["message"].get("usage"))
                case "content_block_delta":
                    self._take(event["delta"])
                case "message_delta":
                    reason = event["delta"].get("stop_reason")
                    if reason is not None:
                        self.finish = (reason or self.finish) if isinstance(reason, str) else "other"
                    self._count(event.get("usage"))
                case "message_stop":
                    self.ended = True
                case "error":
                    raise _Broken(event["error"])

    def _take(self, delta: dict[str, Any]) -> None:
        if delta["type"] == "text_delta":
            self.transcript.add(delta["text"])
        elif delta["type"] == "thinking_delta":
            self.transcript.think(delta["thinking"])

    def _count(self, usage: Any) -> None:
        """Take in the tokens counted so far. What is not counted anew stays; what is no number counts nothing."""
        for name in (*_INPUT, "output_tokens"):
            count = usage.get(name) if isinstance(usage, dict) else None
            if isinstance(count, int | float):
                self.counts[name] = count


class _Broken(Exception):
    """An error in the middle of a stream."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['type']}: {error['message']}")
        self.status = _STATUS.get(error["type"], 500)
