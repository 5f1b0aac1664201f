"""What models that are asked over HTTP have in common: an address, perhaps a key, and words for what goes wrong."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from urllib.parse import urlsplit

from core.errors import ServerUnreachable, UsageError
from models import keys
from models.base import Model
from models.failures import Transient, words

TIMEOUT: Mapping[str, float] = {"timeout": 600.0, "connect": 10.0}
"""Seconds without a sign of life, and until a connection stands: the arguments of an HTTP client's `Timeout`."""


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
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"{self.url_variable} is no address of a server: set it to one like {self.default_url}")
        self.url, self._host = shown(url).rstrip("/"), parts.hostname
        return url

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

    def _garbled(self, error: Exception) -> Transient:
        """What came could not be read."""
        return Transient(f"{self.url}: the server sent something that is no part of an answer ({words(error)})")

    def _unfinished(self) -> Transient:
        """The answer has no end."""
        return Transient(f"{self.url}: the stream ended before the answer did")


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
    """An address without user and password. From here on the password is removed from every text."""
    scheme, slashes, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    user, _, host = host.rpartition("@")
    password = user.partition(":")[2]
    if password:
        keys.hide(password)
    return f"{scheme}{slashes}{host}{slash}{path}"
