"""What lm-eval has found, as JSON values under its own names."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lm_eval.utils import handle_non_serializable

from adapters.hosts.wire import Line, finite


def tell_results(line: Line, results: Mapping[str, Any]) -> None:
    """Say each document's figures, then each task's and group's."""
    counted = {name: _tell_documents(line, name, rows) for name, rows in results["samples"].items()}
    members = results["group_subtasks"]
    for name, row in results["results"].items():
        group = name in members
        line.tell({"row": _row(results, name, row, members.get(name, []), None if group else counted[name])})


def _tell_documents(line: Line, name: str, rows: list[dict[str, Any]]) -> Counter[str]:
    """Each document's figures, by filter. Returns how many documents each figure is of."""
    documents: dict[int, dict[str, Any]] = {}
    count: Counter[str] = Counter()
    for row in rows:
        figures = {metric: row[metric] for metric in row["metrics"]}
        count.update(f"{metric},{row['filter']}" for metric in figures)
        told = {key: row[key] for key in ("target", "filtered_resps", "doc_hash", "prompt_hash", "target_hash")}
        documents.setdefault(row["doc_id"], {})[row["filter"]] = {**told, "metrics": figures}
    for doc_id, told in documents.items():
        line.tell({"document": {"suite": name, "task_id": str(doc_id), "reported": plain(told)}})
    return count


def _row(
    results: Mapping[str, Any], name: str, row: Mapping[str, Any], members: list[str], counted: Counter[str] | None
) -> dict[str, Any]:
    """A row of lm-eval's table. counted: documents by figure; None for a group, whose row says it."""
    metrics = {}
    for key, value in row.items():
        metric, comma, filtered = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            sizes = row.get("sample_count", {})
            n = sizes.get(key, sizes.get(metric, row.get("sample_len", 0))) if counted is None else counted[key]
            stderr = row.get(f"{metric}_stderr,{filtered}")
            metrics[key] = {"value": finite(value), "stderr": finite(stderr), "n": n}
    return {
        "name": name,
        "group": counted is None,
        "members": members,
        "metrics": metrics,
        "higher_is_better": plain(results["higher_is_better"].get(name, {})),
        "details": {
            "alias": row.get("alias", name),
            "version": plain(results["versions"].get(name)),
            "n_shot": results["n-shot"].get(name),
            "config": plain(results["configs"].get(name)),
        },
    }


def plain(value: Any) -> Any:
    """What lm-eval says, as JSON values: what is none is said in words, as lm-eval's own files have it."""
    text = json.dumps(value, default=handle_non_serializable, ensure_ascii=True)
    return json.loads(text, parse_constant=str)
