"""A server of OpenAI's protocol for load: thousands of requests a second, in a process of its own.

    with FastServer({"def add(": "    return a + b\\n"}, latency=0.5) as server:
        ...                             # server.url is what OPENAI_BASE_URL is set to
        print(server.stats()["answered"])

`python -m tests.loopback.fast --port 8000 --rate 10` is the same by hand; its first line is the address. Chats and raw
completions are streamed, and only so. It knows no pipelining and no TLS. What can go wrong with a request is the
business of `OpenAIServer`; here it is only turned away.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

Answer = Callable[[str], str]
"""The prompt, or a chat's last message → the answer."""

ROOT = Path(__file__).resolve().parents[2]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_HEAD = b"HTTP/1.1 %s\r\nContent-Type: %s\r\n"


class FastServer:
    """The server as a process. A context manager.

    answers: see `lookup`. options: those of the command line, such as `latency=0.5` or `retry_after=1`.
    """

    def __init__(self, answers: Mapping[str, str] | None = None, **options: float | str) -> None:
        self._answers = answers
        words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self._command = [sys.executable, "-m", "tests.loopback.fast", *words]
        self.url = ""

    def __enter__(self) -> Self:
        given = [] if self._answers is None else ["--answers=/dev/stdin"]
        self._process = subprocess.Popen(
            [*self._command, *given], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._process.stdin as file:
            json.dump(self._answers, file)
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the server did not start: it says why on standard error")
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.terminate()

    def stats(self) -> Any:
        """What it has counted so far: see `Tally.document`."""
        with urllib.request.urlopen(f"{self.url}/stats") as reply:
            return json.load(reply)


def lookup(answers: Mapping[str, str]) -> Answer:
    """Answers by prompt: the one whose key is the prompt, else the first whose key stands in it, else an empty one."""

    @lru_cache(4096)
    def answer(prompt: str) -> str:
        if prompt in answers:
            return answers[prompt]
        return next((text for key, text in answers.items() if key in prompt), "")

    return answer


class Window:
    """A limit: so many requests in any second, rounded up."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._passed: deque[float] = deque()

    def passes(self, now: float) -> bool:
        """Whether a request may pass. now: seconds."""
        while self._passed and now - self._passed[0] >= 1:
            self._passed.popleft()
        if len(self._passed) >= self._rate:
            return False
        self._passed.append(now)
        return True


class Bucket:
    """A limit: so many requests a second in the long run, and as many at once after a pause, but always one."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._room = self._tokens = max(rate, 1)
        self._at = 0.0

    def passes(self, now: float) -> bool:
        """Whether a request may pass. now: seconds."""
        self._tokens = min(self._room, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


LIMITS: dict[str, type[Window] | type[Bucket]] = {"window": Window, "bucket": Bucket}


class Tally:
    """What became of the requests for an answer, and when."""

    def __init__(self) -> None:
        self.contact_at: float | None = None
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.in_flight = self.most_in_flight = self.abandoned = 0
        self._seconds: list[list[int]] = []

    def asked(self) -> None:
        """A request for an answer has come."""
        if self.first_at is None:
            self.first_at = time.time()

    def taken(self) -> None:
        """It is let pass."""
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def ended(self, *, answered: bool) -> None:
        """It is answered, or the client has hung up before it was."""
        self.in_flight -= 1
        if answered:
            self.last_at = time.time()
            self._second()[0] += 1
        else:
            self.abandoned += 1

    def refused(self) -> None:
        """It is turned away."""
        self._second()[1] += 1

    def document(self) -> dict[str, Any]:
        """All of it, for JSON. Times are seconds since 1970.

        `contact_at`: the first request of any kind; `first_at`: the first for an answer; `last_at`: the last answer;
        `per_second`: what was `answered` and `refused` in each second since `first_at`.
        """
        return {
            "contact_at": self.contact_at,
            "first_at": self.first_at,
            "last_at": self.last_at,
            "answered": sum(answered for answered, _ in self._seconds),
            "refused": sum(refused for _, refused in self._seconds),
            "abandoned": self.abandoned,
            "most_in_flight": self.most_in_flight,
            "per_second": [{"answered": answered, "refused": refused} for answered, refused in self._seconds],
        }

    def _second(self) -> list[int]:
        assert self.first_at is not None
        second = int(time.time() - self.first_at)
        while len(self._seconds) <= second:
            self._seconds.append([0, 0])
        return self._seconds[second]


class Service:
    """What the connections have in common.

    latency_s: how long it is silent before an answer, which then comes at once. pieces: events that an answer's text is
    cut into. limit: which requests are turned away. retry_after: the header that these get.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        latency_s: float = 0.0,
        pieces: int = 20,
        limit: Window | Bucket | None = None,
        retry_after: str | None = None,
        model: str = "m",
    ) -> None:
        self.answer, self.latency_s, self.limit = answer, latency_s, limit
        self.tally = Tally()
        wait = {} if retry_after is None else {"Retry-After": retry_after}
        said = {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}
        self.refusal = _whole(b"429 Too Many Requests", {"error": said}, wait)
        self.models = _whole(b"200 OK", {"object": "list", "data": [{"id": model, "object": "model"}]})
        # Few prompts are asked many times.
        self.stream = lru_cache(4096)(lambda prompt, chat, usage: _stream(model, prompt, answer, pieces, chat, usage))


class Connection(asyncio.Protocol):
    """One connection, and the request on it."""

    _transport: asyncio.Transport

    def __init__(self, service: Service) -> None:
        self._service = service
        self._buffer = b""
        self._due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        if self._due is not None:
            self._due.cancel()
            self._service.tally.ended(answered=False)

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        length = _LENGTH.search(self._buffer, 0, head)
        end = head + 4 + (int(length[1]) if length else 0)
        if len(self._buffer) >= end:
            path = self._buffer.split(b" ", 2)[1].decode().removeprefix("/v1")
            body, self._buffer = self._buffer[head + 4 : end], self._buffer[end:]
            self._reply(path, body)

    def _reply(self, path: str, body: bytes) -> None:
        service = self._service
        tally = service.tally
        if path == "/stats":
            self._transport.write(_whole(b"200 OK", tally.document()))
            return
        if tally.contact_at is None:
            tally.contact_at = time.time()
        if path == "/models":
            self._transport.write(service.models)
        elif path not in ("/completions", "/chat/completions"):
            self._transport.write(_error(b"404 Not Found", "no such page"))
        else:
            tally.asked()
            loop = asyncio.get_running_loop()
            if service.limit is not None and not service.limit.passes(loop.time()):
                tally.refused()
                self._transport.write(service.refusal)
                return
            asked = json.loads(body)
            if not asked.get("stream"):
                self._transport.write(_error(b"400 Bad Request", "answers are streamed only"))
                return
            chat = "messages" in asked
            prompt = asked["messages"][-1]["content"] if chat else asked["prompt"]
            usage = (asked.get("stream_options") or {}).get("include_usage", False)
            tally.taken()
            self._due = loop.call_later(service.latency_s, self._answer, service.stream(prompt, chat, usage))

    def _answer(self, stream: bytes) -> None:
        self._due = None
        self._transport.write(stream)
        self._service.tally.ended(answered=True)


def _stream(model: str, prompt: str, answer: Answer, pieces: int, chat: bool, usage: bool) -> bytes:
    """A whole reply: one HTTP chunk for each event."""
    text = answer(prompt)
    cuts = [len(text) * i // pieces for i in range(pieces + 1)]
    parts = [text[a:b] for a, b in pairwise(cuts) if a < b]

    def event(choices: list[Any], **more: Any) -> bytes:
        kind = "chat.completion.chunk" if chat else "text_completion"
        data = {"id": "c-1", "object": kind, "created": 0, "model": model, "choices": choices, **more}
        return b"data: %s\n\n" % json.dumps(data).encode()

    def choice(piece: str, finish: str | None = None) -> list[Any]:
        content = {"delta": {"content": piece}} if chat else {"text": piece, "logprobs": None}
        return [{"index": 0, "finish_reason": finish, **content}]

    events = [*(event(choice(part)) for part in parts), event(choice("", "stop"))]
    if usage:
        read, written = len(prompt) // 4 + 1, len(parts)
        counts = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        events.append(event([], usage=counts))
    events += [b"data: [DONE]\n\n", b""]
    chunks = [b"%x\r\n%s\r\n" % (len(data), data) for data in events]
    return _HEAD % (b"200 OK", b"text/event-stream") + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(chunks)


def _whole(status: bytes, body: Any, headers: Mapping[str, str] | None = None) -> bytes:
    data = json.dumps(body).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items()).encode()
    return _HEAD % (status, b"application/json") + more + b"Content-Length: %d\r\n\r\n%s" % (len(data), data)


def _error(status: bytes, words: str) -> bytes:
    return _whole(status, {"error": {"message": words}})


async def serve(service: Service, port: int = 0) -> None:
    """Serve on 127.0.0.1 until cancelled, after printing the address. port: 0 takes any that is free."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", port, backlog=1024)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.loopback.fast", description=serve.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="JSON file of prompt, or part of one, to answer")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="silent so long, then the whole stream")
    parser.add_argument("--pieces", type=int, default=20, help="events that an answer's text is cut into")
    parser.add_argument("--rate", type=float, metavar="N", help="requests a second; those beyond get 429")
    parser.add_argument("--limit", choices=LIMITS, default="window", help="how the rate is measured")
    parser.add_argument("--retry-after", metavar="S", help="header of those turned away")
    parser.add_argument("--model", default="m", help="the name that it lists; it answers to any")
    args = parser.parse_args()
    answers = {"": "    return 1\n"} if args.answers is None else json.loads(args.answers.read_text("utf-8"))
    service = Service(
        lookup(answers),
        latency_s=args.latency,
        pieces=args.pieces,
        limit=None if args.rate is None else LIMITS[args.limit](args.rate),
        retry_after=args.retry_after,
        model=args.model,
    )
    asyncio.run(serve(service, args.port))


if __name__ == "__main__":
    main()
