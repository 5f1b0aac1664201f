"""The BigCode harness's adapter, part by part and without the harness. Whole runs are in `runners/test_bigcode`."""

from __future__ import annotations

import json
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from adapters import bigcode
from adapters.bigcode import BRING, BigCode
from adapters.hosts.bigcode import execution
from adapters.hosts.bigcode.asked import Asked, _beyond, _flat
from adapters.hosts.bigcode.problems import EOS
from adapters.hosts.wire import Refused
from core.errors import HostError, UsageError
from core.types import RunSpec, SamplingParams, SuiteRef

KNOWN = {
    "apps-interview": {"module": "apps", "data": "codeparrot/apps"},
    "ds1000-all-completion": {"module": "ds1000", "data": None},
    "humaneval": {"module": "humaneval", "data": "openai_humaneval"},
    "humanevalexplaindescribe-js": {"module": "humanevalpack", "data": "bigcode/humanevalpack"},
    "humanevalexplainsynthesize-js": {"module": "humanevalpack", "data": "bigcode/humanevalpack"},
    "humanevalfixtests-js": {"module": "humanevalpack", "data": "bigcode/humanevalpack"},
    "later": {"module": "of_a_later_version", "data": None},
    "multiple-clj": {"module": "multiple", "data": "nuprl/MultiPL-E"},
    "multiple-rs": {"module": "multiple", "data": "nuprl/MultiPL-E"},
    "starcoder_fim": {"module": "santacoder_fim", "data": "bigcode/santacoder-fim-task"},
}


@pytest.fixture
def known(monkeypatch):
    monkeypatch.setattr(bigcode, "_known", lambda: KNOWN)


@pytest.fixture
def loaded(monkeypatch):
    """Puts modules where the harness's are: what they hold, by name."""

    def put(**modules):
        made = {}
        for name, held in modules.items():
            made[name] = ModuleType(f"bigcode_eval.tasks.{name}")
            vars(made[name]).update(held)
            monkeypatch.setitem(sys.modules, f"bigcode_eval.tasks.{name}", made[name])
        return made

    return put


# ── names, states, where it is ───────────────────────────────────────────────────────────────────────────────────────


def test_names_when_the_harness_is_there_then_its_tasks_are_known_and_patterns_find_them(known):
    assert [*BigCode().names()] == [*KNOWN]
    assert BigCode().matching("multiple-*") == ["multiple-clj", "multiple-rs"]
    assert BigCode().claims("humaneval") and not BigCode().claims("multiple-cljcpp")


def test_listing_when_asked_then_each_task_says_whether_it_works_or_why_not(known):
    rows = {row["suite"]: row for row in BigCode().listing("*")}
    assert rows.keys() == KNOWN.keys()
    assert rows["humaneval"] == {
        "harness": "bigcode",
        "suite": "humaneval",
        "data": "openai_humaneval",
        "state": "works",
    }
    states = {name: row["state"] for name, row in rows.items()}
    working = {name for name, state in states.items() if state.startswith("works")}
    assert {*states} - working == {"apps-interview", "ds1000-all-completion", "later", "multiple-clj"}
    assert all(states[name].startswith("not run: ") for name in {*states} - working)
    assert "pyext" in states["apps-interview"] and "'clj'" in states["multiple-clj"]
    assert "--dataset descriptions=FILE" in states["humanevalexplainsynthesize-js"]
    assert "no figure" in states["humanevalexplaindescribe-js"]
    assert [row["suite"] for row in BigCode().listing("humaneval*-js")] == sorted(n for n in KNOWN if n.endswith("-js"))


@pytest.mark.parametrize("name", ["apps-interview", "ds1000-all-completion", "multiple-clj", "later"])
def test_drive_when_a_task_is_not_run_then_its_reason_is_said_and_nothing_starts(known, monkeypatch, name):
    monkeypatch.setattr(bigcode, "Hosted", lambda *_: pytest.fail("it is started"))
    spec = RunSpec("control/reference", (SuiteRef("bigcode", "humaneval"), SuiteRef("bigcode", name)), SamplingParams())
    with pytest.raises(UsageError, match=f"BigCode's task '{name}' is not run: .*; `touchstone tasks list"):
        BigCode().drive(spec)


