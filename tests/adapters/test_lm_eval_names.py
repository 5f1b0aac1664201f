"""lm-eval's names, and what of a run's settings is sent to it. What it does with them: see `test_lm_eval_parity`."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from adapters import lm_eval_index
from adapters.lm_eval import LmEval, _generation
from core.errors import HostError, UsageError
from core.types import SamplingParams

STOCK = {
    "arc_easy": {"kind": "task", "output": "multiple_choice", "data": "allenai/ai2_arc", "tags": ["ai2_arc"]},
    "arc_own": {"kind": "py_task"},
    "ai2_arc": {"kind": "tag", "tags": ["arc_easy", "arc_challenge"]},
    "arc_group": {"kind": "group", "members": ["arc_easy"]},
    "gsm8k": {"kind": "task", "output": "generate_until", "data": "openai/gsm8k"},
}
UNSET = SamplingParams(None)


@pytest.fixture
def stock(monkeypatch):
    monkeypatch.setattr(lm_eval_index, "names", lambda: STOCK)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "below").mkdir()
    own = "task: own\ntag: [mine, arc]\noutput_type: generate_until\ndataset_path: a/b\ndoc_to_text: !function a.b\n"
    (tmp_path / "below" / "own.yaml").write_text(own)
    (tmp_path / "easy.yaml").write_text("task: arc_easy\ntag: mine\n")
    (tmp_path / "group.yaml").write_text("group: arc_all\ntask: [arc_easy]\n")
    (tmp_path / "part.yaml").write_text("dataset_path: a/b\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        (UNSET, {}),
        (SamplingParams(0.0), {"temperature": 0.0, "do_sample": False}),
        (SamplingParams(0.8), {"temperature": 0.8, "do_sample": True}),
        (replace(UNSET, top_p=0.9, max_tokens=7, seed=1), {"top_p": 0.9, "max_gen_toks": 7}),
        (replace(UNSET, stop=("a", "b")), {"until": ["a", "b"]}),
    ],
)
def test_generation_when_a_setting_is_given_then_it_alone_takes_the_tasks_place(params, sent):
    assert _generation(params) == sent


def test_names_when_a_folder_is_included_then_they_are_all_known_and_a_pattern_means_tasks_alone(stock, folder):
    harness = LmEval((folder,))
    assert {*harness.names()} == {*STOCK, "own", "mine", "arc", "arc_all"}
    assert harness.claims("own") and harness.claims("mine") and harness.claims("gsm8k") and not harness.claims("part")
    assert sorted(harness.matching("arc*")) == ["arc_easy", "arc_own"]
    assert LmEval().matching("*") == ["arc_easy", "arc_own", "gsm8k"]


def test_listing_when_a_name_is_stock_and_included_then_the_included_one_is_shown(stock, folder):
    rows = {row["suite"]: (row["kind"], row["output"], row["data"], row["of"]) for row in LmEval().listing("*")}
    assert rows == {
        "ai2_arc": ("tag", None, None, 2),
        "arc_easy": ("task", "multiple_choice", "allenai/ai2_arc", None),
        "arc_group": ("group", None, None, 1),
        "arc_own": ("task", None, None, None),
        "gsm8k": ("task", "generate_until", "openai/gsm8k", None),
    }
    own = {row["suite"]: (row["kind"], row["output"], row["data"]) for row in LmEval((folder,)).listing("*")}
    assert own["arc_easy"] == ("task", None, None)
    assert own["own"] == ("task", "generate_until", "a/b")
    assert (own["arc_all"][0], own["mine"][0]) == ("group", "tag")


@pytest.mark.parametrize("text", ["task: [a\n", "task: \x00\n", "a: b: c\n"])
def test_names_when_an_included_file_is_no_yaml_then_it_is_named(tmp_path, text):
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"broken\.yaml: cannot be read as YAML: "):
        LmEval((str(tmp_path),))


def test_index_when_it_cannot_be_made_then_the_last_word_and_the_mend_are_said(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(HostError, match="cannot be read: no word; see that it works: lm-eval ls tasks"):
        lm_eval_index.path()
    assert "some 10 s" in capsys.readouterr().err
    assert not (tmp_path / "touchstone").exists()


def test_index_when_there_is_one_then_it_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lm_eval_index, "_make", lambda target, _: (target.parent.mkdir(), target.write_text("{}")))
    made = lm_eval_index.path()
    monkeypatch.setattr(lm_eval_index, "_make", lambda *_: pytest.fail("it is made again"))
    assert json.loads(lm_eval_index.path().read_text()) == {} and lm_eval_index.path() == made
