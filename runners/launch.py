"""Commands and their errors: one line on standard error, and the exit code that belongs to it."""

from __future__ import annotations

import os
import sys

import click

from core.errors import TouchstoneError

INTERRUPTED = 130


def launch(command: click.Command, name: str) -> None:
    """Run a command as the whole program, and end the process with its exit code."""
    try:
        code = command.main(prog_name=name, standalone_mode=False)
        sys.stdout.flush()
    except TouchstoneError as error:
        code = fail(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:  # a group that is called alone: its help, as it is laid out
        say(error.format_message())
        code = 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else name
        code = fail(f"{error.format_message()}; see `{path} --help`", 2)
    except click.ClickException as error:
        code = fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        code = fail("interrupted", INTERRUPTED)
    except OSError as error:  # of standard output: what else is written or read has errors of its own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
        if not isinstance(error, BrokenPipeError):  # which is a reader that has seen enough
            code = fail(f"output cannot be written ({error}): what is stored stays, see `touchstone runs list`", code)
    sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> int:
    """Say what went wrong, on one line; the exit code back."""
    say(f"error: {' '.join(message.split())}")
    return code


def say(text: str) -> None:
    """A notice on standard error: standard output is for results."""
    print(text, file=sys.stderr, flush=True)  # which the live display, while there is one, puts above itself