def test_drive_when_a_path_is_relative_then_it_is_the_runners(known, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    jobs = []
    monkeypatch.setattr(bigcode, "_Drive", lambda job, _: jobs.append(job) or SimpleNamespace())
    suites = (SuiteRef("bigcode", "humaneval"),)
    BigCode().drive(
        RunSpec("control/reference", suites, datasets=(("humaneval", "a.jsonl"), ("descriptions", "d.json")))
    )
    assert jobs[0]["datasets"] == {"humaneval": str(tmp_path / "a.jsonl")}
    assert jobs[0]["descriptions"] == str(tmp_path / "d.json")


@pytest.mark.parametrize(
    ("names", "languages"),
    [
        (["humaneval"], {"python"}),
        (["multiple-rs", "humanevalfixtests-js"], {"rust", "javascript"}),
        (["starcoder_fim", "humanevalexplaindescribe-js"], set()),
    ],
)
def test_drive_when_it_is_made_then_it_says_what_languages_it_will_execute(known, monkeypatch, names, languages):
    monkeypatch.setattr(bigcode, "_Drive", lambda *_: SimpleNamespace())
    spec = RunSpec("control/reference", tuple(SuiteRef("bigcode", name) for name in names))
    assert BigCode().drive(spec).languages == languages


def test_home_when_nothing_is_said_and_nothing_installed_then_the_commands_that_bring_it_are(monkeypatch):
    monkeypatch.delenv("BIGCODE_HOME", raising=False)
    monkeypatch.setattr(bigcode, "find_spec", lambda _: None)
    with pytest.raises(UsageError) as refused:
        bigcode.home()
    assert str(refused.value) == BRING
    assert "git clone https://github.com/bigcode-project/" in BRING and "\n" not in BRING


def test_home_when_the_folder_is_another_then_it_is_named_with_the_commands(monkeypatch, tmp_path):
    monkeypatch.setenv("BIGCODE_HOME", str(tmp_path))
    with pytest.raises(UsageError) as refused:
        bigcode.home()
    assert str(refused.value) == f"BIGCODE_HOME={tmp_path}: there is no bigcode_eval/ in it; {BRING}"


@pytest.mark.parametrize("lacking", ["datasets", "numpy"])
def test_home_when_a_package_is_lacking_then_the_extra_that_has_it_is_named(monkeypatch, tmp_path, lacking):
    (tmp_path / "bigcode_eval").mkdir()
    monkeypatch.setenv("BIGCODE_HOME", str(tmp_path))
    monkeypatch.setattr(bigcode, "find_spec", lambda name: None if name == lacking else ModuleSpec(name, None))
    with pytest.raises(UsageError, match=rf"needs the package '{lacking}': pip install 'touchstone\[bigcode\]'"):
        bigcode.home()


def test_home_when_it_is_installed_or_said_then_it_is_found(monkeypatch, tmp_path):
    (tmp_path / "bigcode_eval").mkdir()
    monkeypatch.delenv("BIGCODE_HOME", raising=False)
    spec = ModuleSpec("bigcode_eval", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path / "bigcode_eval")]
    monkeypatch.setattr(bigcode, "find_spec", lambda _: spec)
    assert bigcode.home() == tmp_path
    monkeypatch.setenv("BIGCODE_HOME", str(tmp_path))
    assert bigcode.home() == tmp_path


