"""What models that are asked over HTTP have in common: an address, perhaps a key, and words for what goes wrong."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from core.errors import ServerUnreachable, TouchstoneError, UsageError
from models import keys
from models.base import Model
from models.failures import Transient, failure, retry_after_s, words

TIMEOUT: Mapping[str, float] = {"timeout": 600.0, "connect": 10.0}
"""Seconds without a sign of life, and until a connection stands: the arguments of an HTTP client's `Timeout`."""
BEGINNING = 4096
"""Bytes of a reply that are kept, to be quoted where it is no answer."""

_heard: ContextVar[bytearray] = ContextVar("_heard")


class Remote(Model):
    """A model behind an address. Variables of the environment, or of `.env`, set the address and the key."""

    key_variable: str
    url_variable: str
    default_url: str
    start = "check the network"
    """What to do where no server answers, before setting another address."""
    unknown = ""
    """What to do where the server lacks the model."""

    _host: str | None = None

    @property
    def official(self) -> bool:
        """Whether this is the service of the provider's own domain."""
        return f".{self._host}".endswith(f".{urlsplit(self.default_url).hostname}")

    def _address(self) -> str:
        """The address as it was set, which may hold a password. `url` is from here on what of it may be shown.

        Raises UsageError where it is none.
        """
        url = keys.setting(self.url_variable) or self.default_url
        host = self._parts(url).hostname
        if not host:
            raise self._no_address()
        self.url, self._host = shown(url).rstrip("/"), host
        return url

    def _parts(self, url: str) -> SplitResult:
        """The parts of an address. Raises UsageError, which does not quote it, where no server can have it."""
        from httpx2 import URL, InvalidURL

        parts: SplitResult | None = None
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and bool(parts.netloc) and url.isprintable() and " " not in url
            # These raise where there is no such thing.
            _ = parts.port, URL(url).raw_host.decode().encode("idna")
        except (ValueError, InvalidURL):
            sound = False
        # Where what stands before them is taken for the host, what follows may be half a password.
        if "?" in url or "#" in url or (parts is not None and "@" in parts.path):
            raise UsageError(
                f"{self.url_variable} holds a '?', a '#', or an '@' after a '/', which the address of a server does "
                f"not: keys are set with {self.key_variable}, and in a password they are written %3F, %23, %40 and %2F"
            )
        if parts is None or not sound:
            raise self._no_address()
        return parts

    def _no_address(self) -> UsageError:
        return UsageError(f"{self.url_variable} is no address of a server: set it to one like {self.default_url}")

    def _key(self) -> str | None:
        """The key. Raises UsageError where one is needed and not set."""
        key = keys.secret(self.key_variable)
        if key is None and self._needs_key():
            raise UsageError(f"{self.provider} needs a key: set {self.key_variable}, in the environment or in .env")
        return key

    def _needs_key(self) -> bool:
        return self.official

    def _unreachable(self, error: Exception) -> ServerUnreachable:
        """No server answered."""
        return ServerUnreachable(
            f"no server answers at {self.url} ({words(error)}): {self.start}, or set {self.url_variable}"
        )

    def _failed(self, status: int, said: str, headers: Mapping[str, str] | None = None) -> TouchstoneError:
        """What a request that was answered with an error ends in. said: what the server says. headers: its reply's."""
        headers = headers or {}
        if 300 <= status < 400:
            # Clients send most of their headers along, and the prompt.
            return UsageError(
                f"{self.url}: the server sends one elsewhere (status code: {status}), and no key is taken there: set "
                f"{self.url_variable} to the address of the server that answers"
            )
        wait_s = retry_after_s(headers.get("retry-after"))
        said = f"{self.url}: {said}"
        return failure(status, said, key=self.key_variable, address=self.url_variable, retry_after_s=wait_s)

    def _garbled(self, error: Exception, begun: bool, heard: bytearray) -> Transient:
        """What came could not be read. begun: whether some of it could. heard: the beginning of all."""
        said = "" if begun else _quotable(heard)
        if said:
            return self._other(said)
        return Transient(f"{self.url}: the server sent something that is no part of an answer ({words(error)})")

    def _unfinished(self, begun: bool, heard: bytearray) -> Transient:
        """The answer has no end. begun: whether it had a beginning. heard: that of all that came."""
        said = "" if begun else _quotable(heard)
        return self._other(said) if said else Transient(f"{self.url}: the stream ended before the answer did")

    def _other(self, said: str) -> Transient:
        return Transient(f"{self.url}: the server sent something else than an answer: {words(Exception(said))}")


