"""The hub's metrics of texts: figures of the literature, counted by hand, and of the hub's own code.

The last are what the hub's `bleu` and `exact_match`, loaded by the package `evaluate` from a copy of its repository and
of tensorflow/nmt's `bleu.py`, gave for the same texts.
"""

from __future__ import annotations

import math

import pytest

from adapters.hosts.bigcode.metrics import Bleu, ExactMatch, tokens

WITHIN = 1e-12
ONE = "It is a guide to action which ensures that the military always obeys the commands of the party"
TWO = "It is to insure the troops forever hearing the activity guidebook that party direct"
RIGHT = [
    "It is a guide to action that ensures that the military will forever heed Party commands",
    "It is the guiding principle which guarantees the military forces always being under the command of the Party",
    "It is the practical guide for the army always to heed the directions of the party",
]
"""The example of Papineni et al. 2002."""
CODE = [
    ("os.kill(os.getpid(), signal.SIGKILL)", "os.kill(os.getpid(), signal.SIGUSR1)"),
    ("", "bytes.fromhex('4a4b4c')"),
    ("[x for x in a]", "[x for x in a if x]"),
]


def bleu(predictions, references, **options):
    return Bleu().compute(predictions=predictions, references=references, **options)


def is_as(found, expected):
    assert found.keys() == expected.keys()
    precisions = expected.pop("precisions")
    assert found.pop("precisions") == pytest.approx(precisions, abs=WITHIN, rel=0)
    assert found == pytest.approx(expected, abs=WITHIN, rel=0)


# ── tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \n\t", []),
        ("Hello, world.", ["Hello", ",", "world", "."]),
        ("x=foo(a[1],'b')", ["x", "=", "foo", "(", "a", "[", "1", "]", ",", "'b'", ")"]),
        ("a_b@c.d", ["a", "_", "b", "@", "c", ".", "d"]),
        ("don't", ["don't"]),
        ("pi is 3.14, a is 1,000.", ["pi", "is", "3.14", ",", "a", "is", "1,000", "."]),
        (".5", [".", "5"]),
        ("...", [".", ".", "."]),
        ("1-2 x-1 5-", ["1", "-", "2", "x-1", "5", "-"]),
        ("end-\nof\nline", ["endof", "line"]),
        ("<skipped>&quot;a&quot; &amp;lt; b &lt;", ['"', "a", '"', "<", "b", "<"]),
        # No digit and no punctuation but ASCII's; any space.
        ("。中文,é.٣.5", ["。中文", ",", "é", ".", "٣", ".", "5"]),
        ("a\xa0b\u2028c", ["a", "b", "c"]),
    ],
)
def test_tokens_when_a_text_is_taken_apart_then_they_are_those_of_13a(text, expected):
    assert tokens(text) == expected


# ── BLEU ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_bleu_when_a_word_is_repeated_then_it_counts_as_often_as_in_one_reference():
    """Papineni et al. 2002: 2 of 7."""
    found = bleu(["the the the the the the the"], [["the cat is on the mat", "there is a cat on the mat"]])
    assert found["precisions"] == [2 / 7, 0.0, 0.0, 0.0]
    assert found["bleu"] == 0.0


@pytest.mark.parametrize(("candidate", "unigrams", "bigrams"), [(ONE, 17 / 18, 10 / 17), (TWO, 8 / 14, 1 / 13)])
def test_bleu_when_it_is_of_the_papers_example_then_precisions_are_the_papers(candidate, unigrams, bigrams):
    found = bleu([candidate], [RIGHT], max_order=2)
    assert found["precisions"] == [unigrams, bigrams]


def test_bleu_when_it_is_of_the_papers_first_candidate_then_it_is_nltks_figure():
    """In the documentation of its `sentence_bleu`: 0.5045."""
    found = bleu([ONE], [RIGHT])
    assert found["bleu"] == pytest.approx(0.5045666840058485, abs=WITHIN)
    assert found["brevity_penalty"] == 1.0 and found["length_ratio"] == 18 / 16


def test_bleu_when_there_are_several_texts_then_counts_are_added_up_before_they_are_divided():
    is_as(
        bleu([ONE, TWO], [RIGHT, RIGHT]),
        {
            "bleu": 0.3239828550169807,
            "precisions": [25 / 32, 11 / 30, 7 / 28, 4 / 26],
            "brevity_penalty": 1.0,
            "length_ratio": 1.0,
            "translation_length": 32,
            "reference_length": 32,
        },
    )


@pytest.mark.parametrize(
    ("smooth", "expected", "precisions"),
    [
        (False, 0.5824934270354877, [20 / 21, 16 / 19, 14 / 17, 12 / 15]),
        (True, 0.5881917095168563, [21 / 22, 17 / 20, 15 / 18, 13 / 16]),
    ],
)
def test_bleu_when_it_is_of_code_then_it_is_the_hubs(smooth, expected, precisions):
    """One of the predictions is empty."""
    predictions, references = zip(*CODE, strict=True)
    expected = {
        "bleu": expected,
        "precisions": precisions,
        "brevity_penalty": math.exp(1 - 29 / 21),
        "length_ratio": 21 / 29,
        "translation_length": 21,
        "reference_length": 29,
    }
    is_as(bleu(predictions, references, smooth=smooth), {**expected})
    is_as(bleu(predictions, [[each] for each in references], smooth=smooth), {**expected})


