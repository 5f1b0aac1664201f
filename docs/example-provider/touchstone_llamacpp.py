"""llama.cpp's server, asked by its own protocol.

`POST /completion` continues a text and streams server-sent events. Each holds a JSON object with a piece of the text
in `content`; the last has `stop` true and says why it ended (`stop_type`), how many tokens were read and written, and
how long the server took for both (`timings`). An error is `{"error": {"code", "message"}}`, as a reply or as an event.
Source: https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from core.errors import ServerUnreachable, TouchstoneError, UnknownName, UsageError
from core.types import Completion, FinishReason, Request
from models import keys
from models.base import Capabilities, Model
from models.failures import Transient, failure, retry_after_s, words
from models.transcript import Transcript

if TYPE_CHECKING:
    from httpx2 import Response

KEY, ADDRESS = "LLAMACPP_API_KEY", "LLAMACPP_BASE_URL"
DEFAULT_URL = "http://127.0.0.1:8080"

_FINISH: dict[Any, FinishReason] = {"eos": "stop", "word": "stop", "limit": "length"}


class LlamaCpp(Model):
    """`llamacpp/NAME`, where NAME is what `llama-server --alias` says, or the path of its model.

    Address: `LLAMACPP_BASE_URL`. Key, where the server wants one: `LLAMACPP_API_KEY`.
    """

    provider = "llamacpp"
    capabilities = Capabilities(styles=("completion",), max_stops=sys.maxsize)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        # Heavy imports are lazy: `touchstone --help` does not wait for them.
        from httpx2 import URL, AsyncClient, InvalidURL, Limits, Timeout

        try:
            url: URL | None = URL(keys.setting(ADDRESS) or DEFAULT_URL)
        except InvalidURL:
            url = None
        # Raised out here, so that the error has no context that may hold a password.
        if url is None or url.scheme not in ("http", "https") or not url.host:
            raise UsageError(f"{ADDRESS} is no address of a server: set it to one like {DEFAULT_URL}")
        if url.password:
            keys.hide(url.password)
        self.url = str(url.copy_with(username=None, password=None)).rstrip("/")
        key = keys.secret(KEY)
        # How many requests are in flight is decided elsewhere: the pool must not hold any back, which would count as
        # the server's time.
        self._client = AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=Timeout(600.0, connect=10.0),
            limits=Limits(max_connections=None),
        )

    async def check(self) -> None:
        """See that the server answers and has the model."""
        from httpx2 import HTTPError

        fault: TouchstoneError | None = None
        try:
            response = await self._client.get("v1/models")
            if response.status_code in (401, 403):
                raise _Refusal(response.status_code, await _said(response))
            names = [str(each["id"]) for each in response.json()["data"]] if response.is_success else []
        except HTTPError as error:
            fault = ServerUnreachable(
                f"no llama.cpp answers at {self.url} ({words(error)}): "
                f"start it with `llama-server -m MODEL.gguf --port 8080`, or set {ADDRESS}"
            )
        except _Refusal as error:
            fault = self._failure(error)
        except (ValueError, TypeError, KeyError):
            return
        if fault is None and names and self.name not in names:
            hint = f"start it with `llama-server -m MODEL.gguf --alias {self.name}`"
            fault = UnknownName(f"model at {self.url}", self.name, names, hint)
        if fault is not None:
            raise fault

    def parameters(self, request: Request) -> dict[str, Any]:
        """The body of a request but for the prompt. See `Model.parameters`."""
        return {"endpoint": f"{self.url}/completion", **self._sent(request)}

    async def generate(self, request: Request) -> Completion:
        """One continuation. See `Model.generate`."""
        from httpx2 import HTTPError

        if not isinstance(request.prompt, str):
            raise UsageError(f"{self.provider} continues texts alone: choose --prompt-style completion")
        body = {"prompt": request.prompt, "stream": True, **self._sent(request)}
        transcript = Transcript()
        last: dict[str, Any] | None = None
        fault: TouchstoneError | None = None
        try:
            async with self._client.stream("POST", "completion", json=body) as response:
                if not response.is_success:
                    raise _Refusal(response.status_code, await _said(response), response.headers.get("retry-after"))
                async with aclosing(_events(response)) as events:
                    async for event in events:
                        transcript.add(event["content"])
                        if event["stop"]:
                            last = event
                            break
        except _Refusal as error:
            fault = self._failure(error)
        except HTTPError as error:
            fault = Transient(f"{self.url}: {words(error)}")
        except (ValueError, TypeError, KeyError) as error:
            fault = Transient(f"{self.url}: the server sent something that is no part of an answer ({words(error)})")
        if fault is not None:
            raise fault
        if last is None:
            raise Transient(f"{self.url}: the stream ended before the answer did")
        return transcript.completion(
            "length" if last.get("truncated") else _FINISH.get(last.get("stop_type"), "other"),
            model_served=last.get("model"),
            input_tokens=last.get("tokens_evaluated"),
            output_tokens=last.get("tokens_predicted"),
            timings=_seconds(last.get("timings")),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _sent(self, request: Request) -> dict[str, Any]:
        """The parameters of a request, by the server's names."""
        asked = self.sampling(request)
        if "max_tokens" in asked:
            asked["n_predict"] = asked.pop("max_tokens")
        return {"model": self.name, **asked}

    def _failure(self, refusal: _Refusal) -> TouchstoneError:
        """What a request ends in that the server would not have."""
        said = f"{self.url}: {words(refusal)}"
        return failure(refusal.status, said, key=KEY, address=ADDRESS, retry_after_s=retry_after_s(refusal.retry_after))


class _Refusal(Exception):
    """The server has said that it will not, or cannot."""

    def __init__(self, status: int, message: str, retry_after: str | None = None) -> None:
        super().__init__(message)
        self.status, self.retry_after = status, retry_after


async def _events(response: Response) -> AsyncGenerator[dict[str, Any], None]:
    """The objects of a stream. Raises _Refusal for one that is an error, ValueError for what is no JSON.

    Lines end with line feeds alone: `Response.aiter_lines` would split at Unicode's line ends too, which code may hold.
    """
    rest = b""
    async for data in response.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                event = json.loads(line.removeprefix(b"data:"))
                if "error" in event:
                    raise _Refusal(int(event["error"]["code"]), str(event["error"]["message"]))
                yield event


async def _said(response: Response) -> str:
    """What a reply says that is no answer."""
    text = (await response.aread()).decode(errors="replace")
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return text or response.reason_phrase


def _seconds(timings: Any) -> dict[str, float]:
    """The server's own times, as far as it tells them."""
    told = timings if isinstance(timings, dict) else {}
    return {
        name: told[key] / 1000
        for name, key in (("prompt", "prompt_ms"), ("generation", "predicted_ms"))
        if isinstance(told.get(key), (int, float))
    }
