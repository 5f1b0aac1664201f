from __future__ import annotations

import dataclasses
import gzip
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.errors import BadData, UnknownName
from sandbox import languages
from sandbox.languages import parse

DATA = Path(os.environ.get("TOUCHSTONE_DATA", Path(__file__).parents[3] / "shared" / "data"))
MARKER = "0123456789abcdef"
HUMANEVALPACK = {
    "python": "python3.13",
    "js": "javascript",
    "java": "java",
    "go": "go",
    "cpp": "cpp",
    "rust": "rust",
}
MULTIPL_E = ["cpp", "go", "java", "js", "lua", "php", "pl", "rb", "rs", "sh", "ts"]


def rows(path: str) -> list[dict[str, Any]]:
    file = DATA / path
    if not file.exists():
        pytest.skip(f"{file} is absent: set TOUCHSTONE_DATA to the folder of the data")
    return [json.loads(line) for line in gzip.open(file, "rt", encoding="utf-8")]


# ── loading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_names_then_are_the_folders() -> None:
    assert languages.names() == [
        *["bash", "cpp", "go", "java", "javascript", "lua", "perl", "php", "python3.13", "ruby", "rust", "typescript"]
    ]


@pytest.mark.parametrize("name", languages.names())
def test_load_when_a_language_is_asked_for_then_its_folder_is_right(name: str) -> None:
    language = languages.load(name)
    assert language.name == name
    assert language.undefended
    assert all(form.judged for form in language.forms)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        *[("c++", "cpp"), ("golang", "go"), ("go_test.go", "go"), ("js", "javascript"), ("pl", "perl")],
        *[("rb", "ruby"), ("rs", "rust"), ("sh", "bash"), ("ts", "typescript")],
    ],
)
def test_load_when_a_harness_has_another_name_then_is_the_same_language(alias: str, name: str) -> None:
    assert languages.load(alias) is languages.load(name)


def test_load_when_the_name_is_unknown_then_says_the_closest() -> None:
    with pytest.raises(UnknownName, match=r"unknown language 'javscript'; did you mean 'javascript'"):
        languages.load("javscript")


