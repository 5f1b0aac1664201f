"""Solutions of several files."""

from __future__ import annotations

import pytest

from adapters import project

TEXT = "A word before.\n# file: shop/__init__.py\n# file: shop/cart.py\n\nx = 1\n#  FILE:  data/a-1.txt\nplain\n"


def test_split_then_each_file_is_what_stands_below_its_line():
    assert project.split(TEXT) == {"shop/__init__.py": "", "shop/cart.py": "x = 1\n", "data/a-1.txt": "plain\n"}
    assert project.split("x = 1") == {}
    assert project.split(project.joined({"a.py": "x\n", "b.py": ""})) == {"a.py": "x\n", "b.py": ""}


@pytest.mark.parametrize("path", ["../a.py", "/etc/passwd", "a/../../b", "", ".hidden", "a//b", "a b", "C:\\x", "a/."])
def test_split_when_a_path_leads_out_then_the_file_is_left_out(path):
    assert not project.safe(path)
    assert project.split(f"# file: {path}\nx = 1\n") == {}


def test_overlaid_then_new_files_are_added_and_others_replaced():
    given = (("a.py", "old"), ("b.py", "kept"))
    assert project.overlaid(given, "# file: a.py\nnew\n# file: c.py\nmore\n") == (
        ("a.py", "new\n"),
        ("b.py", "kept"),
        ("c.py", "more\n"),
    )


def test_extract_then_the_files_of_all_fences_and_the_last_of_one_path():
    answer = (
        "First:\n```python\n# file: a.py\nx = 1\n```\nand\n```python\n# file: b.py\ny = 2\n```\n"
        "No, better:\n```\n# file: a.py\nx = 3\n```\n"
    )
    found = project.extract(answer)
    assert project.split(found.code) == {"a.py": "x = 3\n", "b.py": "y = 2\n"}


@pytest.mark.parametrize("answer", ["", "no code", "```python\nx = 1\n```", "```\n# file: ../x.py\nx\n```"])
def test_extract_when_there_is_no_file_then_none(answer):
    assert project.extract(answer) is None


def test_fences_then_what_extract_takes_apart_again():
    text = project.joined({"a/b.py": "def f():\n    return '# file: no'\n", "a/__init__.py": ""})
    assert project.split(project.extract(project.fences(text)).code).keys() == {"a/b.py", "a/__init__.py"}


@pytest.mark.parametrize("written", ["./shop/a.py", "`shop/a.py`", "shop/a.py:", "**shop/a.py**", "`./shop/a.py`:"])
def test_split_when_something_is_written_around_a_path_then_it_is_the_path(written):
    assert project.split(f"# file: {written}\nx = 1\n") == {"shop/a.py": "x = 1\n"}


def test_split_when_a_file_names_another_encoding_then_it_is_read_as_it_looks():
    found = project.split(
        "# file: a.py\n# -*- coding: utf-7 -*-\n# +AAo-eval(1)\n# file: b.py\n# coding: utf-8\nx = 1\n"
    )
    assert found == {"a.py": "# +AAo-eval(1)\n", "b.py": "# coding: utf-8\nx = 1\n"}