def test_index_when_the_harness_cannot_be_imported_then_its_last_word_is_said_and_nothing_is_kept(
    monkeypatch, tmp_path
):
    tasks = tmp_path / "home" / "bigcode_eval" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "__init__.py").write_text("raise ImportError('half of it is missing')\n")
    monkeypatch.setenv("BIGCODE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(HostError, match="cannot be imported: ImportError: half of it is missing"):
        bigcode._known.__wrapped__()
    assert not (tmp_path / "cache").exists()


# ── execution: nothing by the harness itself ─────────────────────────────────────────────────────────────────────────


def test_hook_when_a_module_executes_in_any_way_then_it_is_handed_over_or_refused(loaded):
    """A task's methods may be another module's, whose name for what executes is its own."""

    def never(*_, **__):
        pytest.fail("the harness runs code by itself")

    modules = loaded(
        humaneval={"compute_code_eval": never},
        humanevalplus={"create_task": never},
        custom_metrics={"compute_code_eval": never, "check_correctness": never},
        multiple={"evaluate_problem": never},
        evaluation={"cached_eval_script": never, "eval_string_script": never},
    )
    handed = []

    def run(programs, language, timeout):
        handed.append((programs, language, timeout))
        return [[True, False]]

    execution.hook(run)
    for name in ("humaneval", "custom_metrics"):
        found, logs = modules[name].compute_code_eval(references=["test"], predictions=[["a", "b"]], k=[1], timeout=9)
        assert found == {"pass@1": 0.5}
        assert [[each["passed"] for _, each in log] for log in logs.values()] == [[True, False]]
    assert handed == [([[("a", "test"), ("b", "test")]], "python", 9)] * 2
    assert modules["multiple"].evaluate_problem is execution._evaluate_problem
    with pytest.raises(Refused, match="was about to run generated code"):
        modules["custom_metrics"].check_correctness("code", 3.0, 0, 0)
    for function in ("cached_eval_script", "eval_string_script"):
        with pytest.raises(Refused, match="was about to run generated code"):
            getattr(modules["evaluation"], function)("py", "code")
    assert modules["humanevalplus"].create_task is never


def test_install_when_a_metric_is_of_the_hub_then_it_is_one_of_ours_or_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "evaluate", None)
    handed = []
    execution.install(lambda *given: handed.append(given) or [[True]])
    load = sys.modules["evaluate"].load
    metric = load("Muennighoff/code_eval_octopack")
    assert metric.compute(references=["t"], predictions=[["s"]], language="rust", timeout=300)[0]["pass@1"] == 1.0
    assert metric.compute(references=["t"], predictions=[["s"]], language="python", timeout=10)[0]["pass@1"] == 1.0
    # A compiler's time is in the others' limits, which are the sandbox's own.
    assert handed == [([[("s", "t")]], "rust", None), ([[("s", "t")]], "python", 10)]
    assert load("bleu").compute(predictions=["a b c d"], references=["a b c d"])["bleu"] == 1.0
    assert load("exact_match").compute(predictions=["a"], references=["a"]) == {"exact_match": 1.0}
    for name in ("codeparrot/apps_metric", "rouge"):
        with pytest.raises(Refused, match=f"its metric '{name}' is code of the hub"):
            load(name)


@pytest.mark.parametrize(
    ("passed", "expected"),
    [
        ([[True], [False], [True], [True]], {"pass@1": 0.75}),
        ([[True, False], [False, False]], {"pass@1": 0.25, "pass@2": 0.5}),
        # What the sandbox could not judge is in no figure: neither passed nor failed.
        ([[True, None], [None, False]], {"pass@1": 0.5}),
        ([[True, True], [None, None]], {"pass@1": 1.0, "pass@2": 1.0}),
        ([[True, True], [False, None]], {"pass@1": 0.5}),
        ([[None], [None]], {}),
        ([], {}),
    ],
)
def test_figures_when_some_could_not_be_judged_then_the_rest_is_estimated_and_the_undefined_is_no_number(
    passed, expected
):
    found, logs = execution.figures(passed, [1, 2])
    assert {name: value for name, value in found.items() if not math.isnan(value)} == expected
    assert found.keys() == {"pass@1", "pass@2"}
    assert {number: [(i, each["passed"]) for i, each in log] for number, log in logs.items()} == {
        number: [(i, ok) for i, ok in enumerate(of_one) if ok is not None] for number, of_one in enumerate(passed)
    }


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"), [(10, 3, 1, 0.3), (10, 3, 10, 1.0), (5, 0, 1, 0.0), (4, 2, 2, 5 / 6)]
)
def test_figures_when_samples_pass_then_each_is_the_unbiased_estimate(n, c, k, expected):
    found, _ = execution.figures([[True] * c + [False] * (n - c)], k)
    assert found == {f"pass@{k}": pytest.approx(expected, abs=1e-15)}


def test_multiple_when_outcomes_are_known_then_the_harness_finds_them_where_it_looks(tmp_path, monkeypatch):
    monkeypatch.setattr(execution, "known", {"problem": [True, False], "other": [True]})
    path = tmp_path / "problem.json"
    path.write_text(json.dumps({"name": "problem", "completions": ["a", "b"], "tests": "t"}))
    execution._evaluate_problem(str(tmp_path), str(path), 1)
    written = json.loads((tmp_path / "problem.results.json").read_text())
    assert [each["status"] == "OK" and each["exit_code"] == 0 for each in written["results"]] == [True, False]
    assert execution.known == {"other": [True]}


