"""`touchstone run`, and `python -m runners.unified`: evaluate models on suites of any harness."""

from __future__ import annotations

import math
import re
import sys
from typing import Any

import click

from runners.launch import launch


class Real(click.FloatRange):
    """A number with a value: neither `nan`, which no range keeps out, nor `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"'{value}' is not a finite number, such as 0.8", param, ctx)
        return number


class Numbers(click.ParamType[tuple[int, ...]]):
    """Whole numbers from 1, separated by commas."""

    name = "N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers, ascending, each once."""
        words = value if isinstance(value, list | tuple) else str(value).split(",")
        numbers = {int(word) for word in map(str, words) if word.strip().isdecimal()}
        if len(numbers) < len(words) or 0 in numbers:
            self.fail(f"'{value}' is not one or more whole numbers from 1, such as 1,10,100", param, ctx)
        return tuple(sorted(numbers))


class Size(click.ParamType[int]):
    """A number of bytes, with or without k, m or g for powers of 1024."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes; 32 MiB is the least that Python runs in."""
        match = re.fullmatch(r"(\d+)([kmg]?)(i?b)?", str(value).strip().lower())
        size = int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2]] if match else 0
        if size < 32 << 20:
            self.fail(f"'{value}' is not a size of 32m or more, such as 512m or 2g", param, ctx)
        return size


class Dataset(click.ParamType[tuple[str, str]]):
    """NAME=PATH."""

    name = "NAME=PATH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """The name and the path."""
        name, equals, path = str(value).partition("=") if not isinstance(value, tuple) else (value[0], "=", value[1])
        if not (name and equals and path):
            self.fail(f"'{value}' is not NAME=PATH", param, ctx)
        return name, path


def _config(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    """Take the file's values as defaults: options on the command line come before them."""
    if path is not None:
        from runners.config import load

        values = load(path)
        repeatable = {option.name for option in ctx.command.params if getattr(option, "multiple", False)}
        alone = {name: [value] for name, value in values.items() if name in repeatable and isinstance(value, str)}
        ctx.default_map = {**values, **alone, **(ctx.default_map or {})}
        ctx.meta[TABLES] = {name: values[name] for name in KEPT if name in values}


KEPT = ("limits", "catalog", "weights", "baselines")
TABLES = "runners.unified.tables"
"""Where the context keeps what a configuration says in tables, which no option says."""
POSITIVE = click.IntRange(min=1)
PATH = click.Path(path_type=str)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--harness", "harnesses", multiple=True, metavar="NAME", help="Harness; left out: the task's own.")
@click.option("--task", "-t", "tasks", multiple=True, metavar="NAME", help="Suite, pattern, or file:PATH. Repeatable.")
@click.option("--model", "-m", "models", multiple=True, metavar="PROVIDER/NAME", help="Model to evaluate. Repeatable.")
@click.option("--generations", type=PATH, metavar="FILE", help="Judge these completions; no model is called.")
@click.option("--dataset", "datasets", multiple=True, type=Dataset(), help="A suite's data from a file or folder. "
              "Repeatable.")  # fmt: skip
@click.option("--include-path", "include", multiple=True, type=PATH, metavar="DIR",
              help="A folder of further lm-eval tasks. Repeatable.")  # fmt: skip
@click.option("--num-fewshot", type=click.IntRange(min=0), help="Worked examples; left out: as lm-eval's task says.")
@click.option("--system-prompt", metavar="TEXT", help="What lm-eval's prompts begin with.")
@click.option("--fewshot-as-multiturn/--fewshot-as-one", default=None, help="Worked examples as turns of a chat, or in "
              "one.  [default: turns]")  # fmt: skip
@click.option("--prompt", "prompt_kind", metavar="KIND", help="BigCode's kind of prompt for HumanEvalPack.  "
              "[default: instruct]")  # fmt: skip
