import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from itertools import product

import pytest
from results_fakes import ROOT, run, sample, suite

from core.errors import BadData, RunMismatch, StorageError, UnknownName, UsageError
from core.types import Completion, Message, Metric, Reported, SampleKey, Status
from results import sql
from results.records import ProblemRecord
from results.store import RunSummary, Store

RUN = "20260102-aaaa"
PROMPT = (Message("user", "Write add."),)


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs" / "touchstone.db")


@pytest.fixture
def store(url):
    with Store.open(url) as opened:
        yield opened


def child(code, *arguments):
    """Another process, with the tests' modules in reach."""
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "results")))
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_open_of_a_path_that_is_not_there_then_makes_its_folders(tmp_path):
    Store.open(str(tmp_path / "a" / "b" / "c.db")).close()
    assert (tmp_path / "a" / "b" / "c.db").exists()


def test_open_of_a_sqlite_url_then_the_same_store(store, url):
    store.begin(run())
    with Store.open(f"sqlite:///{url}") as other:
        assert other.run(RUN) == run()


def test_open_of_a_relative_sqlite_url_then_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Store.open("sqlite:///runs.db").close()
    assert (tmp_path / "runs.db").exists()


@pytest.mark.parametrize("other", ["postgresql://host/db", "mysql://x", "sqlite://", ""])
def test_open_of_another_kind_of_database_then_usage_error_names_the_form_that_works(other):
    with pytest.raises(UsageError, match=r"sqlite:///runs\.db"):
        Store.open(other)


def test_open_of_a_newer_versions_database_then_usage_error_names_both_versions(store, url):
    with sqlite3.connect(url) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('touchstone', '9999_later', '')"
        )
    db.close()
    known = len(sql.MIGRATIONS)
    with pytest.raises(UsageError, match=f"version {known + 1}, this Touchstone knows {known}: pip install --upgrade"):
        Store.open(url)


def test_open_of_a_file_that_is_no_database_then_bad_data(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database\n" * 100)
    with pytest.raises(BadData, match=r"not a database.*--db"):
        Store.open(str(path))
    assert path.read_text() == "not a database\n" * 100


def test_open_of_another_programs_database_then_bad_data_and_it_is_left_alone(tmp_path):
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE runs (distance)")
    db.close()
    with pytest.raises(BadData, match="not one of Touchstone's"):
        Store.open(str(path))
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]
    db.close()


@pytest.mark.parametrize("name", ["a folder", "a file/runs.db"])
def test_open_where_no_file_can_be_then_storage_error_with_the_mend(tmp_path, name):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_text("")
    with pytest.raises(StorageError, match="--db") as caught:
        Store.open(str(tmp_path / name))
    assert caught.value.exit_code == 1


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_run_then_what_was_begun(store):
    record = run(suite("easy", n_samples=3), suite("hard", ("z", "a"), turns=2))
    store.begin(record)
    assert store.run(RUN) == record


@pytest.mark.parametrize("name", [RUN, "20260102-a", "latest"])
def test_run_by_its_id_by_a_beginning_and_as_latest_then_found(store, name):
    store.begin(run())
    store.begin(run(run_id="20260101-bbbb", started_at="2026-01-01T00:00:00+00:00"))
    assert store.run(name).run_id == RUN


def test_run_of_an_id_that_is_the_beginning_of_another_then_the_one_it_names(store):
    store.begin(run(run_id="r1"))
    store.begin(run(run_id="r10"))
    assert store.run("r1").run_id == "r1"


def test_run_of_a_beginning_of_several_then_usage_error_lists_them(store):
    store.begin(run(run_id="r10"))
    store.begin(run(run_id="r11"))
    with pytest.raises(UsageError, match="r11, r10"):
        store.run("r1")


@pytest.mark.parametrize("name", ["20260102-aaab", "", "%"])
def test_run_of_an_unknown_id_then_unknown_name_with_what_there_is(store, name):
    store.begin(run())
    with pytest.raises(UnknownName, match=f"unknown run '{name}'.*{RUN}"):
        store.run(name)


def test_run_latest_of_an_empty_store_then_unknown_name(store):
    with pytest.raises(UnknownName, match="touchstone runs list"):
        store.run("latest")