# ── one task ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Line:
    """Answers at once. answer: to a question, by suite's problem and place; passed: whether a solution does."""

    def __init__(self, answer, passed=lambda _: True):
        self._answer, self._passed = answer, passed
        self.asked, self.told, self.executed = [], [], []

    def tell(self, message):
        self.told.append(message)

    def ask(self, message):
        self.asked.append(message)
        return len(self.asked) - 1

    def reply(self, number):
        message = self.asked[number]
        if "ask" in message:
            text = self._answer(message["ask"])
            return {"lost": True} if text is None else {"text": text}
        self.executed.append(message["execute"])
        return {"passed": self._passed(message["execute"])}

    @property
    def row(self):
        return next(message["row"] for message in self.told if "row" in message)

    @property
    def generations(self):
        return [message["generations"]["of"] for message in self.told if "generations" in message]


class Task:
    """As the harness's are."""

    requires_execution = True
    language = "js"

    def __init__(self, docs, stop_words):
        self._docs, self.stop_words = docs, stop_words

    def get_dataset(self):
        return self._docs

    def get_prompt(self, doc):
        return doc["prompt"]

    def get_reference(self, doc):
        return doc["test"]

    @staticmethod
    def _stop_at_stop_token(text, stops):
        return min((text.partition(stop)[0] for stop in stops), key=len, default=text)

    def postprocess_generation(self, generation, number):
        prompt = self._docs[number]["prompt"]
        return prompt + self._stop_at_stop_token(generation[len(prompt) :], self.stop_words)

    def process_results(self, generations, references):
        self.given = generations, references
        assert len(generations) == len(references) == len(self.get_dataset())
        programs = [[(text, test) for text in of_one] for of_one, test in zip(generations, references, strict=True)]
        return execution.figures(Asked.at_work.run(programs, "python", None), [1, 2])[0]


DOCS = [{"task_id": f"p/{n}", "name": f"p{n}", "prompt": f"def f{n}():", "test": f"test {n}"} for n in range(3)]
JOB = {"params": {"temperature": 0.2}, "stop": [], "limit": None}
PUT = {"chat": False, "final": False, "references": False, "repeats": 2}


def evaluated(line, *, module="humaneval", kind=Task, stops=("\ndef",), job=JOB, put=PUT):
    """A task of a module that has been through."""
    task = type("ATask", (kind,), {"__module__": f"bigcode_eval.tasks.{module}"})(DOCS, [*stops])
    asked = Asked("a-task", task, line, job)
    asked.put(put)
    told = asked.description()
    asked.ask()
    asked.evaluate()
    return task, told


def test_task_when_it_is_asked_then_samples_have_their_problems_and_places_and_end_at_its_stops():
    line = Line(lambda ask: f" return {ask['index']}\ndef g(): pass")
    _, told = evaluated(line)
    assert told["ids"] == ["p/0", "p/1", "p/2"] and told["repeats"] == 2 and told["languages"] == ["python"]
    assert told["params"] == {"temperature": 0.2, "stop": ["\ndef", EOS]}
    assert line.generations == [[f"def f{n}(): return {i}" for i in range(2)] for n in range(3)]
    assert [(each["task_id"], each["index"], each["solution"], each["tests"]) for each in line.executed] == [
        (f"p/{n}", i, f"def f{n}(): return {i}", f"test {n}") for n in range(3) for i in range(2)
    ]
    assert line.row["metrics"] == {f"pass@{k},bigcode": {"value": 1.0, "stderr": None, "n": 3} for k in (1, 2)}


def test_task_when_it_goes_to_a_chat_then_the_stops_of_a_continuation_are_not_sent():
    answer = "Here it is:\n```python\ndef f0():\n    return 1\ndef g():\n    return 2\n```\n"
    line = Line(lambda _: answer)
    _, told = evaluated(line, put={**PUT, "chat": True})
    assert told["params"]["stop"] == []
    assert all(message["ask"]["params"]["stop"] == [] for message in line.asked if "ask" in message)
    assert "return 2" in line.generations[0][0]


