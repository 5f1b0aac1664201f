"""Runs and samples made for tests."""

from pathlib import Path

from core.types import (
    CaseVerdict,
    Completion,
    Message,
    RunSpec,
    Sample,
    SampleKey,
    Solution,
    Status,
    SuiteRef,
    Verdict,
)
from results.records import ProblemRecord, RunRecord, SuiteRecord

ROOT = Path(__file__).parent.parent.parent

MANIFEST = {
    "touchstone": "0.1.0",
    "python": "3.11.7",
    "packages": {"jinja2": "3.1.6", "sqlite-utils": "4.2.1"},
    "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
    "host": {"platform": "Linux-6.1", "kernel": "6.1.0", "cpu": "Some CPU", "cores": 2, "memory_bytes": 8 << 30},
    "sandbox": {"backend": "docker", "image": "sha256:" + "c" * 64},
    "suites": [],
    "settings": {"requested": {}, "effective": None},
    "command": ["touchstone", "run", "-t", "easy", "-m", "ollama/a model"],
}


def suite(name="easy", problems=("add", "sub"), n_samples=1, turns=1, harness="native", style="instruct"):
    records = tuple(ProblemRecord(task_id, n_samples, turns) for task_id in problems)
    return SuiteRecord(harness, name, "1", name[0].encode().hex() * 32, style, records)


def run(*suites, run_id="20260102-aaaa", model="ollama/qwen2.5-coder", manifest=MANIFEST, **fields):
    suites = suites or (suite(),)
    spec = RunSpec(model, tuple(SuiteRef(s.harness, s.name) for s in suites))
    fields = {"group_id": "g1", "spec": spec, "started_at": "2026-01-02T03:04:05+00:00", **fields}
    return RunRecord(run_id=run_id, manifest=manifest, suites=suites, **fields)


def sample(task_id="add", index=0, turn=0, status=Status.PASSED, suite="easy", **fields):
    key = SampleKey(suite, task_id, index, turn)
    completion = None if status is Status.GENERATION_ERROR else Completion(f"```python\n{task_id} = {index}\n```")
    judged = status.graded and status not in (Status.NO_SOLUTION, Status.REFUSED)
    defaults = {
        "verdict": Verdict(status, "", (CaseVerdict(status is Status.PASSED),) * judged, "data" if judged else None),
        "prompt": (Message("user", f"Write {task_id}."),),
        "completion": completion,
        "solution": Solution(f"{task_id} = {index}", "fence") if judged else None,
    }
    return Sample(key=key, **{**defaults, **fields})