def test_runs_then_the_newest_first_with_the_number_of_samples(store):
    store.begin(run(suite(n_samples=2, turns=2), suite("hard")))
    store.begin(run(run_id="20260103-bbbb", started_at="2026-01-03T00:00:00+00:00"))
    for index, turn in product(range(2), range(2)):
        store.append(RUN, sample(index=index, turn=turn))
    store.append(RUN, sample(suite="hard"))
    model = "ollama/qwen2.5-coder"
    assert store.runs() == [
        RunSummary("20260103-bbbb", "incomplete", "2026-01-03T00:00:00+00:00", model, ("easy",), 0),
        RunSummary(RUN, "incomplete", "2026-01-02T03:04:05+00:00", model, ("easy", "hard"), 3),
    ]


def test_begin_of_an_id_that_is_taken_then_usage_error(store):
    store.begin(run())
    with pytest.raises(UsageError, match=f"--resume {RUN}"):
        store.begin(run(suite("hard")))
    assert store.run(RUN) == run()


def test_begin_of_two_suites_of_one_name_then_usage_error_and_nothing_is_stored(store):
    with pytest.raises(UsageError, match="'humaneval'"):
        store.begin(run(suite("humaneval"), suite("humaneval", harness="bigcode")))
    assert store.runs() == []


def test_begin_of_a_problem_named_twice_then_nothing_is_stored(store):
    with pytest.raises(sqlite3.IntegrityError):
        store.begin(run(suite(problems=("a", "a"))))
    assert store.runs() == []


# ── samples ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_then_in_the_order_of_the_run_whatever_the_order_of_arrival(store):
    store.begin(run(suite("hard", ("z", "a"), n_samples=2, turns=2), suite("easy", ("m",))))
    expected = [sample(t, i, turn, suite="hard") for t, i, turn in product("za", range(2), range(2))]
    expected.append(sample("m", suite="easy"))
    for record in reversed(expected):
        store.append(RUN, record)
    assert list(store.samples(RUN)) == expected
    assert list(store.samples(RUN, "easy")) == expected[-1:]


def test_samples_when_others_are_appended_meanwhile_then_each_once(store):
    store.begin(run(suite(problems=("a", "b", "c"))))
    store.append(RUN, sample("a"))
    seen = []
    for record in store.samples(RUN):
        seen.append(record.key.task_id)
        if len(seen) < 3:
            store.append(RUN, sample("abc"[len(seen)]))
    assert seen == ["a", "b", "c"]


def test_append_of_hostile_text_then_read_back_equal(store):
    text = "\x00\udc80\ud800 é😀'\";--\r\n"
    store.begin(run(suite(problems=("'\x00é😀",)), model=text))
    record = sample(
        "'\x00é😀", prompt=text, completion=Completion(text, effective={"seed": 2**80}), stdout=text, stderr=text
    )
    store.append(RUN, record)
    assert list(store.samples(RUN)) == [record]
    assert store.run(RUN).spec.model == text


def test_append_of_a_key_with_a_graded_sample_then_value_error_and_the_first_stays(store):
    store.begin(run())
    store.append(RUN, sample(status=Status.FAILED))
    with pytest.raises(ValueError, match="has a graded sample"):
        store.append(RUN, sample(status=Status.PASSED))
    assert [s.verdict.status for s in store.samples(RUN)] == [Status.FAILED]


@pytest.mark.parametrize(("status", "tries"), [(Status.GENERATION_ERROR, 4), (Status.SANDBOX_ERROR, 1)])
def test_append_of_a_key_with_an_ungraded_sample_then_it_is_replaced_and_vain_tries_still_count(store, status, tries):
    store.begin(run())
    store.append(RUN, sample(status=status, tries=3 if status is Status.GENERATION_ERROR else 1))
    assert store.graded(RUN, "easy") == set()
    store.append(RUN, sample())
    assert list(store.samples(RUN)) == [sample(tries=tries)]
    assert store.graded(RUN, "easy") == {sample().key}


def test_append_of_another_completion_than_the_one_kept_then_value_error(store):
    store.begin(run())
    store.save_completion(RUN, sample().key, PROMPT, Completion("the one"))
    with pytest.raises(ValueError, match="another completion"):
        store.append(RUN, sample(completion=Completion("another")))
    with pytest.raises(ValueError, match="another completion"):
        store.append(RUN, sample(status=Status.GENERATION_ERROR))
    assert store.completion(RUN, sample().key) == Completion("the one")
    assert list(store.samples(RUN)) == []


