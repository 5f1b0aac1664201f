import json
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from results_fakes import ROOT, run, sample

from core.errors import BadData
from core.types import (
    CaseVerdict,
    Completion,
    Message,
    Metric,
    RunSpec,
    Sample,
    SampleKey,
    SamplingParams,
    Score,
    Solution,
    Status,
    SuiteRef,
    Verdict,
)
from results.records import RunRecord, encode, from_record, prompt_hash, sample_line, to_record

LONE = "\udc80\x00\ud800x\x1b"
"""A low surrogate as undecodable bytes give it, a NUL, a high surrogate with nothing to go with."""


def joined(text):
    """A high surrogate right before a low one is the character that the two mean: JSON knows no difference."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


texts = (st.text(st.characters(), max_size=12) | st.text(st.sampled_from(LONE + "é😀\n|`"), max_size=6)).map(joined)
numbers = st.floats(allow_nan=False)
counts = st.integers(0, 2**70)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda items: st.lists(items, max_size=3) | st.dictionaries(texts, items, max_size=3),
    max_leaves=5,
)
options = st.fixed_dictionaries(
    {}, optional={"temperature": numbers, "stop": st.lists(texts, max_size=2), "any": values}
)


def built(cls, **fields):
    """Any `cls`: fields that are not given are made of their types."""
    hints = get_type_hints(cls)
    primitive = {str: texts, float: numbers, int: counts, bool: st.booleans()}
    return st.builds(cls, **{name: primitive[hint] for name, hint in hints.items() if hint in primitive} | fields)


def or_none(strategy):
    return st.none() | strategy


def tuples(strategy, **sizes):
    return st.lists(strategy, max_size=3, **sizes).map(tuple)


completions = built(
    Completion,
    finish_reason=st.sampled_from(["stop", "length", "refusal", "other"]),
    thinking=or_none(texts),
    model_served=or_none(texts),
    input_tokens=or_none(counts),
    output_tokens=or_none(counts),
    ttft_s=or_none(numbers),
    total_s=or_none(numbers),
    effective=options,
)
verdicts = built(
    Verdict,
    status=st.sampled_from(Status),
    cases=tuples(built(CaseVerdict)),
    judging=st.sampled_from([None, "data", "one-process"]),
)
samples = built(
    Sample,
    key=built(SampleKey),
    verdict=verdicts,
    prompt=texts | tuples(built(Message, role=st.sampled_from(["system", "user", "assistant"]))),
    completion=or_none(completions),
    solution=or_none(built(Solution, method=st.sampled_from(["verbatim", "fence", "region", "raw"]))),
)
params = built(
    SamplingParams,
    temperature=or_none(numbers),
    top_p=or_none(numbers),
    max_tokens=or_none(counts),
    seed=or_none(st.integers()),
    stop=tuples(texts),
)
specs = built(
    RunSpec,
    suites=tuples(built(SuiteRef)),
    k=tuples(counts),
    params=params,
    limit=or_none(counts),
    prompt_style=st.sampled_from([None, "completion", "instruct"]),
    timeout_s=or_none(numbers),
    memory_bytes=or_none(counts),
    generations=or_none(texts),
    datasets=tuples(st.tuples(texts, texts)),
)
pairs = or_none(st.tuples(numbers, numbers))
metrics = built(Metric, value=or_none(numbers), stderr=or_none(numbers), ci95=pairs, bounds=pairs)
scores = built(
    Score,
    prompt_style=st.sampled_from(["completion", "instruct"]),
    metrics=st.dictionaries(texts, metrics, max_size=2),
    ledger=st.dictionaries(st.sampled_from(Status), counts, max_size=3),
    usage=st.dictionaries(texts, or_none(counts | numbers), max_size=3),
    timing=st.dictionaries(texts, or_none(numbers), max_size=3),
)


@given(samples | specs | scores)
def test_a_record_written_as_json_and_read_back_then_equal(value):
    text = encode(to_record(value))
    assert text.isascii()
    assert from_record(type(value), json.loads(text)) == value


def test_a_run_record_written_as_json_and_read_back_then_equal():
    assert from_record(RunRecord, json.loads(encode(to_record(run())))) == run()


def test_from_record_when_a_field_with_a_default_is_absent_then_the_default():
    record = to_record(RunSpec("m/x", ()))
    del record["sandbox"], record["params"]["seed"]
    assert from_record(RunSpec, record) == RunSpec("m/x", ())


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        (("verdict", "status"), "splendid", "verdict.status"),
        (("verdict", "status"), ["passed"], "verdict.status"),
        (("verdict", "cases"), [{"passed": "yes"}], "verdict.cases.0.passed"),
        (("cpu_s",), "3", "cpu_s"),
        (("tries",), True, "tries"),
        (("tries",), 1.0, "tries"),
        (("prompt",), [{"role": "king", "content": ""}], "prompt.0.role"),
        (("completion", "finish_reason"), None, "completion.finish_reason"),
        (("key",), {"suite": "s"}, "key.index"),
        (("solution",), 7, "solution"),
    ],
)
def test_from_record_of_a_wrong_field_then_bad_data_names_it(path, value, field):
    record = to_record(sample())
    inner = record
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    with pytest.raises(BadData) as caught:
        from_record(Sample, record, "a file")
    assert caught.value.field == field
    assert str(caught.value).startswith(f"a file: {field}: ")


@given(samples)
def test_sample_line_then_valid_by_its_schema_and_one_line_of_json(value):
    schema = json.loads((ROOT / "results" / "schemas" / "sample.schema.json").read_text())
    line = sample_line(run(), value)
    errors = [error.message for error in Draft202012Validator(schema).iter_errors(line) if error.validator != "minimum"]
    assert errors == []
    assert "\n" not in encode(line)


def test_sample_line_when_there_is_no_completion_then_null():
    line = sample_line(run(), sample(status=Status.GENERATION_ERROR, tries=4))
    assert line["status"] == "generation_error"
    assert line["tries"] == 4
    unknown = {name for name, value in line.items() if value is None}
    assert {"completion", "solution", "method", "finish_reason", "total_s", "effective", "judging"} <= unknown


def test_sample_line_then_the_completion_is_raw_and_the_solution_is_what_ran():
    line = sample_line(run(), sample())
    assert (line["run_id"], line["model"]) == ("20260102-aaaa", "ollama/qwen2.5-coder")
    assert line["completion"] == "```python\nadd = 0\n```"
    assert (line["solution"], line["method"]) == ("add = 0", "fence")
    assert line["prompt"] == [{"role": "user", "content": "Write add."}]


def test_prompt_hash_then_one_for_each_prompt():
    prompts = ["", "a", "a\n", (Message("user", "a"),), (Message("system", "a"),), (Message("user", "a"),) * 2]
    assert len({prompt_hash(prompt) for prompt in prompts}) == len(prompts)
    assert prompt_hash("a") == "ac8d8342bbb2362d13f0a559a3621bb407011368895164b628a54f7fc33fc43c"
