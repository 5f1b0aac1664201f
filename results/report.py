"""Reports: a run and its scores as Markdown for a person. The templates only lay out what is prepared here."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from core.errors import UnknownName
from core.types import Prompt, Reported, RunSpec, Sample, Score, Status
from results.markdown import code, cut, fence, percent, table, visible
from results.ratings import Dimension, dimensions_table, parts_table, suites_table
from results.records import RunRecord
from results.reported import harness_table, ours

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"
SHOWN = 20
"""Samples that did not pass, shown of each suite."""
TIERS = ("easy", "medium", "hard", "extreme")

MEANINGS = {
    Status.PASSED: "every test passed",
    Status.FAILED: "a test said no",
    Status.CRASHED: "it ended by an exception or a signal",
    Status.COMPILE_ERROR: "it did not compile",
    Status.TIMED_OUT: "it ran past its time",
    Status.OUT_OF_MEMORY: "it used more memory than it may",
    Status.OUTPUT_LIMIT: "it wrote more than it may",
    Status.EXITED_EARLY: "the program ended before the tests did",
    Status.NO_SOLUTION: "the answer was empty",
    Status.REFUSED: "the provider or the model declined: counted, as not passed",
    Status.GENERATION_ERROR: "no answer could be had: ungraded, not counted",
    Status.SANDBOX_ERROR: "the sandbox failed: ungraded, not counted",
    Status.SCORED: "its harness gave it figures that are no yes or no",
}

CONTROLS = {
    "control/reference": "answers with the reference solutions: this checks the set-up, it measures no model",
    "control/broken": "answers with wrong solutions: this checks that the tests say no, it measures no model",
    "control/wrong": "answers with each task's first wrong solution: this checks the scores, it measures no model",
    "control/slow": "answers with the reference solutions, made slower: this checks the scores, it measures no model",
    "control/ugly": "answers with the reference solutions, made ugly: this checks the scores, it measures no model",
}


def render(
    run: RunRecord,
    scores: Sequence[Score],
    samples: Iterable[Sample],
    template: str = "report",
    groups: Sequence[Reported] = (),
    dimensions: Mapping[str, Dimension] | None = None,
) -> str:
    """A run's report in Markdown. It can be encoded in UTF-8, whatever the samples hold.

    scores: one for each suite. samples: the run's, in the store's order; read once, and not at all by a template that
    shows none. template: `report`, or `summary` for a terminal. groups: what harnesses report of several suites.
    dimensions: the figures by what tasks measure.
    Raises UnknownName for a template that there is not.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    names = [path.name.removesuffix(".md.j2") for path in TEMPLATES.glob("*.md.j2")]
    if template not in names:
        raise UnknownName("template", template, names)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template(f"{template}.md.j2").render(
        run_id=code(run.run_id),
        model=code(run.spec.model),
        notices=[*_notices(run, scores)],
        settings=_settings(run),
        summary=_summary(scores),
        notes=[*_notes(scores)],
        tiers=_tiers(scores),
        ratings=suites_table(scores),
        parts=parts_table(scores),
        dimensions=dimensions_table(dimensions or {}),
        reported=harness_table(scores, groups),
        ledger=_ledger(scores),
        meanings=[f"{code(status)}: {MEANINGS[status]}" for status in _occurring(scores)],
        ungraded=_ungraded(scores),
        usage=_usage(scores),
        judging=_judging(scores),
        failures=_failures(run, samples),
        command=fence(shlex.join(run.manifest["command"])),
        data=_data(run),
        versions=[*_versions(run)],
    )
    return visible(text)


# ── said in words ────────────────────────────────────────────────────────────────────────────────────────────────────


def _notices(run: RunRecord, scores: Sequence[Score]) -> Iterator[str]:
    """What must be known before a figure is read."""
    model, file = run.spec.model, run.spec.generations
    if model.startswith("control/"):
        yield f"{code(model)} {CONTROLS.get(model, 'is a control: it measures no model')}."
    if file is not None:
        yield f"The completions were read from {code(file)}: no model was called."
    cached, completions = (sum(score.usage[name] or 0 for score in scores) for name in ("cached", "completions"))
    if cached:
        yield (
            f"{cached:,} of {completions:,} completions came from the cache: the model was not asked for them. "
            f"{code('--no-cache')} asks anew."
        )
    if run.status != "complete":
        asked = sum(score.n_samples for score in scores)
        graded = asked - sum(_ungraded_count(score) for score in scores)
        resume = code(f"touchstone run --resume {run.run_id}")
        yield f"**This run is {run.status}:** {graded:,} of {asked:,} samples are graded. Go on with {resume}."


