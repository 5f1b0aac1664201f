"""lm-eval's own command line and ours beside it, on the same server, and what the two say differently."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.runners.conftest import Program, environment

CONTEXT = 4096
"""Tokens that the server's model takes at once, prompt and answer together."""
WITHIN = 1e-12
"""How far two figures may be apart."""
HASHES = ("doc_hash", "prompt_hash", "target_hash")


@dataclass(frozen=True)
class Found:
    """What an evaluation has found. A row is a task's or a group's."""

    figures: Mapping[str, Mapping[str, Any]]
    """Of each row: every figure and standard error, under lm-eval's name; None: there is no such error."""
    about: Mapping[str, Mapping[str, Any]]
    """Of each row: what goes with its figures."""
    samples: Mapping[str, Mapping[str, Mapping[str, Any]]]
    """Of each task: document → filter → what became of it."""
    groups: frozenset[str]


@dataclass(frozen=True)
class Both:
    """The two beside each other. document: ours, as it was printed."""

    ours: Found
    theirs: Found
    document: Mapping[str, Any]

    def differ(self, name: str) -> list[str]:
        """In what the two differ about a task or a group."""
        found = []
        for what in ("figures", "about", "samples"):
            ours, theirs = getattr(self.ours, what).get(name), getattr(self.theirs, what).get(name)
            found += differences(ours, theirs, what)
        return found


def differences(ours: Any, theirs: Any, at: str) -> Iterator[str]:
    """Where two JSON values are not the same; numbers may be `WITHIN` apart. at: the way to them."""
    numbers = [type(each) in (int, float) for each in (ours, theirs)]
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted({*ours, *theirs}):
            yield from differences(ours.get(name, "nothing"), theirs.get(name, "nothing"), f"{at}.{name}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{at}[{i}]")
    elif not (abs(ours - theirs) <= WITHIN if all(numbers) else ours == theirs):
        yield f"{at}: {ours!r} by ours, {theirs!r} by lm-eval"


def both(
    folder: Path,
    url: str,
    tasks: Sequence[str],
    *,
    ours: Sequence[str],
    theirs: Sequence[str],
    chat: bool = False,
    their_url: str | None = None,
) -> Both:
    """Run the two at the same time.

    folder: an empty one; but `tasks/` in it may hold tasks for both, `stock/` tasks that lm-eval's own is to have in
    place of those it comes with, and `code_eval/` its metric. ours, theirs: further options. url: the server's;
    their_url: where lm-eval's own has another.
    """
    with _started(folder, their_url or url, tasks, chat, theirs) as process:
        program, dump = Program(folder / "runs.db"), folder / "samples.jsonl"
        named = [word for task in tasks for word in ("-t", task)]
        style = ("--prompt-style", "instruct" if chat else "completion")
        include = ("--include-path", str(folder / "tasks")) if (folder / "tasks").is_dir() else ()
        (document,) = program.documents(
            *("--harness", "lm-eval", "-m", "openai/m", *named, *style, *include, *ours),
            *("--dump-samples", str(dump)),
            OPENAI_BASE_URL=url,
            HF_HUB_OFFLINE="1",
            HF_HOME=str(folder / "ours"),
        )
        assert process.wait(300) == 0, (folder / "said").read_text()[-2000:]
    return Both(_ours(document, dump), _theirs(folder / "found"), document)


def stock(folder: Path, name: str, place: str, files: Mapping[str, Path], **further: Any) -> None:
    """Let lm-eval's own have a stock task with data from files. place: its YAML, in lm-eval's folder of tasks."""
    configuration = {
        "include": str(package() / "tasks" / place),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": {split: str(path) for split, path in files.items()}},
        **further,
    }
    write(folder / "stock" / f"{name}.yaml", configuration)


def write(path: Path, configuration: Mapping[str, Any]) -> None:
    """Write a task or a group, as the JSON that YAML has in it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(configuration))


def package() -> Path:
    """lm-eval's folder."""
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


