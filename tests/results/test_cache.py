from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import pytest

from core.errors import BadData
from core.types import Completion, Message
from results.cache import Cache, key_of, path_beside

ANSWER = Completion(
    "x\udc80",
    thinking="hm",
    answer_at=1,
    input_tokens=7,
    output_tokens=11,
    total_s=2.0,
    tries=3,
    cost_usd=0.5,
    timings={"load": 0.1},
    effective={"temperature": 0.0},
)
DECIDES = {
    "provider": "openai",
    "url": "http://a",
    "name": "m",
    "revision": "r1",
    "parameters": {"temperature": 0.0, "seed": 1},
    "prompt": "def f():\n",
    "index": 0,
}


@pytest.fixture
def cache(tmp_path):
    with Cache.open(tmp_path / "cache.db") as opened:
        yield opened


def test_get_when_an_answer_was_kept_then_is_that_answer_and_cost_nothing_now(cache):
    cache.put("k", "openai/m", ANSWER)
    assert cache.get("k") == replace(ANSWER, cached=True, tries=0, cost_usd=0.0)
    assert cache.get("another") is None


@pytest.mark.parametrize("reason", ["refusal", "other"])
def test_put_when_an_answer_was_declined_or_ended_strangely_then_is_not_kept(cache, reason):
    cache.put("k", "openai/m", replace(ANSWER, finish_reason=reason))
    assert cache.get("k") is None


def test_put_when_there_is_one_then_the_first_stays(cache):
    cache.put("k", "openai/m", ANSWER)
    cache.put("k", "openai/m", Completion("y"))
    assert cache.get("k").text == ANSWER.text


def test_open_when_closed_and_opened_again_then_everything_is_there(tmp_path):
    with Cache.open(tmp_path / "cache.db") as cache:
        cache.put("k", "openai/m", ANSWER)
    with Cache.open(tmp_path / "cache.db") as cache:
        assert cache.get("k") is not None


def test_key_when_anything_that_decides_differs_then_differs():
    others = [
        {"provider": "vllm"},
        {"url": "http://b"},
        {"name": "n"},
        {"revision": None},
        {"revision": "r2"},
        {"parameters": {"temperature": 0.0, "seed": 2}},
        {"parameters": {"temperature": 0.0}},
        {"prompt": "def f():"},
        {"prompt": (Message("user", "def f():\n"),)},
        {"index": 1},
    ]
    keys = {key_of(**{**DECIDES, **other}) for other in [{}, *others]}
    assert len(keys) == len(others) + 1


def test_key_when_parameters_come_in_another_order_then_is_the_same():
    assert key_of(**{**DECIDES, "parameters": {"seed": 1, "temperature": 0.0}}) == key_of(**DECIDES)


def test_stats_then_counts_by_model(cache):
    for n in range(3):
        cache.put(f"a{n}", "openai/m", ANSWER)
    cache.put("b", "ollama/q", ANSWER)
    found = cache.stats()
    assert (found.answers, found.models) == (4, {"ollama/q": 1, "openai/m": 3})
    assert found.size_bytes > 0 and found.oldest is not None and found.oldest <= found.newest


def test_clear_when_a_model_is_named_then_only_its_answers_go(cache):
    cache.put("a", "openai/m", ANSWER)
    cache.put("b", "ollama/q", ANSWER)
    assert cache.clear("openai/m") == 1
    assert (cache.get("a"), cache.get("b") is None) == (None, False)
    assert cache.clear() == 1
    assert cache.stats().answers == 0


def test_open_when_the_file_is_no_database_then_bad_data(tmp_path):
    (tmp_path / "cache.db").write_text("hello" * 1000)
    with pytest.raises(BadData):
        Cache.open(tmp_path / "cache.db")


def test_get_when_what_is_kept_is_broken_then_bad_data_names_the_file(cache):
    cache.put("k", "openai/m", ANSWER)
    db = sqlite3.connect(cache.path)
    db.execute("UPDATE answers SET body = ?", (json.dumps({"text": 3}),))
    db.commit()
    db.close()
    with pytest.raises(BadData, match=r"cache\.db: text"):
        cache.get("k")


def test_path_when_runs_are_somewhere_then_is_beside_them(tmp_path):
    assert path_beside(tmp_path / "runs.db") == tmp_path / "runs.cache.db"