def test_task_when_stops_are_given_then_they_take_the_place_of_its_own():
    line = Line(lambda _: " a\ndef b\nEND c")
    _, told = evaluated(line, job={**JOB, "stop": ["\nEND"]})
    assert told["params"]["stop"] == ["\nEND", EOS]
    assert line.generations[0][0] == "def f0(): a\ndef b"
    chat = Line(lambda _: "so")
    assert evaluated(chat, job={**JOB, "stop": ["\nEND"]}, put={**PUT, "chat": True})[1]["params"]["stop"] == ["\nEND"]


def test_task_when_its_end_of_text_leaks_then_it_is_cut_off():
    line = Line(lambda _: f" return 1{EOS}more")
    evaluated(line)
    assert line.generations[0][0] == "def f0(): return 1"


def test_task_when_generations_are_final_then_they_are_not_touched():
    line = Line(lambda _: f"anything\ndef of{EOS}")
    evaluated(line, put={**PUT, "final": True})
    assert line.generations == [[f"anything\ndef of{EOS}"] * 2] * 3


def test_task_when_answers_are_lost_then_the_rest_is_processed_in_its_place():
    line = Line(lambda ask: None if ask["task_id"] == "p/1" or ask["index"] == 1 else " 1")
    task, _ = evaluated(line)
    assert task.given == ([["def f0(): 1"], ["def f2(): 1"]], ["test 0", "test 2"])
    assert [(each["task_id"], each["index"]) for each in line.executed] == [("p/0", 0), ("p/2", 0)]
    assert line.row["metrics"] == {"pass@1,bigcode": {"value": 1.0, "stderr": None, "n": 2}}
    assert [message["document"]["task_id"] for message in line.told if "document" in message] == ["p/0", "p/1", "p/2"]


@pytest.mark.parametrize("lost", ["answers", "outcomes"])
def test_task_when_all_is_lost_then_it_has_no_figure(lost):
    line = Line(lambda _: None if lost == "answers" else " 1", lambda _: None)
    evaluated(line)
    assert line.row["metrics"] == {}


class Bugs(Task):
    """As the harness's: it says that it executes, and compares; its prompt ends with the beginning of the answer."""

    def get_prompt(self, doc):
        return f"# {doc['name']}\ndef"

    def postprocess_generation(self, generation, number):
        return "def" + generation.removeprefix(self.get_prompt(self._docs[number]))

    def process_results(self, generations, references):
        right = sum(text == test for of_one, test in zip(generations, references, strict=True) for text in of_one)
        return {"mean exact match": right / len(references) / len(generations[0])}

    def get_reference(self, doc):
        return f"def {doc['name']}(): pass\n"


@pytest.mark.parametrize(("chat", "fence"), [(False, "{}"), (True, "{}"), (True, "So:\n```python\n{}```\n")])
def test_bugs_when_they_are_mended_then_nothing_is_executed_and_a_chats_block_is_the_answer(chat, fence):
    def answer(ask):
        mended = f"def {ask['task_id'].replace('/', '')}(): pass\n"
        return fence.format(mended) if chat else mended.removeprefix("def")

    line = Line(answer)
    _, told = evaluated(line, module="python_bugs", kind=Bugs, put={**PUT, "chat": chat, "references": True})
    assert told["languages"] == [] and line.executed == []
    assert line.generations == [[f"def p{n}(): pass\n"] * 2 for n in range(3)]
    assert line.row["metrics"] == {"mean exact match,bigcode": {"value": 1.0, "stderr": None, "n": 3}}
    asked = [message["ask"] for message in line.asked]
    assert [each["prompt"] for each in asked[::2]] == [
        [["user", f"# p{n}\ndef"]] if chat else f"# p{n}\ndef" for n in range(3)
    ]
    assert [each["reference"] for each in asked[::2]] == [f" p{n}(): pass\n" for n in range(3)]


def test_bugs_when_a_sample_is_lost_then_there_is_no_figure():
    """Its mean is over as many samples as the first document has."""
    line = Line(lambda ask: None if (ask["task_id"], ask["index"]) == ("p/0", 0) else " p")
    evaluated(line, module="python_bugs", kind=Bugs)
    assert line.row["metrics"] == {}


class MultiPLE(Task):
    """As the harness's: it averages over the files that it finds."""

    def process_results(self, generations, references):
        self.given = generations, references
        outcomes = [execution.known.pop(doc["name"]) for doc in self.get_dataset()]
        assert all(outcomes), "a problem without an outcome is one that is solved"
        shares = [sum(of_one) / len(of_one) for of_one in outcomes]
        return {f"pass@{k}": sum(shares) / len(shares) for k in (1, 2) if k <= len(generations[0])}


