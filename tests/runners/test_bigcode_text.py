"""The BigCode harness's tasks whose figures compare texts, as whole runs. They need its checkout: `BIGCODE_HOME`.

Figures are what the harness's own `main.py` finds for the same data and generations, with the hub's metrics loaded by
the package `evaluate` from a copy of their repository.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.loopback import OpenAIServer
from tests.runners.test_bigcode import WITHIN, figures, ledger, obeying, result, write

pytestmark = pytest.mark.bigcode

CONALA = [
    {
        "question_id": 4796,
        "intent": "How can I send a signal from a python program?",
        "rewritten_intent": "send a signal `signal.SIGUSR1` to the current process",
        "snippet": "os.kill(os.getpid(), signal.SIGUSR1)",
    },
    {
        "question_id": 3283,
        "intent": "Decode a hex string '4a4b4c' to UTF-8.",
        "rewritten_intent": None,
        "snippet": "bytes.fromhex('4a4b4c').decode('utf-8')",
    },
    {
        "question_id": 18,
        "intent": "filter a list",
        "rewritten_intent": "keep the elements of list `a` that are true",
        "snippet": "[x for x in a if x]",
    },
    {
        "question_id": 19,
        "intent": "größte Zahl",
        "rewritten_intent": "get the largest of `größen` — in one line",
        "snippet": "max(größen)",
    },
]
"""In the form of neulab/conala."""
SNIPPETS = ["os.kill(os.getpid(), signal.SIGKILL)", "bytes.fromhex('4a4b4c')", "[x for x in a]", "max(größen)"]
CONALAS = {
    "bleu": 0.7145599516110491,
    "brevity_penalty": 0.7978725136602237,
    "length_ratio": 0.8157894736842105,
    "translation_length": 31,
    "reference_length": 38,
}

CONCODE = [
    {"id": n, "nl": f"check if {n} is set . concode_field_sep int count concode_elem_sep String name", "code": code}
    for n, code in enumerate(
        [
            "boolean function ( ) { return isSet ; }",
            "void function ( int arg0 ) { this . count = arg0 ; }",
            "String function ( ) { return name ; }",
        ]
    )
]
TRANSLATED = [
    {"id": 0, "source": "Klik på OK for at gemme .\n", "target": "Click OK to save .\n"},
    {"id": 1, "source": "Åbn filen ( se < 1 > )\n", "target": "Open the file ( see < 1 > )\n"},
    {"id": 2, "source": 'Vælg et navn , f.eks. " a "\n', "target": 'Choose a name , e.g. " a "\n'},
]


def bug(number: int, operator: str) -> str:
    return f"def f{number}(a, b):\n    c = a {operator} b\n    return c\n"


BUGS = [
    {"task": ("bin-op", "var-misuse")[n % 2], "prompt_code": bug(n, "-"), "correct_code": bug(n, "+")} for n in range(4)
]
TASKS = {
    "conala": (CONALA, [[each] for each in SNIPPETS], CONALAS),
    "concode": (
        CONCODE,
        [
            ["boolean function ( ) { return set ; }"],
            ["void function ( int arg0 ) { count = arg0 ; }"],
            ["String function ( ) { return name ; }"],
        ],
        {
            "bleu": 0.7877333660760846,
            "brevity_penalty": 0.9355069850316178,
            "length_ratio": 0.9375,
            "translation_length": 30,
            "reference_length": 32,
        },
    ),
    "codexglue_text_to_text-da_en": (
        TRANSLATED,
        [["Click OK to store ."], ["Open the file ( see < 1 > )"], ['Pick a name , such as " a "']],
        {
            "bleu": 0.5884230574210566,
            "brevity_penalty": 0.9167169520254864,
            "length_ratio": 0.92,
            "translation_length": 23,
            "reference_length": 25,
        },
    ),
    "python_bugs": (
        BUGS,
        [[bug(0, "+"), bug(0, "-")], [bug(1, "+")] * 2, [bug(2, "-")] * 2, [bug(3, "+"), bug(3, "-")]],
        {"mean exact match": 0.5},
    ),
}
"""The data of each task, generations, and the harness's figures."""


def given(task: str, folder: Path) -> tuple[str, ...]:
    """Options for a run of a task on its data."""
    return "--harness", "bigcode", "-t", task, "--dataset", f"{task}={write(folder / 'data.jsonl', TASKS[task][0])}"


def named(found: dict[str, float]) -> dict[str, Any]:
    return {f"{name},bigcode": pytest.approx(value, abs=WITHIN, rel=0) for name, value in found.items()}


@pytest.mark.parametrize("task", TASKS)
def test_generations_when_a_tasks_figures_compare_texts_then_they_are_those_of_its_own_main(program, tmp_path, task):
    _, generations, expected = TASKS[task]
    file = tmp_path / "given.json"
    file.write_text(json.dumps(generations))
    (document,) = program.documents(*given(task, tmp_path), "--generations", str(file), "-m", "openai/given")
    assert figures(document) == named(expected)
    assert ledger(document) == {"scored": sum(map(len, generations))}
    assert {each["n"] for each in result(document)["metrics"].values()} == {len(generations)}


@pytest.mark.parametrize("style", ["completion", "instruct"])
@pytest.mark.parametrize("task", TASKS)
def test_control_when_it_answers_then_the_reference_has_the_whole_figure(program, tmp_path, task, style):
    (document,) = program.documents(*given(task, tmp_path), "--prompt-style", style, "-m", "control/reference")
    found = figures(document)
    assert found.get("bleu,bigcode", found.get("mean exact match,bigcode")) == 1.0


@pytest.mark.parametrize("style", ["completion", "instruct"])
def test_conala_when_a_server_answers_then_its_one_line_or_its_block_is_compared(program, tmp_path, style):
    """Its prompt has two worked examples; a continuation ends with its line."""
    asked = [row["rewritten_intent"] or row["intent"] for row in CONALA]

    def answer(body):
        prompt = body["prompt"] if style == "completion" else body["messages"][0]["content"]
        assert prompt.startswith("Answer the following instructions in one line of Python code:\n")
        assert prompt.count("Solution:\n") == 3
        [snippet] = [snippet for text, snippet in zip(asked, SNIPPETS, strict=True) if f"\n{text} " in prompt]
        return f"{snippet}\n\nInstruction:\n" if style == "completion" else f"So:\n```python\n{snippet}\n```\nIt is."

    saved = tmp_path / "saved.json"
    with obeying(answer) if style == "completion" else OpenAIServer(answer) as server:
        (document,) = program.documents(
            *given("conala", tmp_path),
            *("-m", "openai/m", "--prompt-style", style, "--save-generations", str(saved)),
            OPENAI_BASE_URL=server.url,
        )
        stops = [request.body.get("stop") for request in server.requests]
    assert stops == [["\n", "<|endoftext|>"] if style == "completion" else None] * 4
    assert json.loads(saved.read_text()) == [[each] for each in SNIPPETS]
    assert figures(document) == named(CONALAS)
    precisions = result(document)["reported"]["details"]["results"]["precisions"]
    assert precisions == pytest.approx([31 / 32, 25 / 28, 21 / 24, 17 / 20], abs=WITHIN, rel=0)


def test_conala_when_every_answer_is_empty_then_its_figure_is_0(program, tmp_path):
    file = tmp_path / "given.json"
    file.write_text(json.dumps([[""]] * len(CONALA)))
    (document,) = program.documents(*given("conala", tmp_path), "--generations", str(file), "-m", "openai/given")
    assert figures(document)["bleu,bigcode"] == 0.0