@contextmanager
def _started(
    folder: Path, url: str, tasks: Sequence[str], chat: bool, further: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """lm-eval's own command line, which writes to `found/` and `said`."""
    kind, page = ("local-chat-completions", "chat/completions") if chat else ("local-completions", "completions")
    settings = {"model": "m", "base_url": f"{url}/{page}", "num_concurrent": 8, "max_length": CONTEXT}
    if chat:
        further = ("--apply_chat_template", "--fewshot_as_multiturn", "true", *further)
    else:
        settings["tokenizer_backend"] = "remote"
    given = ",".join(f"{name}={value}" for name, value in settings.items())
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "lm_eval", "run", "--model", kind, "--model_args", given, "--tasks"),
                *(",".join(tasks), "--include_path", str(folder), "--output_path", "found", "--log_samples", *further),
            ],
            cwd=folder,
            env=environment(HF_HUB_OFFLINE="1", HF_HOME=str(folder / "theirs"), HF_ALLOW_CODE_EVAL="1"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _theirs(folder: Path) -> Found:
    (path,) = folder.rglob("results_*.json")
    told = json.loads(path.read_text())
    rows = {**told["results"], **told.get("groups", {})}
    groups = frozenset(told.get("groups", {}))
    figures = {
        name: {key: None if value == "N/A" else value for key, value in row.items() if "," in key}
        for name, row in rows.items()
    }
    about = {
        name: {
            "version": told["versions"].get(name),
            "n_shot": told["n-shot"].get(name),
            "higher_is_better": told["higher_is_better"].get(name),
            "members": sorted(told["group_subtasks"].get(name, ())) if name in groups else [],
            "n": None if name in groups else told["n-samples"][name]["effective"],
        }
        for name in rows
    }
    samples: dict[str, dict[str, dict[str, Any]]] = {}
    for name in rows.keys() - groups:
        (path,) = folder.rglob(f"samples_{name}_*.jsonl")
        for row in map(json.loads, path.read_text().splitlines()):
            metrics = {metric: row[metric] for metric in row["metrics"]}
            kept = {hashed: row[hashed] for hashed in HASHES}
            became = {**kept, "metrics": metrics, "filtered": _words(row["filtered_resps"])}
            samples.setdefault(name, {}).setdefault(str(row["doc_id"]), {})[row["filter"]] = became
    return Found(figures, about, samples, groups)


def _ours(document: Mapping[str, Any], dump: Path) -> Found:
    tasks = {result["suite"]: {**result, **result["reported"]} for result in document["results"]}
    groups = {group["name"]: group for group in document["groups"]}
    figures: dict[str, dict[str, Any]] = {}
    about = {}
    for name, row in {**tasks, **groups}.items():
        reported = {key: metric for key, metric in row["metrics"].items() if "," in key}
        figures[name] = {key: metric["value"] for key, metric in reported.items()}
        for key, metric in reported.items():
            figure, _, filtered = key.partition(",")
            figures[name][f"{figure}_stderr,{filtered}"] = metric["stderr"]
        counts = {metric["n"] for metric in reported.values()}
        about[name] = {
            "version": row["details"]["version"],
            "n_shot": row["details"]["n_shot"],
            "higher_is_better": row["higher_is_better"],
            "members": sorted(row["members"]) if name in groups else [],
            "n": None if name in groups else next(iter(counts)) if len(counts) == 1 else counts,
        }
    samples: dict[str, dict[str, dict[str, Any]]] = {}
    for line in map(json.loads, dump.read_text().splitlines()):
        for filtered, told in (line["reported"] or {}).items():
            kept = {hashed: told[hashed] for hashed in HASHES}
            became = {**kept, "metrics": told["metrics"], "filtered": _words(told["filtered_resps"])}
            samples.setdefault(line["suite"], {}).setdefault(line["task_id"], {})[filtered] = became
    return Found(figures, about, samples, frozenset(groups))


def _words(value: Any) -> Any:
    """A value as lm-eval writes what the model said: each thing in words."""
    return [_words(each) for each in value] if isinstance(value, list) else str(value)
