from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from core.errors import BadData, GenerationError
from models.recorded import Generations, Recorded
from tests.models.asking import request

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("TOUCHSTONE_DATA", ROOT.parent / "shared" / "data"))


def line(task_id: object, completion: object, **more: object) -> str:
    return json.dumps({"task_id": task_id, "completion": completion, **more}, ensure_ascii=False) + "\n"


def written(content: str | bytes, name: str = "g.jsonl") -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


async def texts(generations: Generations, known: list[str], n: int) -> list[str]:
    model = Recorded("m", generations, known)
    return [(await model.generate(request(index=i))).text for i in range(n)]


async def test_load_when_json_lines_then_the_order_of_a_tasks_lines_is_that_of_its_samples() -> None:
    path = written(line("t/0", "a", index=7) + line("t/1", "b") + "\n" + line("t/0", "  c\r\n ", index=3, verdict=1))
    generations = Generations.load(path)
    assert generations.counts(["t/0", "t/1"], ["t/0", "t/1", "t/2"]) == [2, 1]
    assert await texts(generations, ["t/0", "t/1"], 2) == ["a", "  c\r\n "]


async def test_load_when_compressed_then_is_the_same_and_hashes_the_files_bytes() -> None:
    data = gzip.compress(line("t/0", "é\u2028\x85😀").encode())
    generations = Generations.load(written(data, "g.jsonl.gz"))
    assert await texts(generations, ["t/0"], 1) == ["é\u2028\x85😀"]
    assert generations.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \r\n\n"])
async def test_load_when_the_file_begins_with_a_mark_or_blanks_then_reads_it(start: bytes) -> None:
    windows = (line("t/0", "a") + line("t/0", "b")).replace("\n", "\r\n").encode()
    assert await texts(Generations.load(written(start + windows)), ["t/0"], 2) == ["a", "b"]


async def test_load_when_a_list_of_lists_then_lists_belong_to_problems_in_the_suites_order() -> None:
    generations = Generations.load(written('[["a"],\n ["b", "c"]]', "g.json"))
    known = ["t/1", "t/0", "t/2"]
    assert generations.counts(["t/1", "t/0"], known) == [1, 2]
    assert await texts(generations, known, 2) == ["b", "c"]


def test_counts_when_a_list_of_lists_is_too_short_then_names_the_problems_without() -> None:
    generations = Generations.load(written('[["a"], [], ["b"]]'))
    with pytest.raises(BadData, match=r"g\.jsonl: has no completion for 2 of 4 problems \(t/1, t/3\): add them"):
        generations.counts(["t/0", "t/1", "t/2", "t/3"], ["t/0", "t/1", "t/2", "t/3"])


def test_counts_when_a_list_of_lists_is_too_long_then_says_so() -> None:
    with pytest.raises(BadData, match=r"has 2 lists for 1 problems"):
        Generations.load(written('[["a"], ["b"]]')).counts(["t/0"], ["t/0"])


def test_counts_when_problems_have_no_completion_then_says_how_many_and_which_first() -> None:
    known = [f"t/{i}" for i in range(6)]
    with pytest.raises(BadData, match=r"no completion for 5 of 6 problems \(t/1, t/2, t/3, \.\.\.\).*--limit"):
        Generations.load(written(line("t/0", "a"))).counts(known, known)


def test_counts_when_the_run_is_limited_then_other_problems_need_none_and_may_have_some() -> None:
    generations = Generations.load(written(line("t/0", "a") + line("t/2", "b")))
    assert generations.counts(["t/0"], ["t/0", "t/1", "t/2"]) == [1]


def test_counts_when_the_file_names_a_stranger_then_names_its_line_and_the_closest() -> None:
    generations = Generations.load(written(line("HumanEval/0", "a") + "\n" + line("HumanEvl/1", "a")))
    with pytest.raises(BadData, match=r"g\.jsonl:3: task_id: .*'HumanEvl/1'.*HumanEval/1") as caught:
        generations.counts(["HumanEval/0"], ["HumanEval/0", "HumanEval/1"])
    assert (caught.value.line, caught.value.field) == (3, "task_id")


@pytest.mark.parametrize(
    ("content", "line_number", "field", "message"),
    [
        ("", None, None, "is empty"),
        (" \n\n", None, None, "is empty"),
        (line("t/0", "a") + '{"task_id": "t/0", "comp', 2, None, "is not JSON: .* at column 20"),
        (line("t/0", "a") + "[]\n", 2, None, "should be an object, is list"),
        (line("t/0", None), 1, "completion", "should be a string, is null"),
        (line("t/0", ["a"]), 1, "completion", "should be a string, is list"),
        (line(11, "a"), 1, "task_id", "should be a string, is int"),
        ('{"task_id": "t/0", "solution": "a"}', 1, "completion", "is missing; there is: task_id, solution"),
        ('{"completion": "a"}', 1, "task_id", "is missing"),
        ("{}", 1, "task_id", "is missing; there is: nothing"),
        ('{"task_id": "t/0", "completion": "\\ud83d"}', 1, "completion", "half a character"),
        (line("t/0", "a").encode() + b'{"task_id": "\xff"}', 2, None, "is not UTF-8"),
        ('[["a"],\n["b",]]', 2, None, "is not JSON"),
        ('["a"]', None, "[0]", "should be a list of strings, is str"),
        ('[["a"], ["b", 1]]', None, "[1][1]", "should be a string, is int"),
        ("[" * 100_000, 1, None, "out of all bounds"),
        ('{"task_id": "t/0", "completion": "a", "n": 1' + "0" * 5000 + "}", 1, None, "out of all bounds"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_load_when_the_content_is_wrong_then_names_the_place_and_the_fault(
    content: str | bytes, line_number: int | None, field: str | None, message: str
) -> None:
    with pytest.raises(BadData, match=message) as caught:
        Generations.load(written(content))
    assert (caught.value.where, caught.value.line, caught.value.field) == ("g.jsonl", line_number, field)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"not gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x")[:10] + b"junk" * 9])
def test_load_when_the_file_is_not_whole_gzip_then_says_so(data: bytes) -> None:
    with pytest.raises(BadData, match="is not a whole gzip file"):
        Generations.load(written(data, "g.jsonl.gz"))


@pytest.mark.parametrize("path", ["absent.jsonl", "."])
def test_load_when_the_file_cannot_be_read_then_says_why(path: str) -> None:
    with pytest.raises(BadData, match=r"cannot be read: (No such file|Is a directory)"):
        Generations.load(path)


@pytest.mark.parametrize("asked", [{"index": 1}, {"turn": 1}])
async def test_generate_when_there_is_no_such_completion_then_generation_error(asked: dict[str, int]) -> None:
    model = Recorded("m", Generations.load(written(line("t/0", "a"))), ["t/0"])
    with pytest.raises(GenerationError, match="has no completion"):
        await model.generate(request(**asked))


def test_load_when_given_real_completions_then_has_ten_a_problem() -> None:
    path = DATA / "codegen16b" / "samples.jsonl.gz"
    if not path.exists():
        pytest.skip(f"no data at {DATA}: set TOUCHSTONE_DATA")
    known = [f"HumanEval/{i}" for i in range(164)]
    assert Counter(Generations.load(str(path)).counts(known, known)) == {10: 164}