def test_multiple_when_the_sandbox_fails_then_a_problem_without_an_outcome_is_in_no_figure(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "earlier.results.json").touch()

    def passed(told):
        return None if told["task_id"] == "p/1" or told["index"] == 1 else told["task_id"] == "p/0"

    line = Line(lambda _: " 1", passed)
    task, told = evaluated(line, module="multiple", kind=MultiPLE)
    assert told["languages"] == ["javascript"]
    assert task.given[1] == ["test 0", "test 2"]
    # Of pass@2 there are too few samples.
    assert line.row["metrics"] == {"pass@1,bigcode": {"value": 0.5, "stderr": None, "n": 2}}
    assert not (tmp_path / "earlier.results.json").exists()
    line = Line(lambda _: " 1", lambda _: None)
    evaluated(line, module="multiple", kind=MultiPLE)
    assert line.row["metrics"] == {}


@pytest.mark.parametrize("module", ["parity", "recode"])
@pytest.mark.parametrize("lost", ["an answer", "an outcome", "nothing"])
def test_task_when_its_figures_go_by_places_then_there_are_none_where_a_sample_is_lost(module, lost):
    last = ("p/2", 1)
    line = Line(
        lambda ask: None if lost == "an answer" and (ask["task_id"], ask["index"]) == last else " 1",
        lambda told: None if lost == "an outcome" and (told["task_id"], told["index"]) == last else True,
    )
    evaluated(line, module=module)
    assert bool(line.row["metrics"]) is (lost == "nothing")


class QuixBugs(Task):
    """As the harness's: it takes what is before the last stop, and asks its metric problem by problem."""

    def postprocess_generation(self, generation, number):
        text = generation[len(self._docs[number]["prompt"]) :]
        cuts = sorted((text.rfind(stop), stop) for stop in self.stop_words if stop in text)
        return f"def{text[: cuts[-1][0]]}" if cuts else ""

    def process_results(self, generations, references):
        found = {}
        for doc, of_one, test in zip(self.get_dataset(), generations, references, strict=True):
            found[doc["name"]] = execution.figures(
                Asked.at_work.run([[(text, test) for text in of_one]], "python", None), 1
            )[0]
        return {**found, "all": {"pass@1": sum(each["pass@1"] for each in found.values()) / len(found)}}


@pytest.mark.parametrize("tail", ["", "\ndef", "\ndef g():", f"{EOS}more"])
def test_quixbugs_when_an_answer_has_ended_then_it_is_taken_to_its_first_stop(tail):
    line = Line(lambda _: f" f():\n    return 1{tail}")
    evaluated(line, module="quixbugs", kind=QuixBugs)
    assert line.generations[0][0] == "def f():\n    return 1"
    assert [(each["task_id"], each["index"]) for each in line.executed] == [
        (f"p/{n}", i) for n in range(3) for i in (0, 1)
    ]


def test_quixbugs_when_a_problem_cannot_be_judged_then_the_others_have_their_figures():
    line = Line(
        lambda ask: f" {ask['task_id']} {ask['index']}", lambda told: None if told["task_id"] == "p/1" else True
    )
    evaluated(line, module="quixbugs", kind=QuixBugs)
    figures = {name: metric["value"] for name, metric in line.row["metrics"].items()}
    assert figures == {"p0 pass@1,bigcode": 1.0, "p2 pass@1,bigcode": 1.0}


@pytest.mark.parametrize(
    ("name", "fewest", "expected"),
    [
        ("pass@1", 1, False),
        ("pass@10", 9, True),
        ("pass@10", 10, False),
        ("2 bugs pass@10", 1, True),
        ("robust-pass-at-1", 0, False),
        ("pass@k", 0, False),
        ("num_correct", 0, False),
    ],
)
def test_beyond_when_a_figure_is_of_more_samples_than_there_are_then_it_is_told(name, fewest, expected):
    assert _beyond(name, fewest) is expected


def test_flat_when_figures_stand_in_tables_then_they_have_the_names_of_both():
    assert _flat({"1 bugs": {"pass@1": 0.5}, "all": 1.0}) == {"1 bugs pass@1": 0.5, "all": 1.0}
