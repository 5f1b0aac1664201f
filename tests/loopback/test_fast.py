from __future__ import annotations

import http.client
import json
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from openai import AsyncOpenAI

from tests.loopback.fast import Bucket, FastServer, Window, lookup

CODE = "def añadir(a, b):\n"
BODY = "    return a + b  # ∑ 😀\n"
ASKED = json.dumps({"model": "m", "prompt": CODE, "stream": True})


class Caller(http.client.HTTPConnection):
    """One connection to a server, which stays open from one request to the next."""

    def __init__(self, server: FastServer) -> None:
        super().__init__(urlsplit(server.url).netloc, timeout=30)

    def post(self, body: str = ASKED, path: str = "/v1/completions") -> tuple[int, dict[str, str], str]:
        self.request("POST", path, body)
        reply = self.getresponse()
        return reply.status, dict(reply.headers), reply.read().decode()


@pytest.mark.parametrize("chat", [True, False])
async def test_server_when_asked_by_the_sdk_then_streams_the_prompts_answer_in_the_pieces_asked_for(chat: bool) -> None:
    asked: dict[str, Any] = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    with FastServer({CODE: BODY, "": "another"}, pieces=7) as server:
        async with AsyncOpenAI(api_key="none", base_url=server.url, max_retries=0) as client:
            if chat:
                messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": CODE}]
                stream: Any = await client.chat.completions.create(messages=messages, **asked)
            else:
                stream = await client.completions.create(prompt=CODE, **asked)
            *chunks, last, counted = [chunk async for chunk in stream]
            listed = [model.id for model in (await client.models.list()).data]
    pieces = [chunk.choices[0].delta.content if chat else chunk.choices[0].text for chunk in chunks]
    assert ("".join(pieces), len(pieces)) == (BODY, 7)
    assert last.choices[0].finish_reason == "stop"
    assert (counted.choices, counted.usage.completion_tokens) == ([], 7)
    assert listed == ["m"]


def test_server_when_a_request_comes_in_two_parts_on_a_used_connection_then_answers_it() -> None:
    with FastServer({"": BODY}) as server:
        caller = Caller(server)
        first = caller.post()
        caller.putrequest("POST", "/v1/completions")
        caller.putheader("Content-Length", str(len(ASKED)))
        caller.endheaders()
        assert server.stats()["answered"] == 1
        caller.send(ASKED.encode())
        second = caller.getresponse().read().decode()
        caller.close()
    assert first[0] == 200
    assert second == first[2]


def test_server_when_it_has_a_latency_then_is_silent_so_long() -> None:
    with FastServer({"": BODY}, latency=0.2) as server:
        caller = Caller(server)
        start = time.monotonic()
        status, *_ = caller.post()
        assert time.monotonic() - start >= 0.2
        caller.close()
        stats = server.stats()
    assert status == 200
    assert stats["last_at"] - stats["first_at"] >= 0.2


def test_server_when_asked_beyond_its_rate_then_turns_away_and_counts_both() -> None:
    with FastServer({"": BODY}, rate=3, retry_after="7") as server:
        caller = Caller(server)
        replies = [caller.post() for _ in range(5)]
        caller.close()
        stats = server.stats()
    assert [status for status, *_ in replies] == [200, 200, 200, 429, 429]
    assert replies[3][1]["Retry-After"] == "7"
    assert json.loads(replies[3][2])["error"]["code"] == "rate_limit_exceeded"
    assert (stats["answered"], stats["refused"]) == (3, 2)
    assert stats["per_second"] == [{"answered": 3, "refused": 2}]
    assert stats["most_in_flight"] == 1


def test_server_when_a_client_hangs_up_before_the_answer_then_counts_it_as_abandoned() -> None:
    with FastServer({"": BODY}, latency=60) as server:
        caller = Caller(server)
        caller.request("POST", "/v1/completions", ASKED)
        caller.close()
        while not (stats := server.stats())["abandoned"]:
            pass
    assert (stats["answered"], stats["abandoned"]) == (0, 1)


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [(ASKED, "/v1/embeddings", 404), ('{"model": "m", "prompt": ""}', "/v1/completions", 400)],
)
def test_server_when_asked_for_what_it_does_not_do_then_says_so(body: str, path: str, status: int) -> None:
    with FastServer() as server:
        caller = Caller(server)
        refused = caller.post(body, path)
        after = caller.post()
        caller.close()
    assert refused[0] == status
    assert after[0] == 200


def test_lookup_when_a_key_is_the_prompt_then_it_comes_before_those_that_stand_in_it() -> None:
    answer = lookup({"def add": "part", "def add(a)": "whole"})
    assert [answer(prompt) for prompt in ("def add(a)", "# def add(a)", "def sub")] == ["whole", "part", ""]


def test_window_when_a_second_has_had_its_share_then_the_next_pass_as_the_first_grow_old() -> None:
    window = Window(2)
    assert [window.passes(now) for now in (0, 0.9, 0.99, 1.0, 1.5, 1.95)] == [True, True, False, True, False, True]


def test_bucket_when_it_is_empty_then_fills_with_the_rate_and_no_further_than_a_second() -> None:
    bucket = Bucket(2)
    assert [bucket.passes(now) for now in (10, 10, 10, 10.5, 10.75)] == [True, True, False, True, False]
    assert [bucket.passes(20) for _ in range(3)] == [True, True, False]