@click.option("--save-generations", type=PATH, metavar="FILE", help="Write BigCode's generations.json.")
@click.option("--n-samples", "-n", type=POSITIVE, help="Samples of each problem.  [default: 1, or lm-eval's task's]")
@click.option("--k", type=Numbers(), help="The k of pass@k, as in 1,10,100.  [default: 1]")
@click.option("--temperature", type=Real(min=0), help="Sampling temperature.  [default: 0, or lm-eval's "
              "task's]")  # fmt: skip
@click.option("--top-p", type=Real(min=0, max=1, min_open=True), help="Nucleus sampling.")
@click.option("--max-tokens", type=POSITIVE, help="Limit of an answer's length.")
@click.option("--seed", type=int, help="Sample i is asked for with seed + i.")
@click.option("--stop", multiple=True, help="Stop sequence, in place of the suite's. Repeatable.")
@click.option("--limit", type=POSITIVE, help="Only the first so many problems of each suite.")
@click.option("--sample", type=POSITIVE, metavar="N", help="So many problems of each suite, drawn by --seed.")
@click.option("--dimension", "dimensions", multiple=True, metavar="NAME", help="Native tasks that measure this. "
              "Repeatable.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="NAME", help="Native tasks with this tag. Repeatable.")
@click.option("--prompt-style", type=click.Choice(["completion", "instruct"]), help="Default: as the provider can.")
@click.option("--timeout", "timeout_s", type=Real(min=0.01, max=86_400), help="CPU seconds of each case.")
@click.option("--memory", "memory_bytes", type=Size(), help="Memory of each candidate, such as 512m.")
@click.option("--sandbox", metavar="NAME", help="Where generated code runs.  [default: docker]")
@click.option("--runtime", metavar="NAME", help="The container engine's runtime, such as runsc.")
@click.option("--concurrency", type=POSITIVE, help="Model requests in flight.  [default: as the server bears]")
@click.option("--cache/--no-cache", default=None, help="Keep all answers and find them again; or none.  "
              "[default: those at temperature 0]")  # fmt: skip
@click.option("--estimate", is_flag=True, help="Say what the run would take, and stop: calls, tokens, cost, time.")
@click.option("--max-cost", type=Real(min=0, min_open=True), metavar="USD", help="Stop in order before it costs more.")
@click.option("--workers", type=POSITIVE, help="Sandbox workers.  [default: the cores]")
@click.option("--config", type=PATH, metavar="FILE", is_eager=True, expose_value=False, callback=_config,
              help="Options from a YAML file; those given here come first.")  # fmt: skip
@click.option("--db", metavar="URL", help="Where runs are kept.  [default: results/data/touchstone.db]")
@click.option("--resume", metavar="RUN_ID", help="Go on with a run that is not complete.")
@click.option("--report", type=PATH, metavar="FILE", help="Where the report goes.  [default: reports/ beside the db]")
@click.option("--dump-samples", type=PATH, metavar="FILE", help="Write a line of JSON for each sample.")
@click.option("--json", "as_json", is_flag=True, help="Results as one JSON document a run.")
def run(**given: Any) -> int:
    """Evaluate models on coding suites: generate, run in the sandbox, score, report.

    Results go to standard output, everything else to standard error. Ends with 0 when every sample is graded, 1 where
    the environment fails, 2 for what you can mend, 3 when samples are left ungraded, 130 when interrupted.
    """
    from runners import settings
    from runners.session import evaluate

    if given["report"] is not None and len(given["models"]) > 1:
        raise click.UsageError("--report names one file, and there is a report for each of the models: leave it out")
    given["db"] = settings.database(given["db"])
    given |= click.get_current_context().meta.get(TABLES, {})
    return evaluate(settings.Options(**given, command=("touchstone", "run", *sys.argv[1:])))


def main() -> None:
    """`python -m runners.unified`."""
    launch(run, "python -m runners.unified")


if __name__ == "__main__":
    main()