@pytest.mark.parametrize(
    "fields", [{"task_id": "z"}, {"suite": "hard"}, {"index": 1}, {"index": -1}, {"turn": 1}], ids=str
)
def test_append_of_a_key_that_the_run_does_not_ask_then_value_error(store, fields):
    store.begin(run())
    with pytest.raises(ValueError, match="is none of run"):
        store.append(RUN, sample(**fields))


def test_append_to_an_unknown_run_then_unknown_name(store):
    with pytest.raises(UnknownName, match="unknown run"):
        store.append(RUN, sample())


def test_completion_when_saved_then_read_back_before_and_after_judging(store):
    store.begin(run())
    key, completion = sample().key, sample().completion
    assert store.completion(RUN, key) is None
    store.save_completion(RUN, key, PROMPT, completion)
    assert store.completion(RUN, key) == completion
    store.append(RUN, sample(status=Status.SANDBOX_ERROR))
    assert store.completion(RUN, key) == completion


def test_completion_after_a_generation_error_then_none(store):
    store.begin(run())
    store.append(RUN, sample(status=Status.GENERATION_ERROR))
    assert store.completion(RUN, sample().key) is None


def test_save_completion_twice_then_value_error_and_the_first_stays(store):
    store.begin(run())
    store.save_completion(RUN, sample().key, PROMPT, Completion("first"))
    with pytest.raises(ValueError, match="has a completion"):
        store.save_completion(RUN, sample().key, PROMPT, Completion("second"))
    assert store.completion(RUN, sample().key) == Completion("first")


def test_completion_when_it_answered_another_prompt_then_run_mismatch(store):
    store.begin(run())
    key = sample().key
    store.save_completion(RUN, key, PROMPT, Completion("x"))
    assert store.completion(RUN, key, PROMPT) == Completion("x")
    for other in ("Write add.", (Message("user", "Write add"),), (Message("system", "Write add."),)):
        with pytest.raises(RunMismatch, match=r"'easy' puts problem add otherwise than when the run began: give it"):
            store.completion(RUN, key, other)
    assert store.completion(RUN, sample("sub").key, "Write sub.") is None


def test_answer_then_the_completion_with_the_prompt_that_it_answers(store):
    store.begin(run(suite(n_samples=3)))
    scored = Completion(" 4", logprob=-0.1, greedy=True, effective={"model": "m"})
    store.save_completion(RUN, sample().key, "2 + 2 =", scored)
    store.append(RUN, sample(index=1))
    store.append(RUN, sample(index=2, status=Status.GENERATION_ERROR))
    assert store.answer(RUN, sample().key) == ("2 + 2 =", scored)
    assert store.answer(RUN, sample(index=1).key) == (sample().prompt, sample(index=1).completion)
    assert store.answer(RUN, sample(index=2).key) is None
    with pytest.raises(ValueError, match="is none of run"):
        store.answer(RUN, sample(index=3).key)


# ── what harnesses report ────────────────────────────────────────────────────────────────────────────────────────────


def reported(name="easy", value=0.25, **fields):
    metrics = {"acc,none": Metric(value, 0.1, None, 3)}
    return Reported("lm-eval", name, metrics, {"acc": True}, details={"n_shot": 0, "alias": "é"}, **fields)


def test_reported_then_in_the_order_in_which_it_came(store):
    store.begin(run(suite(), suite("hard")))
    assert store.reported(RUN) == []
    group = reported("both", members=("hard", "easy"), group=True)
    store.report(RUN, [reported("hard"), reported(value=None), group])
    assert store.reported(RUN) == [reported("hard"), reported(value=None), group]


def test_report_when_it_is_said_again_then_the_new_figures_take_the_old_ones_place(store):
    store.begin(run())
    store.report(RUN, [reported(), reported("both", group=True)])
    store.report(RUN, [reported("both", 0.5, group=True), reported(value=0.75)])
    assert store.reported(RUN) == [reported(value=0.75), reported("both", 0.5, group=True)]


