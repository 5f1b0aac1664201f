"""What the servers have in common: listening, counting, faults, and writing a stream in awkward pieces."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

SLICE = 61
"""Bytes written at a time: so odd that events, lines and characters of several bytes are split."""


@dataclass(frozen=True)
class Reply:
    """An answer with more to it than its text."""

    text: str | None
    finish_reason: str | None = "stop"
    """None: the stream ends without one."""
    thinking: str = ""
    refusal: str = ""
    usage: tuple[int, int] | None = (7, 11)
    """Tokens read and written; None: the server does not count, whatever it is asked."""
    pieces: tuple[str, ...] = ()
    """The pieces that the text comes in; left out: three characters each."""

    def cut(self) -> Iterator[str]:
        text = self.text or ""
        yield from self.pieces or (text[i : i + 3] for i in range(0, len(text), 3))


Answer = Callable[[dict[str, Any]], "str | Reply"]
"""The request's JSON body → the answer."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request. Without any field: nothing."""

    status: int | None = None
    """Reply with this status in place of an answer,"""
    words: str = "out of order"
    """these words,"""
    error: Mapping[str, Any] = field(default_factory=dict)
    """these further fields of the error,"""
    retry_after: str | None = None
    """and these two headers."""
    location: str | None = None
    body: str | None = None
    """Reply with this, and the status if there is one, in place of an answer,"""
    kind: str = "application/json"
    """as this type of content."""
    cut: bool = False
    """Hang up halfway."""
    hold: bool = False
    """Stand still halfway, until the client hangs up: see `held` and `hung_up`."""
    garbled: str | None = None
    """Send this in place of the event halfway."""


Faults = Callable[[int], Fault | None]
"""The number of a request for an answer, from 1 → what goes wrong with it."""


@dataclass(frozen=True)
class Received:
    """A request for an answer."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str] = field(repr=False)
    """In lower case. They hold keys: never printed."""


class LoopbackServer:
    """A model server. A context manager; it takes connections while the context lasts.

    answer: what it answers. faults: what goes wrong, by a request's number; faults_of: by its body. latency_s: how long
    it is silent before the first byte. models: the names that it lists; None: it cannot list any. key: where given, the
    only key that it lets in. listing: where set, sent for everything that is got. requests: the requests for answers,
    in the order in which they came.
    """

    def __init__(
        self,
        answer: Answer = lambda _: "",
        *,
        faults: Faults = lambda _: None,
        faults_of: Callable[[dict[str, Any]], Fault | None] = lambda _: None,
        latency_s: float = 0.0,
        models: tuple[str, ...] | None = ("m",),
        key: str | None = None,
    ) -> None:
        self.answer, self.faults, self.faults_of, self.models, self.key = answer, faults, faults_of, models, key
        self.latency_s = latency_s
        self.requests: list[Received] = []
        self.listing: str | None = None
        self.held = threading.Event()
        """A request is being held."""
        self.hung_up = threading.Event()
        """The client has hung up in the middle of an answer."""
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.loopback = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def origin(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What the provider's address variable is set to."""
        return self.origin

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _hang_up(connection)
        self._server.server_close()

    def _get(self, exchange: Exchange, path: str) -> None:
        raise NotImplementedError

    def _post(self, exchange: Exchange, path: str, body: dict[str, Any]) -> None:
        raise NotImplementedError

    def _receive(self, exchange: Exchange, path: str, body: dict[str, Any]) -> tuple[Reply, Fault] | None:
        """Count a request for an answer; None where it has been dealt with already."""
        headers = {name.lower(): value for name, value in exchange.headers.items()}
        with self._lock:
            self.requests.append(Received(path, body, headers))
            number = len(self.requests)
        fault = self.faults(number) or self.faults_of(body) or Fault()
        self._closing.wait(self.latency_s)
        if fault.body is not None:
            exchange.whole(fault.status or 200, fault.body, {"Content-Type": fault.kind})
            return None
        if fault.status is not None:
            extra = {"Retry-After": fault.retry_after, "Location": fault.location}
            sent = {name: value for name, value in extra.items() if value is not None}
            exchange.json(fault.status, self._error(fault.words, fault.error), sent)
            return None
        if self.models is not None and body.get("model") not in self._callable_names():
            exchange.json(404, self._error(f"model '{body.get('model')}' not found", {}))
            return None
        answer = self.answer(body)
        return (Reply(answer) if isinstance(answer, str) else answer), fault

    def _callable_names(self) -> tuple[str, ...]:
        return self.models or ()

    def _error(self, words: str, fields: Mapping[str, Any]) -> Any:
        return {"error": {"message": words, **fields}}

    def _refused(self, exchange: Exchange) -> bool:
        """Deal with a request that has the wrong key. Like OpenAI, echoes the key."""
        sent = exchange.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.key is None or sent == self.key:
            return False
        exchange.json(401, self._error(f"Incorrect API key provided: {sent} ({sent[:8]}****{sent[-4:]}).", {}))
        return True


class Exchange(BaseHTTPRequestHandler):
    """One connection: its requests and how they are replied to."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self.server.loopback._lock:
            self.server.loopback._connections.add(self.connection)

    def finish(self) -> None:
        with self.server.loopback._lock:
            self.server.loopback._connections.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: request lines are no news."""

    def json(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """Reply with a whole JSON document."""
        self.whole(status, json.dumps(body), {"Content-Type": "application/json", **(headers or {})})

    def whole(self, status: int, body: str, headers: Mapping[str, str]) -> None:
        """Reply with a whole text."""
        data = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, kind: str, events: list[bytes], fault: Fault) -> None:
        """Reply with a stream, in HTTP chunks that split events and characters, as far as the fault lets it."""
        half = len(events) // 2
        if fault.garbled is not None:
            events = [*events[:half], fault.garbled.encode(), *events[half + 1 :]]
        if fault.cut or fault.hold:
            events = events[:half]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        data = b"".join(events)
        try:
            for i in range(0, len(data), SLICE):
                part = data[i : i + SLICE]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        except ConnectionError:
            self.server.loopback.hung_up.set()
            raise
        if fault.hold:
            self._hold()
        if fault.cut or fault.hold:
            self.close_connection = True
            _hang_up(self.connection)
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _hold(self) -> None:
        loopback = self.server.loopback
        loopback.held.set()
        while not loopback._closing.is_set():
            if select.select([self.connection], [], [], 0.01)[0]:
                loopback.hung_up.set()
                return


class _Handler(Exchange):
    def do_GET(self) -> None:
        loopback = self.server.loopback
        if loopback._refused(self):
            return
        if loopback.listing is not None:
            self.whole(200, loopback.listing, {"Content-Type": "application/json"})
        else:
            loopback._get(self, self.path)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.server.loopback._refused(self):
            self.server.loopback._post(self, self.path, body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512
    loopback: LoopbackServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up; anything else is a fault of the test."""
        import sys

        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _hang_up(connection: socket.socket) -> None:
    # The client may have been first.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
