import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from results.markdown import code, cut, fence, line, percent, table, visible

texts = st.text(st.characters() | st.sampled_from("`~|\n\r\\<> \udc80"), max_size=40)


@given(texts)
def test_fence_then_one_code_block_that_holds_the_whole_text(text):
    tokens = MarkdownIt().parse(f"before\n\n{fence(text)}\n\nafter")
    assert [token.type for token in tokens if token.type == "fence"] == ["fence"]
    [block] = [token for token in tokens if token.type == "fence"]
    shown = visible(text)
    assert block.content == (shown if shown.endswith("\n") else shown + "\n")
    assert tokens[-2].content == "after"


@given(st.lists(st.tuples(texts, texts), max_size=4))
def test_table_then_every_row_is_a_line_with_its_cells(rows):
    got = table(("a", "b"), rows, "lr")
    tokens = MarkdownIt().enable("table").parse(got)
    assert len([token for token in tokens if token.type == "td_open"]) == 2 * len(rows)
    assert len({len(row) for row in got.split("\n")}) == 1


def test_table_then_padded_and_aligned():
    assert table(("name", "n"), [("a|b", "10"), ("c\nd", "9")], "lr") == (
        "| name |   n |\n| ---- | --: |\n| a\\|b |  10 |\n| c d  |   9 |"
    )


@given(texts)
def test_visible_then_encodable_without_what_a_terminal_obeys(text):
    got = visible(text)
    got.encode()
    assert not any(ord(character) < 32 and character not in "\n\t" for character in got)


@pytest.mark.parametrize(
    ("text", "shown"), [("a\r\nb", "a\nb"), ("\x1b[2J", "\\x1b[2J"), ("\udc80", "\\udc80"), ("é\t😀", "é\t😀")]
)
def test_visible_of_a_control_character_then_its_escape(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(("text", "span"), [("a", "`a`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a\nb", "`a b`")])
def test_code_then_a_span_that_holds_backticks(text, span):
    assert code(text) == span


def test_line_then_one_line():
    assert line(" a \n\n b\x00") == "a b\\x00"


@pytest.mark.parametrize(
    ("head", "tail", "expected"),
    [
        (3, 3, "abc\n[… 4 characters cut …]\nhij"),
        (0, 2, "[… 8 characters cut …]\nij"),
        (2, 0, "ab\n[… 8 characters cut …]"),
        (5, 5, "abcdefghij"),
    ],
)
def test_cut_then_what_is_gone_is_said(head, tail, expected):
    assert cut("abcdefghij", head, tail) == expected


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (None, "undefined"),
        (0.0, "0.00 %"),
        (1e-9, "< 0.01 %"),
        (0.29375, "29.38 %"),
        (1 - 1e-9, "> 99.99 %"),
        (1.0, "100.00 %"),
    ],
)
def test_percent_then_0_and_100_are_said_of_0_and_1_alone(share, shown):
    assert percent(share) == shown