def options(client: Callable[..., Any]) -> dict[str, Any]:
    """What the clients of OpenAI's and Anthropic's libraries are made with. client: the library's own HTTP client."""
    from httpx2 import Timeout

    timeout = Timeout(**TIMEOUT)
    return {
        # Retries are ours, so that they are counted.
        "max_retries": 0,
        "timeout": timeout,
        "http_client": client(timeout=timeout, follow_redirects=False, event_hooks={"response": [overhear]}),
    }


def listen() -> bytearray:
    """What will hold the beginning of the reply to the request that this task makes next; see `overhear`."""
    heard = bytearray()
    _heard.set(heard)
    return heard


async def overhear(response: Any) -> None:
    """Have the beginning of a reply kept for who listens. A hook that clients call with each response."""
    heard = _heard.get(None)
    if heard is None or not response.is_success:
        return
    pieces = response.aiter_bytes

    async def kept(*size: int | None) -> AsyncGenerator[bytes, None]:
        async with aclosing(pieces(*size)) as read:
            async for piece in read:
                if len(heard) < BEGINNING:
                    heard.extend(piece[: BEGINNING - len(heard)])
                yield piece

    response.aiter_bytes = kept


def error_in(heard: bytearray) -> dict[str, Any] | None:
    """The error in a reply that is nothing else: `{"error": {…}}`."""
    try:
        error = json.loads(heard)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return error if isinstance(error, dict) else None


def _quotable(heard: bytearray) -> str:
    """A beginning as text. Where it was cut, without the last word, which may be half a key."""
    text = heard.decode(errors="replace").strip()
    return text if len(heard) < BEGINNING else text.rsplit(None, 1)[0]


async def events(stream: AsyncIterator[bytes]) -> AsyncGenerator[tuple[str, str], None]:
    """The server-sent events of a reply, as they come: name, "" where one has none, and data.

    Lines end with a line feed, or with a carriage return before it, alone: Unicode's other line ends stand in data.
    Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, 9.2.5 and 9.2.6.
    """
    rest, name = b"", ""
    data: list[str] = []
    async for piece in stream:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            field, _, value = line.removesuffix(b"\r").decode().partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif not field and not value:
                if data:
                    yield name, "\n".join(data)
                name, data = "", []


def shown(url: str) -> str:
    """An address without user and password. From here on they are removed from every text, however they are written."""
    scheme, slashes, user, host = _split(url)
    if user:
        name, _, password = user.partition(":")
        # A name that stands alone is a token.
        secret = unquote(password or name)
        for form in (password or name, secret, quote(secret, safe=""), _basic(user)):
            keys.hide(form)
    return f"{scheme}{slashes}{host}"


def basic(url: str) -> str | None:
    """The header `Authorization` for an address with user and password (RFC 7617); None for one without."""
    user = _split(url)[2]
    return f"Basic {_basic(user)}" if user else None


def _basic(user: str) -> str:
    name, _, password = user.partition(":")
    return b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()


def _split(url: str) -> tuple[str, str, str, str]:
    """An address's scheme, "://" where there is one, user and password, and the rest."""
    before, _, host = url.rpartition("@")
    scheme, slashes, user = before.rpartition("://") if before else url.rpartition("://")
    return (scheme, slashes, user, host) if before else (scheme, slashes, "", user)
