"""What runs take: estimates, the cache, costs and budgets, and what a resumed run may change."""

from __future__ import annotations

import json
import re

import pytest

from tests.loopback import OllamaServer, OpenAIServer, Reply

pytestmark = pytest.mark.engine

PRICE = {"input": 100.0, "output": 1000.0}
COST = (100 * 100 + 7 * 1000) / 1e6
"""Of one answer, in dollars."""


def number(body):
    return int(re.search(r"def add(\d)", str(body.get("prompt") or body["messages"]))[1])


def answer(body):
    return Reply(f"    return x + {number(body)}\n", usage=(100, 7))


@pytest.fixture
def config(tmp_path):
    def write(**catalog):
        path = tmp_path / "config.yaml"
        path.write_text(json.dumps({"catalog": {"openai/m": catalog}}))
        return str(path)

    return write


@pytest.fixture
def given(problems):
    return "-m", "openai/m", "-t", f"file:{problems}", "--prompt-style", "completion", "--max-tokens", "10"


def test_estimate_then_says_what_is_left_to_do_and_does_nothing(program, given, config):
    priced = "--config", config(price=PRICE)
    with OpenAIServer(answer) as server:
        (before,) = program.documents(*given, *priced, "-n", "3", "--estimate", OPENAI_BASE_URL=server.url)
        assert server.requests == []
        assert json.loads(program("list", "--json", module="runs").stdout) == []
        program.documents(*given, OPENAI_BASE_URL=server.url)
        (after,) = program.documents(*given, *priced, "-n", "3", "--estimate", OPENAI_BASE_URL=server.url)
        table = program(*given, "--estimate", OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 5
    (suite,) = before["suites"]
    assert (suite["calls"], suite["cached"], suite["stored"]) == (15, 0, 0)
    assert suite["most_output_tokens"] == 150 and suite["time_s"] is None
    assert suite["cost_usd"] == pytest.approx(
        (suite["input_tokens"] * 100 + suite["output_tokens"] * 1000) / 1e6, rel=0.05
    )
    (suite,) = after["suites"]
    assert (suite["calls"], suite["cached"]) == (10, 5)
    assert (suite["input_tokens"], suite["output_tokens"]) == (1000, 70)
    assert suite["cost_usd"] == pytest.approx(10 * COST) and suite["time_s"] > 0
    assert suite["basis"] == "the averages of 5 stored answers of this model"
    assert table.returncode == 0 and re.search(r"\| `openai/m` \| file:\S+ \| +0 \| +5 \|", table.stdout)


def test_run_when_it_was_made_before_then_the_model_is_not_called_and_it_costs_nothing(program, given, config):
    with OpenAIServer(answer) as server:
        (first,) = program.documents(*given, "--config", config(price=PRICE), OPENAI_BASE_URL=server.url)
        (second,) = program.documents(*given, "--config", config(price=PRICE), OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 5
        (third,) = program.documents(*given, "--no-cache", OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 10
    one, two, three = (each["results"][0] for each in (first, second, third))
    assert one["metrics"] == two["metrics"] == three["metrics"]
    assert one["usage"]["cost_usd"] == pytest.approx(5 * COST)
    assert (two["usage"]["cached"], two["usage"]["requests"], two["usage"]["cost_usd"]) == (5, 0, 0)
    assert (three["usage"]["cached"], three["usage"]["cost_usd"]) == (0, None)


def test_run_when_it_samples_then_answers_are_kept_only_if_all_are(program, given):
    sampled = *given, "-n", "2", "--temperature", "0.8"
    with OpenAIServer(answer) as server:
        for more, requests in (([], 10), ([], 20), (["--cache"], 30), (["--cache"], 30)):
            program.documents(*sampled, *more, OPENAI_BASE_URL=server.url)
            assert len(server.requests) == requests


def test_cache_commands_then_say_what_is_kept_and_remove_it(program, given):
    with OpenAIServer(answer) as server:
        program.documents(*given, OPENAI_BASE_URL=server.url)
        stats = json.loads(program("stats", "--json", module="cache").stdout)
        assert (stats["answers"], stats["models"]) == (5, {"openai/m": 5})
        unknown = program("clear", "-m", "openai/n", module="cache")
        assert unknown.returncode == 2 and "did you mean 'openai/m'" in unknown.stderr
        assert "removed 5 answers" in program("clear", module="cache").stderr
        program.documents(*given, OPENAI_BASE_URL=server.url)
        assert len(server.requests) == 10


def test_run_when_the_budget_is_spent_then_it_stops_in_order_and_goes_on_with_another(program, given, config):
    priced = *given, "-n", "4", "--temperature", "1", "--config", config(price=PRICE)
    with OpenAIServer(answer) as server:
        done = program(*priced, "--max-cost", str(9.5 * COST), "--json", OPENAI_BASE_URL=server.url)
        (document,) = map(json.loads, done.stdout.splitlines())
        spent = document["results"][0]["usage"]["cost_usd"]
        asked = len(server.requests)
        (whole,) = program.documents(
            *("--resume", document["run_id"], "--config", config(price=PRICE)), OPENAI_BASE_URL=server.url
        )
        assert len(server.requests) == 20
    assert done.returncode == 3
    assert "stopped before it costs more than --max-cost" in done.stderr and "--resume" in done.stderr
    assert document["status"] == "incomplete"
    assert 5 * COST < spent <= 9.5 * COST and asked == round(spent / COST)
    assert whole["results"][0]["usage"]["cost_usd"] == pytest.approx(20 * COST)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--max-cost", "0.001"), "one answer of openai/m may cost 0.017 USD, which is more than --max-cost 0.001"),
        (("--max-cost", "1", "--prompt-style", "instruct"), "--max-cost needs a limit of the answers' length"),
    ],
)
def test_run_when_a_budget_cannot_be_kept_then_the_mend_is_said(program, problems, config, more, says):
    tokens = ("--max-tokens", "10") if "instruct" not in more else ()
    given = "-m", "openai/m", "-t", f"file:{problems}", "--config", config(price=PRICE), *tokens
    with OpenAIServer(answer) as server:
        done = program(*given, *more, OPENAI_BASE_URL=server.url)
        assert server.requests == []
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_run_when_a_budget_is_given_and_no_price_is_known_then_the_mend_is_said(program, given):
    with OpenAIServer(answer) as server:
        done = program(*given, "--max-cost", "1", OPENAI_BASE_URL=server.url)
        assert server.requests == []
    assert done.returncode == 2
    assert "--max-cost needs the price of openai/m" in done.stderr and "catalog" in done.stderr


def interrupted(program, given, **variables):
    """A run that is left incomplete by its budget."""
    done = program(*given, "--max-tokens", "10", "--max-cost", str(1.8 * COST), "--json", **variables)
    assert done.returncode == 3, done.stderr
    return json.loads(done.stdout)["run_id"]


def test_resume_when_the_model_takes_other_parameters_now_then_is_refused(program, given, config):
    with OpenAIServer(answer) as server:
        run_id = interrupted(program, (*given, "--config", config(price=PRICE)), OPENAI_BASE_URL=server.url)
        done = program(
            *("--resume", run_id, "--config", config(temperature=False, price=PRICE)), OPENAI_BASE_URL=server.url
        )
    assert done.returncode == 2
    assert "temperature is sent as None" in done.stderr and "as 0.0 in the run" in done.stderr


def test_resume_when_other_weights_answer_to_the_name_now_then_is_refused(program, problems, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"catalog": {"ollama/m": {"price": PRICE}}}))
    given = "-m", "ollama/m", "-t", f"file:{problems}", "--config", str(config)
    with OllamaServer(answer, models=("m:latest",)) as server:
        run_id = interrupted(program, given, OLLAMA_HOST=server.url)
        server.weights = "other"
        done = program("--resume", run_id, OLLAMA_HOST=server.url)
    assert done.returncode == 2
    assert "the model's revision is" in done.stderr


def test_resume_when_the_server_has_moved_then_goes_on(program, given, config):
    with OpenAIServer(answer) as server:
        run_id = interrupted(program, (*given, "--config", config(price=PRICE)), OPENAI_BASE_URL=server.url)
    with OpenAIServer(answer) as server:
        (document,) = program.documents("--resume", run_id, OPENAI_BASE_URL=server.url)
    assert document["status"] == "complete"
