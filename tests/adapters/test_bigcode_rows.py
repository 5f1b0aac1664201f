"""Data files that are read without the package `datasets`: as that reads them, or not at all."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from adapters.hosts.bigcode.rows import Rows, read
from adapters.hosts.data import Data


def _written(path, *rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


PLAIN = (
    {"task_id": "a/0", "prompt": "ä\n\t", "count": 3, "share": 0.5, "right": True, "tests": ["x", "y"]},
    {"task_id": "a/1", "prompt": "", "count": -1, "share": 2.0, "right": False, "tests": []},
)


def test_read_when_rows_are_plain_then_they_are_what_datasets_gives(tmp_path):
    datasets = pytest.importorskip("datasets")
    path = _written(tmp_path / "test.jsonl", *PLAIN)
    theirs = datasets.load_dataset("json", data_files={"test": [str(path)]}, cache_dir=str(tmp_path / "cache"))
    ours = read({"test": [path]})
    assert ours == {"test": [*theirs["test"]]} == {"test": [*PLAIN]}
    assert ours["test"].select(range(1, 2)) == [PLAIN[1]]


def test_read_when_files_are_compressed_and_several_then_their_rows_follow_each_other(tmp_path):
    for number, row in enumerate(PLAIN):
        (tmp_path / f"test-{number}.jsonl.gz").write_bytes(gzip.compress(json.dumps(row).encode()))
    assert read({"test": sorted(tmp_path.iterdir())}) == {"test": Rows(PLAIN)}


@pytest.mark.parametrize(
    "rows",
    [
        ({"a": 1}, {"b": 1}),
        ({"a": 1}, {"a": 1, "b": 1}),
        ({"a": 1}, {"a": 1.5}),
        ({"a": 1}, {"a": "1"}),
        ({"a": None}, {"a": None}),
        ({"a": {"b": 1}},),
        ({"a": [1, 2]},),
        ({"a": "2024-01-31"}, {"a": "2024-02-01"}),
        ({"a": 1 << 63},),
        ("[1]",),
        ('{"a": NaN}',),
        ('{"a": ',),
        (),
    ],
    ids=str,
)
def test_read_when_datasets_might_give_something_else_then_it_is_left_to_it(tmp_path, rows):
    assert read({"test": [_written(tmp_path / "test.jsonl", *rows)]}) is None


def test_read_when_a_file_is_no_json_lines_then_it_is_left_to_datasets(tmp_path):
    assert read({"test": [_written(tmp_path / "test.csv", "a,b", "1,2")]}) is None
    assert read({"test": [tmp_path / "none.jsonl"]}) is None


def test_stand_in_when_a_file_is_plain_then_datasets_is_never_imported_and_else_it_is(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setitem(sys.modules, "datasets", datasets)
    plain = _written(tmp_path / "plain.jsonl", *PLAIN)
    mixed = _written(tmp_path / "mixed.jsonl", {"a": 1}, {"a": 1.5})
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    data = Data({"plain": str(plain), "mixed": str(mixed)}, None)
    data.stand_in(read)
    standing = sys.modules["datasets"]
    assert standing is not datasets

    data.task = {"task": "plain", "test_split": "test"}
    assert standing.load_dataset(path="whatever")["test"] == [*PLAIN]
    assert sys.modules["datasets"] is standing

    monkeypatch.setattr("builtins.__import__", _giving(datasets, __import__))
    data.task = {"task": "mixed", "test_split": "test"}
    assert [*standing.load_dataset(path="whatever")["test"]] == [{"a": 1.0}, {"a": 1.5}]
    assert sys.modules["datasets"] is datasets


def _giving(datasets, imported):
    """Importing, where the package is loaded already under another name: twice in a process it cannot be."""

    def find(name, *args, **options):
        if name == "datasets":
            sys.modules.setdefault("datasets", datasets)
        return imported(name, *args, **options)

    return find
