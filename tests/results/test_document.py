import json

import pytest
from jsonschema import Draft202012Validator
from results_fakes import ROOT, run, sample, suite

from core.types import Completion, Metric, Reported, RunSpec, SamplingParams, Status, SuiteRef
from results.document import document
from results.manifest import collect
from results.metrics import score

SCHEMAS = ROOT / "results" / "schemas"


def made(samples, **fields):
    asked = suite(n_samples=2)
    spec = RunSpec("m/x", (SuiteRef("native", "easy"),), params=SamplingParams(stop=("\n",)), datasets=(("a", "b"),))
    manifest = collect(spec, [asked], {"backend": "docker"}, ["touchstone", "run"])
    record = run(asked, manifest=manifest, **fields)
    return document(record, [score(asked, "m/x", samples, [1, 10])])


def errors(value):
    schema = json.loads((SCHEMAS / "run.schema.json").read_text())
    strict = json.loads(json.dumps(value, allow_nan=False))
    return [error.message for error in Draft202012Validator(schema).iter_errors(strict)]


@pytest.mark.parametrize("name", ["run", "sample"])
def test_a_schema_then_valid_json_schema_that_names_every_status(name):
    text = (SCHEMAS / f"{name}.schema.json").read_text()
    Draft202012Validator.check_schema(json.loads(text))
    assert all(f'"{status}"' in text for status in Status)


@pytest.mark.parametrize("samples", [[], [sample(completion=Completion("x", ttft_s=0.5, input_tokens=3))]])
def test_document_then_valid_by_its_schema(samples):
    assert errors(made(samples)) == []


def test_document_with_a_field_that_the_schema_does_not_know_then_invalid():
    got = made([])
    got["results"][0]["extra"] = 1
    assert errors(got) != []


def test_document_then_the_design_s_fields():
    got = made([sample(), sample(index=1, status=Status.SANDBOX_ERROR)], wall_s=12.5, status="interrupted")
    assert list(got) == ["schema", "run_id", "group_id", "status", "results", "groups", "dimensions", "manifest"]
    assert (got["schema"], got["status"]) == ("touchstone.run/1", "interrupted")
    [result] = got["results"]
    assert (result["harness"], result["suite"], result["suite_version"]) == ("native", "easy", "1")
    assert (result["prompt_style"], result["n_problems"], result["n_samples"]) == ("instruct", 2, 4)
    assert result["metrics"]["pass@1"]["value"] == 1.0
    assert result["metrics"]["pass@1"]["bounds"] == [0.25, 1.0]
    assert result["ledger"]["passed"] == 1
    assert result["ledger"]["sandbox_error"] == 1
    assert result["ledger"]["timed_out"] == 0
    assert result["timing"]["wall_s"] == 12.5


def test_document_when_a_metric_is_undefined_then_null():
    metric = made([sample()])["results"][0]["metrics"]["pass@10"]
    assert metric == {"value": None, "stderr": None, "ci95": None, "n": 0, "undefined": 2, "bounds": None}


def test_document_when_a_harness_reports_then_its_figures_stand_with_ours_and_its_groups_by_themselves():
    metrics = {"acc,none": Metric(0.5, None, None, 2), "ppl,none": Metric(None, None, None, 0)}
    reported = Reported("lm-eval", "easy", metrics, {"acc": True, "ppl": False, "x": None}, details={"n_shot": 0})
    group = Reported("lm-eval", "both", metrics, members=("easy",), group=True, details={"config": None})
    asked = suite(harness="lm-eval")
    samples = [sample(status=Status.SCORED), sample("sub", status=Status.SCORED)]
    spec = RunSpec("m/x", (SuiteRef("lm-eval", "easy"),), n_samples=None, num_fewshot=0, include=("tasks",))
    manifest = collect(spec, [asked], {"backend": "docker"}, ["touchstone", "run"])
    scores = [score(asked, "m/x", samples, [1], reported)]
    got = document(run(asked, manifest=manifest, spec=spec), scores, [group])
    assert errors(got) == []
    [result] = got["results"]
    assert list(result["metrics"]) == ["acc,none", "ppl,none"]
    assert result["reported"] == {"higher_is_better": reported.higher_is_better, "details": {"n_shot": 0}}
    assert [(each["name"], each["members"]) for each in got["groups"]] == [("both", ["easy"])]