def test_aliases_then_each_means_one_language() -> None:
    every = Counter(alias for name in languages.names() for alias in (name, *languages.load(name).aliases))
    assert [alias for alias, count in every.items() if count > 1] == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a language's folder."""
    return Path(shutil.copytree(languages.FOLDER / "lua", tmp_path / "lua"))


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    file = folder / languages.FILE
    record = yaml.safe_load(file.read_text())
    edit(record)
    file.write_text(yaml.safe_dump(record, sort_keys=False))


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r.pop("release"), "release: is missing"),
        (lambda r: r.update(relase="x"), "relase: is no field"),
        (lambda r: r.update(packages="lua5.3"), "packages: should be a list of texts"),
        (lambda r: r.update(aliases=[3]), "aliases: should be a text that is not empty"),
        (lambda r: r.update(version=[]), "version: should be a program and its arguments"),
        (lambda r: r.update(environment={"A": 1}), "environment: should be a text that is not empty"),
        (lambda r: r.update(limits=None), "limits: should be a mapping with names as keys"),
        (lambda r: r["limits"].update(cpu_s=True), "limits.cpu_s: should be a number above 0"),
        (lambda r: r["limits"].update(memory_mib=0), "limits.memory_mib: should be a number above 0"),
        (lambda r: r["limits"].update(address_space=1), "limits.address_space: should be true or false"),
        (lambda r: r["signs"].update(failed="("), "signs.failed: is no regular expression"),
        (lambda r: r["signs"].update(died="x"), "signs.died: is no field"),
        (lambda r: r["detect"].update(sure=["["]), "detect.sure: is no regular expression"),
        (lambda r: r["forms"]["plain"].pop("run"), "forms.plain.run: is missing"),
        (lambda r: r["forms"]["plain"]["marker"].update(text="x"), "forms.plain.marker.text: has no {marker}"),
        (lambda r: r["forms"]["plain"]["marker"].update(text=r"\3{marker}"), "forms.plain.marker.text: is no replace"),
        (lambda r: r["forms"]["plain"].update(when="x"), "forms: the last form, and no other, takes any tests"),
        (lambda r: r["forms"]["luaunit"].pop("when"), "forms: the last form, and no other, takes any tests"),
        (lambda r: r["forms"].clear(), "forms: the last form, and no other, takes any tests"),
    ],
)
def test_folder_when_a_field_is_wrong_then_names_the_file_and_the_field(
    folder: Path, edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    edited(folder, edit)
    with pytest.raises(BadData) as caught:
        parse.folder(folder)
    assert str(caught.value).startswith(f"{folder / 'language.yaml'}: {said}")


def test_folder_when_it_is_no_yaml_then_says_so(folder: Path) -> None:
    (folder / languages.FILE).write_text("a: [")
    with pytest.raises(BadData, match=r"language\.yaml: no YAML: "):
        parse.folder(folder)


def test_folder_when_an_example_is_absent_then_says_so(folder: Path) -> None:
    (folder / "fails.lua").unlink()
    with pytest.raises(BadData, match=r"has 0 files fails\.\*, and should have one"):
        parse.folder(folder)


# ── forms ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "tests", "form", "marked"),
    [
        ("cpp", "int main(){ assert(f()); }\n", "main", '#endif\n__builtin_puts("M"); }\n'),
        ("cpp", "#undef NDEBUG\nint main(){ }\n\n", "humanevalpack", '__builtin_puts("M"); }\n'),
        ("java", "class Problem {\n void main() {\n }\n}\n", "problem", 'System.out.println("M"); } }\n'),
        ("java", "public class Main {\n void main() {}\n}\n", "humanevalpack", '{System.out.println("M"); } }\n'),
        ("go", "func TestF(t *testing.T) {\n}\n", "test", 'if !t.Failed() { println("M") } }\n'),
        ("rust", "mod t {\n#[test]\nfn f() {\n }\n}\n", "humanevalpack", 'println!("M"); } }\n'),
        ("rust", "fn main() {\n    let candidate = f;\n}\n", "multipl-e", 'println!("M"); }\n'),
        ("javascript", "console.assert(f())\n", "silent", '\nconsole.log("M");\n'),
        ("javascript", "assert(f())\n", "plain", '\nconsole.log("M");\n'),
        ("perl", "f();\n", "plain", 'print "M\\n";\n'),
        ("php", "f();\n", "plain", 'echo "M\\n";\n'),
        ("ruby", "class T < Test::Unit::TestCase\nend\n", "test-unit", 'AutoRunner.run\nputs "M"\n'),
        ("lua", "os.exit(lu.LuaUnit.run())", "luaunit", "local failures = lu.LuaUnit.run()\n"),
    ],
)
def test_marked_when_the_tests_are_in_a_form_then_the_marker_comes_after_them(
    name: str, tests: str, form: str, marked: str
) -> None:
    found = languages.load(name).form(tests)
    assert found.name == form
    text = found.marked(tests, MARKER)
    assert text is not None
    assert marked.replace("M", MARKER) in text.replace("Main", "main")
    assert text.count(MARKER) == 1


def test_marked_when_it_has_no_place_then_is_none() -> None:
    language = languages.load("cpp")
    assert language.form("int main();").marked("int main();", MARKER) is None
    unmarked = dataclasses.replace(language.forms[-1], marker=None)
    assert unmarked.marked("int main() { }", MARKER) is None