def _notes(scores: Sequence[Score]) -> Iterator[str]:
    """What must be known to read the figures."""
    if len({score.prompt_style for score in scores}) > 1:
        yield "Figures of different prompt styles cannot be compared with each other."
    for score in scores:
        for name, metric in ours(score).items():
            if metric.undefined:
                few = f"{metric.undefined:,} of {score.n_problems:,} problems, for want of graded samples"
                yield f"{code(name)} of {code(score.suite)} leaves out {few}."
        if cut_share := score.usage["length_share"]:
            yield f"The token limit cut {percent(cut_share)} of the completions of {code(score.suite)}."
        completions, counted = score.usage["completions"] or 0, score.usage["counted"] or 0
        if 0 < counted < completions:
            yield f"Tokens of {code(score.suite)} are those of {counted:,} of {completions:,} completions."


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _settings(run: RunRecord) -> str:
    spec, params = run.spec, run.spec.params
    own = spec.n_samples is None
    sampling = {
        "temperature": _asked(params.temperature, own),
        "top-p": _asked(params.top_p, own),
        "max tokens": _asked(params.max_tokens, own),
        "seed": _asked(params.seed, False),
        "stop": ", ".join(map(code, map(repr, params.stop))) or "the suite's",
    }
    asked = {
        "model": code(spec.model),
        "date": _date(run.started_at),
        "status": run.status,
        "samples of each problem": _span(problem.n_samples for suite in run.suites for problem in suite.problems),
        **({} if spec.generations is not None else sampling),
        "first problems only": "no" if spec.limit is None else str(spec.limit),
        **_harness_settings(spec),
        "CPU time of a case": "as the tasks say" if spec.timeout_s is None else f"{spec.timeout_s:g} s",
        "memory": "as the tasks say" if spec.memory_bytes is None else f"{spec.memory_bytes:,} bytes",
        "wall time": _seconds(run.wall_s),
    }
    return table(("setting", "value"), [*asked.items()], "ll")


def _harness_settings(spec: RunSpec) -> dict[str, str]:
    """Those of a harness with settings of its own, as far as they are asked for."""
    asked = {
        "worked examples": spec.num_fewshot,
        "system prompt": spec.system_prompt and code(spec.system_prompt),
        "worked examples stand": None if spec.fewshot_as_multiturn else "in one turn",
        "further tasks": ", ".join(map(code, spec.include)) or None,
        "data": ", ".join(code(f"{name}={path}") for name, path in spec.datasets) or None,
    }
    return {name: str(value) for name, value in asked.items() if value is not None}


def _summary(scores: Sequence[Score]) -> str:
    header = ("suite", "version", "style", "problems", "samples", "metric", "value", "±", "95 % interval")
    rows = [
        (
            f"{score.harness}/{score.suite}",
            score.suite_version,
            score.prompt_style,
            f"{score.n_problems:,}",
            f"{score.n_samples:,}",
            name,
            percent(metric.value),
            "" if metric.stderr is None else f"{100 * metric.stderr:.2f}",
            "" if metric.ci95 is None else " to ".join(f"{100 * end:.2f}" for end in metric.ci95),
        )
        for score in scores
        for name, metric in ours(score).items()
    ]
    return table(header, rows, "lllrrlrrr") if rows else ""


def _tiers(scores: Sequence[Score]) -> str:
    """The native tiers side by side, the easiest first; empty where there are not several."""
    tiers = sorted((score for score in scores if score.suite in TIERS), key=lambda score: TIERS.index(score.suite))
    if len(tiers) < 2:
        return ""
    names = [*tiers[0].metrics]
    rows = [(s.suite, f"{s.n_problems:,}", *(percent(s.metrics[name].value) for name in names)) for s in tiers]
    return table(("tier", "problems", *names), rows, "lr" + "r" * len(names))


def _ledger(scores: Sequence[Score]) -> str:
    statuses = _occurring(scores)
    missing = any(_missing(score) for score in scores)
    rows = [
        (score.suite, *(f"{score.ledger[status]:,}" for status in statuses), *([f"{_missing(score):,}"] * missing))
        for score in scores
    ]
    header = ("suite", *statuses, *(["missing"] * missing))
    return table(header, rows, "l" + "r" * (len(header) - 1))


def _ungraded(scores: Sequence[Score]) -> str:
    """What the scores would be if the ungraded samples had all failed or all passed; empty where all are graded."""
    rows = [
        (score.suite, f"{_ungraded_count(score):,}", name, percent(metric.value), *map(percent, metric.bounds))
        for score in scores
        for name, metric in ours(score).items()
        if metric.bounds is not None
    ]
    return table(("suite", "ungraded", "metric", "value", "all failed", "all passed"), rows, "lrlrrr") if rows else ""


