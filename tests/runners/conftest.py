"""The command line as a process of its own, on a database of its own."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runners.launch import launch
from runners.unified import run

ROOT = Path(__file__).resolve().parent.parent.parent
DATA = Path(os.environ.get("TOUCHSTONE_DATA") or ROOT.parent / "shared" / "data")
SETTINGS = ("ANTHROPIC", "HF", "OPENAI", "OLLAMA", "VLLM", "OPENROUTER", "TOUCHSTONE")


def environment(**variables: str) -> dict[str, str]:
    """This process's, without settings of model servers but those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return {**kept, **variables}


@dataclass(frozen=True)
class Program:
    """`python -m runners.MODULE`, from the project's root. `db` is where its runs are kept."""

    db: Path

    def words(self, *arguments: str, module: str = "unified") -> list[str]:
        place = ["--db", str(self.db)] if module not in ("sandbox", "tasks", "validate_task") else []
        return [sys.executable, "-m", f"runners.{module}", *arguments, *place]

    def __call__(self, *arguments: str, module: str = "unified", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*arguments, module=module),
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.words(*arguments),
            cwd=ROOT,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def documents(self, *arguments: str, **variables: str) -> list[dict[str, Any]]:
        done = self(*arguments, "--json", **variables)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "runs.db")


@pytest.fixture
def inside(program: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`program` in this process: quicker, for what ends before anything has run."""

    def call(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(os, "environ", environment(**variables))
            patch.setattr(sys, "argv", program.words(*arguments)[2:])
            patch.chdir(ROOT)
            launch(run, "python -m runners.unified")
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, end.value.code, printed.out, printed.err)

    return call


@pytest.fixture
def data() -> Callable[..., Path]:
    """A file of the shared data; the test is skipped, saying so, where there is none."""

    def find(*parts: str) -> Path:
        path = DATA.joinpath(*parts)
        if not path.exists():
            pytest.skip(f"needs {path}: set TOUCHSTONE_DATA")
        return path

    return find


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    """Five problems in HumanEval's form."""
    lines = [
        {
            "task_id": f"sum/{n}",
            "entry_point": f"add{n}",
            "prompt": f'def add{n}(x):\n    """x plus {n}."""\n',
            "canonical_solution": f"    return x + {n}\n",
            "test": f"def check(candidate):\n    assert candidate(40) == {40 + n}\n",
        }
        for n in range(5)
    ]
    path = tmp_path / "problems.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    return path


@pytest.fixture
def answers(tmp_path: Path) -> Callable[..., Path]:
    """A file of completions: {task id: [completion, …]}."""

    def write(completions: dict[str, list[str]]) -> Path:
        path = tmp_path / "answers.jsonl"
        lines = [{"task_id": task, "completion": text} for task, texts in completions.items() for text in texts]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