def test_graded_then_the_keys_of_that_suite_alone(store):
    store.begin(run(suite(n_samples=2), suite("hard")))
    store.append(RUN, sample(index=1, status=Status.FAILED))
    store.append(RUN, sample("sub", status=Status.SANDBOX_ERROR))
    store.append(RUN, sample(suite="hard"))
    assert store.graded(RUN, "easy") == {SampleKey("easy", "add", 1, 0)}


def test_prompts_then_each_is_stored_once(store, url):
    store.begin(run(suite(n_samples=5)))
    for index in range(5):
        store.append(RUN, sample(index=index))
    with sqlite3.connect(url) as db:
        assert db.execute("SELECT count(*) FROM prompts").fetchone() == (1,)
    db.close()


# ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_finish_over_several_sessions_then_wall_times_add_up(store):
    store.begin(run(suite(problems=("add",))))
    store.finish(RUN, "interrupted", 1.5)
    assert store.run(RUN).status == "interrupted"
    store.append(RUN, sample())
    store.finish(RUN, "complete", 2.0)
    record = store.run(RUN)
    assert (record.status, record.wall_s) == ("complete", 3.5)
    assert record.ended_at.endswith("+00:00")


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample(turn=0)],
        [sample(turn=0), sample(turn=1, status=Status.SANDBOX_ERROR)],
        [sample(turn=0, status=Status.FAILED), sample(turn=1, status=Status.GENERATION_ERROR)],
    ],
    ids=["no sample", "a turn is missing", "a turn is ungraded", "a turn after the failed one is ungraded"],
)
def test_finish_complete_when_a_sample_is_not_graded_then_value_error_and_the_run_stays_open(store, samples):
    store.begin(run(suite(problems=("add",), turns=2)))
    for record in samples:
        store.append(RUN, record)
    with pytest.raises(ValueError, match="0 graded of 1"):
        store.finish(RUN, "complete", 1.0)
    assert store.run(RUN).status == "incomplete"


def test_finish_complete_when_a_failed_turn_ended_the_sample_then_closed(store):
    store.begin(run(suite(problems=("add",), turns=2)))
    store.append(RUN, sample(status=Status.FAILED))
    store.finish(RUN, "complete", 1.0)
    assert store.run(RUN).status == "complete"


def test_finish_of_an_unknown_run_then_unknown_name(store):
    with pytest.raises(UnknownName, match="unknown run"):
        store.finish(RUN, "incomplete", 1.0)


@pytest.fixture
def closed(store):
    store.begin(run(suite(problems=("add",), n_samples=1, turns=2)))
    store.append(RUN, sample(status=Status.FAILED))
    store.report(RUN, [reported()])
    store.finish(RUN, "complete", 1.0)
    return store


@pytest.mark.parametrize(
    "write",
    [
        lambda store: store.append(RUN, sample(turn=1)),
        lambda store: store.save_completion(RUN, sample(turn=1).key, PROMPT, Completion("x")),
        lambda store: store.finish(RUN, "incomplete", 1.0),
        lambda store: store.report(RUN, [reported(value=1.0)]),
    ],
    ids=["append", "save_completion", "finish", "report"],
)
def test_a_closed_run_when_written_then_usage_error_and_nothing_changes(closed, write):
    before = closed.run(RUN), list(closed.samples(RUN))
    with pytest.raises(UsageError, match=f"run '{RUN}' is complete and closed"):
        write(closed)
    assert (closed.run(RUN), list(closed.samples(RUN))) == before


@pytest.mark.parametrize("table", ["runs", "suites", "problems", "completions", "samples", "reported"])
def test_a_closed_run_when_changed_by_plain_sql_then_refused(closed, url, table):
    db = sqlite3.connect(url)
    for statement in (f"UPDATE {table} SET rowid = rowid", f"DELETE FROM {table}"):
        with pytest.raises(sqlite3.IntegrityError, match="the run is closed"):
            db.execute(statement)
    db.close()


# ── several processes ────────────────────────────────────────────────────────────────────────────────────────────────