@pytest.mark.parametrize(
    ("name", "form", "output", "rejected"),
    [
        ("javascript", "silent", f"{MARKER}\n", False),
        ("javascript", "silent", f"Assertion failed\n{MARKER}\n", True),
        ("javascript", "plain", f"Assertion failed\n{MARKER}\n", False),
        ("perl", "plain", f"ok!ok!{MARKER}\n", False),
        ("perl", "plain", f"ok!ERROR{MARKER}\n", True),
    ],
)
def test_rejected_when_output_means_failure_then_is_true(name: str, form: str, output: str, rejected: bool) -> None:
    found = next(f for f in languages.load(name).forms if f.name == form)
    assert found.rejected(output, MARKER) is rejected


def test_died_of_when_output_says_nothing_then_is_none() -> None:
    assert languages.load("rust").died_of("thread panicked") is None
    assert languages.load("rust").died_of("assertion `left == right` failed") == "failed"


@pytest.mark.parametrize(("folder", "name"), HUMANEVALPACK.items())
def test_marked_when_the_tests_are_humanevalpacks_then_has_a_place_in_each(folder: str, name: str) -> None:
    language = languages.load(name)
    tests = [row["test"] for row in rows(f"humanevalpack/{folder}.jsonl.gz")]
    forms = {"javascript": "silent", "go": "test", "python3.13": "plain"}
    assert {language.form(text).name for text in tests} == {forms.get(name, "humanevalpack")}
    assert all(language.form(text).marked(text, MARKER) for text in tests)


@pytest.mark.parametrize("alias", MULTIPL_E)
def test_marked_when_the_tests_are_multipl_es_then_has_a_place_in_each(alias: str) -> None:
    tests = [row["tests"] for row in rows(f"multipl_e/humaneval-{alias}.jsonl.gz")]
    forms = {"cpp": "main", "go": "test", "java": "problem", "lua": "luaunit", "rb": "test-unit", "rs": "multipl-e"}
    language = languages.load(alias)
    assert {language.form(text).name for text in tests} == {forms.get(alias, "plain")}
    assert all(language.form(text).marked(text, MARKER) for text in tests)


# ── recognising ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", languages.names())
def test_detect_when_the_code_is_a_languages_example_then_is_that_language(name: str) -> None:
    expected = "python" if name == "python3.13" else name
    language = languages.load(name)
    assert (languages.detect(language.passes), languages.detect(language.fails)) == (expected, expected)


@pytest.mark.parametrize("text", ["", "\n", "Sort the list, then return it.", "x", "# def f(): in a comment"])
def test_detect_when_nothing_tells_then_is_none(text: str) -> None:
    assert languages.detect(text) is None


def test_detect_when_two_languages_are_as_likely_then_is_none() -> None:
    lua, perl = "local a = 1\n", "sub f {\n"
    assert (languages.detect(lua), languages.detect(perl), languages.detect(lua + perl)) == ("lua", "perl", None)


@pytest.mark.parametrize(
    "text",
    ["\n", "fn a()->", "function f(a, ", "def f()\n", "if x then\n", "/*", "List<A<", "function f(" + "a" * 9**5],
)
def test_detect_when_the_code_would_make_an_expression_slow_then_only_its_beginning_counts(text: str) -> None:
    long = text * 10_000
    assert languages.detect(long) == languages.detect(long[: languages.KEPT])


@pytest.mark.parametrize(("folder", "name"), HUMANEVALPACK.items())
def test_detect_when_the_code_is_humanevalpacks_then_is_right_each_time(folder: str, name: str) -> None:
    expected = "python" if folder == "python" else name
    found = Counter(
        languages.detect(row["prompt"] + row["canonical_solution"]) for row in rows(f"humanevalpack/{folder}.jsonl.gz")
    )
    assert found == {expected: 164}


@pytest.mark.parametrize("alias", MULTIPL_E)
def test_detect_when_the_code_is_a_prompt_of_multipl_es_then_is_right_each_time(alias: str) -> None:
    name = languages.load(alias).name
    assert {languages.detect(row["prompt"]) for row in rows(f"multipl_e/humaneval-{alias}.jsonl.gz")} == {name}
