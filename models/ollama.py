"""Ollama, on this machine or at `OLLAMA_HOST`.

Answers are streamed; times are those of the request that succeeded, and `Completion.ttft_s` is the time to the first
text of the answer, reasoning excepted. Where a stop ends the reading early, the tokens are None.

Left to itself Ollama cuts a prompt that its context has no room for, and says nothing. It is asked not to, and where it
is too old to know that (before 0.12.6), a prompt that filled the context is an error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from core.errors import GenerationError, TouchstoneError, UnknownName, UsageError
from core.types import Completion, FinishReason, Request
from models import keys
from models.base import Capabilities
from models.failures import Transient, words
from models.http import TIMEOUT, Remote, basic, listen, overhear, shown
from models.transcript import Transcript

if TYPE_CHECKING:
    import httpx

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}
_TIMINGS = {
    "load": "load_duration",
    "prompt": "prompt_eval_duration",
    "generation": "eval_duration",
    "total": "total_duration",
}
"""Our names for Ollama's times, which are in nanoseconds."""
_WHOLE = {"truncate": False, "shift": False}
"""Neither to cut a prompt for want of room, nor to forget its beginning while answering."""


class Ollama(Remote):
    """`ollama/NAME`, as Ollama means the name: without a tag it is `NAME:latest`.

    Address: `OLLAMA_HOST`. Key, if the server wants one: `OLLAMA_API_KEY`; a password in the address comes before it.
    """

    provider = "ollama"
    capabilities = Capabilities(styles=("instruct", "completion"), max_stops=sys.maxsize)
    key_variable = "OLLAMA_API_KEY"
    url_variable = "OLLAMA_HOST"
    default_url = "http://127.0.0.1:11434"
    start = "start it with `ollama serve`"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        host = keys.setting(self.url_variable) or self.default_url
        self._parts(host if "://" in host else f"http://{host}")

        # Imported late: the library reads the address by itself as it is imported, and may end with its own error.
        import httpx
        from ollama import AsyncClient

        self.url = shown(host)
        key = self._key()
        # The client drops the password of an address.
        authorization = basic(host) or (f"Bearer {key}" if key else None)
        self._context: int | None = None
        self._looked = False
        self._looking = asyncio.Lock()
        self._client = AsyncClient(
            host=host,
            headers={"authorization": authorization} if authorization else None,
            timeout=httpx.Timeout(**TIMEOUT),
            follow_redirects=False,
            # The client drops the headers of errors, and knows no argument for what `_whole` adds.
            event_hooks={"response": [_raise_for_status, overhear]},
            auth=_whole,
        )

    async def check(self) -> None:
        """See that the server answers and has the model. Sets `revision` to its digest."""
        import httpx
        from ollama import ResponseError

        fault: TouchstoneError
        try:
            listed = (await self._client.list()).models
            installed = {each.model: each.digest for each in listed if each.model}
            if listed and not installed:
                return
        except (ConnectionError, httpx.HTTPError) as error:
            fault = self._unreachable(error)
        except ResponseError as error:
            if error.status_code not in (401, 403):
                return
            fault = self._failed(error.status_code, words(Exception(error.error)))
        except (ValueError, TypeError, AttributeError):
            return
        else:
            for name, digest in installed.items():
                if _same(name, self.name):
                    self.revision = digest
                    return
            hint = f"get it with `ollama pull {self.name}`"
            fault = UnknownName(f"model at {self.url}", self.name, installed, hint)
        raise fault

    async def generate(self, request: Request) -> Completion:
        """One completion: a chat for messages, a raw continuation for a string. See `Model.generate`."""
        import httpx
        from ollama import ResponseError

        raw = isinstance(request.prompt, str)
        transcript = Transcript(request.params.stop if raw else (), chat=not raw)
        last: Any = None
        stopped = False
        fault: TouchstoneError | None = None
        heard = listen()
        try:
            async with aclosing(await self._open(request)) as stream:
                async for part in stream:
                    said = part if raw else part.message
                    transcript.think(said.thinking)
                    stopped = transcript.add(said.response if raw else said.content)
                    last = part
                    if stopped:
                        break
        except httpx.HTTPStatusError as error:
            answer = error.response
            fault = self._failed(answer.status_code, _error(answer), answer.headers)
        except (ConnectionError, httpx.HTTPError) as error:
            fault = Transient(f"{self.url}: {words(error)}")
        except ResponseError as error:  # in the middle of the stream
            fault = Transient(f"{self.url}: {words(Exception(error.error))}")
        except (ValueError, TypeError, AttributeError) as error:
            fault = self._garbled(error, last is not None, heard)
        if fault is None and not stopped and not (last and last.done):
            fault = self._unfinished(last is not None, heard)
        if isinstance(fault, Transient):
            fault.begun = last is not None
        if fault is not None:
            raise fault
        return await self._checked(
            transcript.completion(
                "stop" if stopped else _FINISH.get(last.done_reason or "stop", "other"),
                model_served=last.model,
                input_tokens=last.prompt_eval_count,
                output_tokens=last.eval_count,
                timings={name: took / 1e9 for name, of in _TIMINGS.items() if (took := getattr(last, of)) is not None},
            )
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]

    def parameters(self, request: Request) -> dict[str, Any]:
        """The body of a request but for the prompt, its options beside the rest. See `Model.parameters`."""
        raw = isinstance(request.prompt, str)
        how = {"endpoint": f"{self.url}/api/generate", "raw": True} if raw else {"endpoint": f"{self.url}/api/chat"}
        return {**how, "model": self.name, **_WHOLE, **self._options(request)}

    async def _open(self, request: Request) -> AsyncGenerator[Any, None]:
        options: Any = self._options(request)
        stream: Any
        if isinstance(request.prompt, str):
            stream = await self._client.generate(self.name, request.prompt, raw=True, stream=True, options=options)
        else:
            messages = [{"role": message.role, "content": message.content} for message in request.prompt]
            stream = await self._client.chat(self.name, messages, stream=True, options=options)
        opened: AsyncGenerator[Any, None] = stream
        return opened

    def _options(self, request: Request) -> dict[str, Any]:
        """The parameters of a request, by Ollama's names."""
        asked = self.sampling(request)
        if "max_tokens" in asked:
            asked["num_predict"] = asked.pop("max_tokens")
        if self.capabilities.context is not None:
            asked["num_ctx"] = self.capabilities.context
        return asked

    async def _checked(self, completion: Completion) -> Completion:
        """The completion, if the model has seen the whole prompt from its beginning to the answer's end.

        Where the context ran out while answering, it was cut by its length. Raises GenerationError where the prompt
        left no room in the context for an answer.
        """
        context, read = await self._room(), completion.input_tokens
        if context is None or read is None:
            return completion
        if read >= context:
            raise GenerationError(
                f"{self.url}: the prompt fills the {context} tokens of context that {self.name} has, and may have been "
                f"cut to fit; {self._more_room()}"
            )
        if read + (completion.output_tokens or 0) > context:
            return replace(completion, finish_reason="length")
        return completion

    async def _room(self) -> int | None:
        """The tokens of context with which the model was loaded, as far as the server tells. Asked for once."""
        import httpx
        from ollama import ResponseError

        async with self._looking:
            if not self._looked:
                try:
                    loaded = (await self._client.ps()).models
                    self._context = next((each.context_length for each in loaded if _same(each.model, self.name)), None)
                except (ConnectionError, httpx.HTTPError):
                    return None  # the next answer asks again
                except (ResponseError, ValueError, TypeError, AttributeError):
                    pass
                self._looked = True
        return self._context

    def _more_room(self) -> str:
        return f"give it more in config.yaml, such as catalog: {{ollama/{self.name}: {{context: 32768}}}}"

    def _failed(self, status: int, said: str, headers: Mapping[str, str] | None = None) -> TouchstoneError:
        said = f"{said} (status code: {status})"
        if status == 404:
            return UsageError(f"{self.url}: {said}; get the model with `ollama pull {self.name}`, or set OLLAMA_HOST")
        if status == 400 and "context" in said:
            said = f"{said}; {self._more_room()}"
        return super()._failed(status, said, headers)


async def _raise_for_status(response: httpx.Response) -> None:
    if not response.is_success:
        await response.aread()
        response.raise_for_status()


def _whole(request: httpx.Request) -> httpx.Request:
    """A request to answer with `_WHOLE` in its body; any other as it is."""
    import httpx

    if request.method != "POST":
        return request
    headers = request.headers.copy()
    del headers["content-length"]
    body = {**json.loads(request.content), **_WHOLE}
    return httpx.Request("POST", request.url, headers=headers, json=body, extensions=request.extensions)


def _error(response: httpx.Response) -> str:
    """What an error says."""
    try:
        said = str(response.json()["error"])
    except (ValueError, TypeError, KeyError):
        said = response.text
    return words(Exception(said))


def _same(one: str | None, other: str) -> bool:
    """Whether two names mean one model: without a tag it is `latest`, and upper and lower case are the same."""
    return one is not None and _tagged(one) == _tagged(other)


def _tagged(name: str) -> str:
    return (name if ":" in name.rpartition("/")[2] else f"{name}:latest").casefold()