def _usage(scores: Sequence[Score]) -> str:
    header = (
        *("suite", "completions", "requests", "cached", "input tokens", "output tokens", "cost"),
        *("generation", "first token (median)", "execution"),
    )
    rows = [
        (
            score.suite,
            _number(score.usage["completions"]),
            _number(score.usage["requests"]),
            _number(score.usage["cached"]),
            _number(score.usage["input_tokens"]),
            _number(score.usage["output_tokens"]),
            dollars(score.usage["cost_usd"]),
            _seconds(score.timing["generation_s"]),
            _seconds(score.timing["ttft_p50_s"]),
            _seconds(score.timing["execution_s"]),
        )
        for score in scores
    ]
    return table(header, rows, "l" + "r" * (len(header) - 1))


def _judging(scores: Sequence[Score]) -> str:
    modes = ("judged_data", "judged_two_process", "judged_one_process")
    rows = [(score.suite, *(_number(score.usage[mode]) for mode in modes)) for score in scores]
    return table(
        ("suite", "by the host, on data", "by test code, apart", "by test code beside the solution"), rows, "lrrr"
    )


def _data(run: RunRecord) -> str:
    rows = [(f"{s.harness}/{s.name}", s.version, s.style, s.data_hash) for s in run.suites]
    return table(("suite", "version", "style", "data (SHA-256)"), rows, "llll")


def _versions(run: RunRecord) -> Iterator[str]:
    """The manifest in lines, but for what is shown elsewhere."""
    elsewhere = ("command", "settings", "suites")
    shown = {name: value for name, value in run.manifest.items() if name not in elsewhere}
    shown["settings in effect"] = run.manifest["settings"]["effective"]
    for name, value in shown.items():
        if value is not None:
            yield f"{name}: {visible(_words(value))}"


# ── samples that did not pass ────────────────────────────────────────────────────────────────────────────────────────


def _failures(run: RunRecord, samples: Iterable[Sample]) -> Iterator[dict[str, Any]]:
    """For each suite that has some: its name, the first `SHOWN` of them, and how many more there are."""
    turns = {(suite.name, problem.task_id): problem.turns for suite in run.suites for problem in suite.problems}
    failed = (sample for sample in samples if not sample.verdict.status.goes_on)
    for suite, group in groupby(failed, key=lambda sample: sample.key.suite):
        shown = [_failure(sample, turns[suite, sample.key.task_id]) for sample in islice(group, SHOWN)]
        yield {"suite": code(suite), "shown": shown, "more": sum(1 for _ in group)}


def _failure(sample: Sample, turns: int) -> dict[str, str]:
    key, completion, solution = sample.key, sample.completion, sample.solution
    turn = f", turn {key.turn}" if turns > 1 else ""
    answer = solution.code if solution else completion.text if completion else ""
    return {
        "title": f"{code(key.task_id)}, sample {key.index}{turn}: {code(sample.verdict.status)}",
        "detail": _block(sample.verdict.detail, 2000, 0),
        "prompt": _block(_prompt_text(sample.prompt), 3000, 1000),
        "answer_is": "Solution" if solution else "Completion",
        "answer": _block(answer, 4000, 1000),
        "stderr": _block(sample.stderr, 0, 2000),
    }


def _prompt_text(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"[{message.role}]\n{message.content}" for message in prompt)


def _block(text: str, head: int, tail: int) -> str:
    return fence(cut(text, head, tail)) if text else ""


# ── words for values ─────────────────────────────────────────────────────────────────────────────────────────────────


def _occurring(scores: Sequence[Score]) -> list[Status]:
    return [status for status in Status if any(score.ledger[status] for score in scores)]


def _missing(score: Score) -> int:
    return score.n_samples - sum(score.ledger.values())


def _ungraded_count(score: Score) -> int:
    return score.n_samples - sum(count for status, count in score.ledger.items() if status.graded)


def _date(iso: str) -> str:
    return datetime.fromisoformat(iso).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _span(numbers: Iterable[int]) -> str:
    least, most = min(found := [*numbers], default=0), max(found, default=0)
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


def _asked(value: float | None, own: bool) -> str:
    if value is None:
        return "as the tasks say" if own else "the server's default"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,}"


def dollars(usd: float | None) -> str:
    """An amount in US dollars: to the cent, or to three digits where it is less than one."""
    if usd is None:
        return "unknown"
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:.3g}"


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.2f} s"


def _words(value: Any) -> str:
    """A manifest's value in a line, without what is unknown in it."""
    if isinstance(value, Mapping):
        return ", ".join(
            f"{name} ({_words(item)})" if isinstance(item, Mapping) else f"{name} {_words(item)}"
            for name, item in value.items()
            if item not in (None, [])
        )
    if isinstance(value, list):
        return ", ".join(code(repr(item)) if isinstance(item, str) else _words(item) for item in value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
