"""`touchstone`: the commands, each loaded when it is called."""

from __future__ import annotations

from importlib import import_module

import click

from runners.launch import launch

COMMANDS = {
    "cache": ("runners.cache:cache", "The answers that are kept across runs: stats, clear."),
    "doctor": ("runners.doctor:doctor", "What works here and what is missing: keys, a model, the sandbox, the disk."),
    "report": ("runners.report:report", "A stored run's report in Markdown."),
    "run": ("runners.unified:run", "Evaluate models on coding suites: generate, run in the sandbox, score, report."),
    "runs": ("runners.runs:runs", "The runs that are stored: list, show."),
    "sandbox": ("runners.sandbox:sandbox", "The sandbox: check, build."),
    "tasks": ("runners.tasks:tasks", "The tasks that there are: list, show, validate."),
}
"""Name → where it is, and its line in the overview."""


class Lazy(click.Group):
    """A group that imports a command when it is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The names."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(COMMANDS.items())])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="touchstone")
def touchstone() -> None:
    """Measures how well a language model writes code."""


def main() -> None:
    """The program `touchstone`."""
    launch(touchstone, "touchstone")


if __name__ == "__main__":
    main()
