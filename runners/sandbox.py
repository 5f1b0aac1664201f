"""`touchstone sandbox`: see that generated code has a safe place to run."""

from __future__ import annotations

import json

import click

from runners.launch import launch, say


@click.group()
def sandbox() -> None:
    """The sandbox."""


@sandbox.command()
def build() -> None:
    """Make it ready: an engine that answers, and the image. As root on Debian or Ubuntu an engine is installed."""
    from sandbox import engine, image

    client = engine.ensure(say)
    try:
        digest = image.ensure(client, say)
    finally:
        client.close()
    say(f"the sandbox is ready: {image.tag()} ({digest.partition(':')[2][:12]})")


@sandbox.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(as_json: bool) -> None:
    """Run a correct and a wrong program in it, and say what it is made of."""
    from runners.doctor import check_sandbox

    found = check_sandbox()
    print(json.dumps(found) if as_json else "\n".join(f"{name}: {value}" for name, value in found.items()))


if __name__ == "__main__":
    launch(sandbox, "python -m runners.sandbox")