def test_writing_when_another_process_writes_the_run_then_usage_error_until_it_ends(store, url):
    code = """
import sys
from results.store import Store
with Store.open(sys.argv[1]) as store, store.writing(sys.argv[2]):
    print("mine", flush=True)
    sys.stdin.read()
"""
    other = child(code, url, RUN)
    assert other.stdout.readline() == "mine\n"
    with pytest.raises(UsageError, match=f"run '{RUN}' is being written by another process"), store.writing(RUN):
        pass
    with store.writing("another run"):
        pass
    other.communicate()
    with store.writing(RUN):
        pass


def test_writing_when_its_process_was_killed_then_free(store, url):
    code = """
import os, signal, sys
from results.store import Store
with Store.open(sys.argv[1]) as store, store.writing(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    other = child(code, url, RUN)
    other.communicate()
    assert other.returncode == -signal.SIGKILL
    with store.writing(RUN), pytest.raises(UsageError), store.writing(RUN):
        pass


def test_writing_when_it_ends_then_no_lock_file_is_left(store):
    with store.writing(RUN):
        assert list(store.path.parent.glob("*.lock"))
    assert not list(store.path.parent.glob("*.lock"))


def test_a_writer_that_is_killed_then_all_that_it_stored_is_there(store, url):
    code = """
import os, signal, sys
from results_fakes import run, sample, suite
from results.store import Store
store = Store.open(sys.argv[1])
store.begin(run(suite(n_samples=100)))
for index in range(40):
    store.append("20260102-aaaa", sample(index=index))
store.save_completion("20260102-aaaa", sample(index=40).key, sample().prompt, sample(index=40).completion)
os.kill(os.getpid(), signal.SIGKILL)
"""
    other = child(code, url)
    other.communicate()
    assert other.returncode == -signal.SIGKILL
    assert list(store.samples(RUN)) == [sample(index=index) for index in range(40)]
    assert store.completion(RUN, sample(index=40).key) == sample(index=40).completion


def test_two_processes_that_open_a_new_store_at_once_then_both_can(url):
    code = """
import sys
import sqlite_utils
from results.store import Store
from results_fakes import run
print("ready", flush=True)
sys.stdin.readline()
with Store.open(sys.argv[1]) as store:
    store.begin(run(run_id=sys.argv[2]))
"""
    children = [child(code, url, f"r{number}") for number in range(4)]
    for process in children:
        process.stdout.readline()
    for process in children:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in children:
        process.communicate()
    assert [process.returncode for process in children] == [0] * 4
    with Store.open(url) as store:
        assert len(store.runs()) == 4


# ── the disk, and speed ──────────────────────────────────────────────────────────────────────────────────────────────


def test_append_when_the_disk_is_full_then_storage_error_and_what_was_stored_stays(store):
    store.begin(run(suite(n_samples=100)))
    store.append(RUN, sample())
    pages = store._execute("PRAGMA page_count").fetchone()[0]
    store._execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StorageError, match=r"full; make room on its disk, then go on with --resume"):
        for index in range(1, 100):
            store.append(RUN, sample(index=index, stdout="x" * 10000))
    store._execute("PRAGMA max_page_count = 1000000")
    stored = len(list(store.samples(RUN)))
    store.append(RUN, sample(index=stored))
    assert len(list(store.samples(RUN))) == stored + 1


def test_open_when_the_disk_takes_no_more_then_storage_error(tmp_path):
    def no_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    code = """
import sys
from core.errors import StorageError
from results.store import Store
try:
    Store.open(sys.argv[1])
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-B", "-c", code, str(tmp_path / "x.db")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=no_files,
    )
    assert "--resume" in done.stdout or "--db" in done.stdout


def test_append_when_the_database_is_read_only_then_storage_error(store):
    store.begin(run())
    store._execute("PRAGMA query_only = ON")
    with pytest.raises(StorageError, match="writable"):
        store.append(RUN, sample())


@pytest.mark.slow
def test_append_then_three_thousand_samples_a_second(store):
    asked = suite(problems=[f"p{number}" for number in range(100)], n_samples=60)
    store.begin(run(replace(asked, problems=tuple(ProblemRecord(p.task_id, 60) for p in asked.problems))))
    records = [sample(p.task_id, index, stdout="x" * 500) for index in range(60) for p in asked.problems]
    start = time.perf_counter()
    for record in records:
        store.save_completion(RUN, record.key, record.prompt, record.completion)
        store.append(RUN, record)
    assert len(records) / (time.perf_counter() - start) > 3000
