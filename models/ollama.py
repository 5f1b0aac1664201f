"""Ollama, on this machine or at `OLLAMA_HOST`.

Answers are streamed; times are those of the request that succeeded, and `Completion.ttft_s` is the time to the first
text of the answer, reasoning excepted.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, cast

from core.errors import ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, FinishReason, Request
from models import keys
from models.base import Capabilities, Model
from models.retry import Retry, Transient, failure, words
from models.transcript import Transcript

if TYPE_CHECKING:
    from ollama import ChatResponse

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class Ollama(Model):
    """`ollama/NAME`, as Ollama means the name: without a tag it is `NAME:latest`.

    Address: `OLLAMA_HOST`. Key, if the server wants one: `OLLAMA_API_KEY`.
    """

    provider = "ollama"
    capabilities = Capabilities(styles=("instruct",), max_stops=sys.maxsize)
    retry = Retry()

    def __init__(self, name: str) -> None:
        super().__init__(name)
        import httpx
        from ollama import AsyncClient

        host = keys.setting("OLLAMA_HOST")
        key = keys.secret("OLLAMA_API_KEY")
        self.url = host or "http://127.0.0.1:11434"
        fault: UsageError | None = None
        try:
            self._client = AsyncClient(
                host=host,
                headers={"authorization": f"Bearer {key}"} if key else None,
                timeout=httpx.Timeout(600.0, connect=10.0),
            )
        except (ValueError, httpx.InvalidURL):
            fault = UsageError("OLLAMA_HOST is no address of a server: set it to one like http://127.0.0.1:11434")
        if fault is not None:
            raise fault

    async def check(self) -> None:
        """See that the server answers and has the model."""
        import httpx
        from ollama import ResponseError

        fault: TouchstoneError
        try:
            listed = await self._client.list()
        except (ConnectionError, httpx.HTTPError) as error:
            fault = ServerUnreachable(
                f"no Ollama answers at {self.url} ({words(error)}): start it with `ollama serve` or set OLLAMA_HOST"
            )
        except ResponseError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failure(error)
        except ValueError:
            return
        else:
            installed = [model.model for model in listed.models if model.model]
            # Ollama tells no upper from lower case in names.
            if _tagged(self.name).casefold() in {_tagged(name).casefold() for name in installed}:
                return
            hint = f"get it with `ollama pull {self.name}`"
            fault = UnknownName(f"model at {self.url}", self.name, installed, hint)
        raise fault

    async def generate(self, request: Request) -> Completion:
        """One completion, by a chat. See `Model.generate`."""
        return await self.retry.run(lambda: self._attempt(request))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _attempt(self, request: Request) -> Completion:
        """Make one request."""
        import httpx
        from ollama import ResponseError

        options = self._options(request)
        transcript = Transcript()
        last: ChatResponse | None = None
        fault: TouchstoneError | None = None
        try:
            async with aclosing(await self._open(request, options)) as stream:
                async for part in stream:
                    transcript.think(part.message.thinking)
                    transcript.add(part.message.content)
                    last = part
        except ResponseError as error:
            fault = self._failure(error)
        except (ConnectionError, httpx.HTTPError) as error:
            fault = Transient(f"{self.url}: {words(error)}")
        except (ValueError, TypeError, AttributeError) as error:
            fault = Transient(f"{self.url}: the server sent something that is no part of an answer ({words(error)})")
        if fault is not None:
            raise fault
        if last is None or not last.done:
            raise Transient(f"{self.url}: the stream ended before the answer did")
        return transcript.completion(
            _FINISH.get(last.done_reason or "stop", "other"),
            model_served=last.model,
            input_tokens=last.prompt_eval_count,
            output_tokens=last.eval_count,
            effective={"endpoint": f"{self.url}/api/chat", "model": self.name, **options},
        )

    async def _open(self, request: Request, options: dict[str, Any]) -> AsyncGenerator[ChatResponse, None]:
        if isinstance(request.prompt, str):
            raise UsageError("ollama takes chats alone: choose --prompt-style instruct")
        messages = [{"role": message.role, "content": message.content} for message in request.prompt]
        stream = await self._client.chat(self.name, messages, stream=True, options=options)
        return cast("AsyncGenerator[ChatResponse, None]", stream)

    def _options(self, request: Request) -> dict[str, Any]:
        """The parameters of a request."""
        params = request.params
        options = {
            "temperature": params.temperature,
            "top_p": params.top_p,
            "num_predict": params.max_tokens,
            "seed": None if params.seed is None else params.seed + request.index,
            "stop": [stop for stop in params.stop if stop] or None,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _failure(self, error: Any) -> TouchstoneError:
        """What a failed request ends in. A status of -1 is an error that came in the middle of a stream."""
        said = f"{self.url}: {words(error)}"
        if error.status_code < 0:
            return Transient(said)
        if error.status_code == 404:
            return UsageError(f"{said}; get the model with `ollama pull {self.name}`, or set OLLAMA_HOST")
        return failure(error.status_code, said, key="OLLAMA_API_KEY", address="OLLAMA_HOST")


def _tagged(name: str) -> str:
    """A model's name with its tag."""
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