def test_bleu_when_texts_are_not_ascii_then_it_is_the_hubs():
    found = bleu(["naïve Straße 中文 。 “é”, 1,5 ٣.5"], ["naïve Strasse 中文 。 “é”, 1,5 ٣.5"], smooth=True)
    assert found["precisions"] == [10 / 11, 8 / 10, 7 / 9, 6 / 8]
    assert found["bleu"] == pytest.approx(0.8070557274927982, abs=WITHIN)


@pytest.mark.parametrize(
    ("options", "precisions", "mean"),
    [
        ({}, [1.0, 1.0, 0.0, 0.0], 0.0),
        ({"smooth": True}, [1.0, 1.0, 1.0, 1.0], 1.0),
        ({"max_order": 2}, [1.0, 1.0], 1.0),
        ({"max_order": 3, "smooth": True}, [1.0, 1.0, 1.0], 1.0),
    ],
)
def test_bleu_when_texts_are_shorter_than_the_order_then_an_order_without_any_is_0_or_smoothed_to_1(
    options, precisions, mean
):
    found = bleu(["a b"], ["a b c"], **options)
    assert found["precisions"] == precisions
    assert found["brevity_penalty"] == pytest.approx(math.exp(-1 / 2), abs=WITHIN)
    assert found["bleu"] == pytest.approx(mean * math.exp(-1 / 2), abs=WITHIN)


def test_bleu_when_texts_are_equal_or_case_differs_then_case_counts():
    assert bleu(["a b c d"], ["a b c d"])["bleu"] == 1.0
    assert bleu(["a b c d"], ["A b c d"])["precisions"] == [3 / 4, 2 / 3, 1 / 2, 0.0]


def test_bleu_when_a_prediction_has_several_references_then_the_shortest_ones_length_counts():
    found = bleu(["a b c"], [["a b c d e", "a b", "x y z"]])
    assert (found["translation_length"], found["reference_length"], found["brevity_penalty"]) == (3, 2, 1.0)


@pytest.mark.parametrize("smooth", [False, True])
def test_bleu_when_nothing_is_predicted_then_it_is_0(smooth):
    found = bleu(["", " "], ["a b c d", "e"], smooth=smooth)
    assert (found["bleu"], found["brevity_penalty"], found["length_ratio"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("prediction", ["", "a"])
def test_bleu_when_no_reference_has_a_token_then_it_is_no_number(prediction):
    found = bleu([prediction], [""], smooth=True)
    assert all(math.isnan(found[name]) for name in ("bleu", "brevity_penalty", "length_ratio"))


# ── exact match ──────────────────────────────────────────────────────────────────────────────────────────────────────


def exact(predictions, references, **options):
    [(name, value)] = ExactMatch().compute(predictions=predictions, references=references, **options).items()
    assert name == "exact_match" and type(value) is float
    return value


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 0.25),
        ({"regexes_to_ignore": ["the ", "yell"], "ignore_case": True, "ignore_punctuation": True}, 0.5),
        ({"regexes_to_ignore": ["the ", "yell", "YELL"], "ignore_case": True, "ignore_punctuation": True}, 0.75),
        (
            {
                "regexes_to_ignore": ["the ", "yell", "YELL"],
                "ignore_case": True,
                "ignore_punctuation": True,
                "ignore_numbers": True,
            },
            1.0,
        ),
        ({"ignore_numbers": True}, 0.5),
        ({"ignore_case": True}, 0.5),
    ],
)
def test_exact_match_when_something_is_ignored_then_it_is_the_hubs(options, expected):
    """Its documentation's examples, but for the last two."""
    references, predictions = ["the cat", "theater", "YELLING", "agent007"], ["cat?", "theater", "yelling", "agent"]
    assert exact(predictions, references, **options) == expected


@pytest.mark.parametrize(
    ("prediction", "reference", "options", "expected"),
    [
        ("", "", {}, 1.0),
        ("", "a", {"ignore_case": True}, 0.0),
        ("a ", "a", {}, 0.0),
        ("STRASSE É", "strasse é", {"ignore_case": True}, 1.0),
        ("é", "e\u0301", {}, 0.0),
        ("a。b", "ab", {"ignore_punctuation": True}, 0.0),
        ("٣", "", {"ignore_numbers": True}, 0.0),
        ("a1.", "a", {"ignore_punctuation": True, "ignore_numbers": True}, 1.0),
        # Its arrays are as wide as their longest text was.
        ("İ", "i", {"ignore_case": True}, 1.0),
    ],
)
def test_exact_match_when_a_text_is_odd_then_it_is_the_hubs(prediction, reference, options, expected):
    assert exact([prediction], [reference], **options) == expected


def test_exact_match_when_there_is_nothing_then_it_is_no_number():
    assert math.isnan(exact([], []))


@pytest.mark.parametrize("metric", [Bleu(), ExactMatch()])
def test_metric_when_there_are_not_as_many_references_then_it_says_so(metric):
    with pytest.raises(ValueError, match=r"references|zip"):
        metric.compute(predictions=["a"], references=["a", "b"])
