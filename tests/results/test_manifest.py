import json
import subprocess

import pytest
from results_fakes import suite

from core.types import RunSpec, SuiteRef
from results import manifest
from results.manifest import collect

SPEC = RunSpec("ollama/qwen", (SuiteRef("native", "easy"),))


def git(folder, *words):
    subprocess.run(
        ["git", "-C", str(folder), "-c", "user.name=n", "-c", "user.email=e", *words], check=True, capture_output=True
    )


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    monkeypatch.setattr(manifest, "ROOT", tmp_path.resolve())
    return tmp_path


def test_collect_then_json_values_that_name_what_the_run_depends_on():
    got = collect(SPEC, [suite()], {"backend": "docker", "limits": {"cpu_s": 3.0}}, ["touchstone", "run"])
    assert json.loads(json.dumps(got)) == got
    assert got["packages"]["sqlite-utils"].startswith("4.")
    assert "pytest" not in got["packages"]
    assert got["sandbox"] == {"backend": "docker", "limits": {"cpu_s": 3.0}}
    assert got["suites"][0]["data_hash"] == suite().data_hash
    assert got["settings"]["requested"]["model"] == "ollama/qwen"
    assert got["host"]["cores"] > 0
    assert got["host"]["memory_bytes"] > 0


def test_collect_then_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    assert "very-secret" not in json.dumps(collect(SPEC, [suite()], {}, ["touchstone"]))


def test_collect_of_a_command_with_a_password_then_it_is_left_out():
    got = collect(SPEC, [], {}, ["touchstone", "--db", "postgresql://me:secret@host/db", "-m", "a@b"])
    assert got["command"] == ["touchstone", "--db", "postgresql://host/db", "-m", "a@b"]


def test_collect_in_a_clean_checkout_then_its_commit(checkout):
    got = collect(SPEC, [], {}, [])["git"]
    assert len(got["commit"]) == 40
    assert got["dirty"] is False


@pytest.mark.parametrize("name", ["file", "new file"])
def test_collect_in_a_changed_checkout_then_dirty(checkout, name):
    (checkout / name).write_text("2")
    assert collect(SPEC, [], {}, [])["git"]["dirty"] is True


def test_collect_when_git_is_told_of_another_repository_then_still_the_projects_own(checkout, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(checkout / "elsewhere"))
    assert collect(SPEC, [], {}, [])["git"] is not None


def test_collect_when_installed_inside_somebody_elses_checkout_then_no_commit(checkout, monkeypatch):
    (checkout / "site-packages").mkdir()
    monkeypatch.setattr(manifest, "ROOT", checkout / "site-packages")
    assert collect(SPEC, [], {}, [])["git"] is None


def test_collect_without_git_then_no_commit(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert collect(SPEC, [], {}, [])["git"] is None
