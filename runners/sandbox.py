"""`touchstone sandbox`: see that generated code has a safe place to run."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from core.errors import HostError
from runners.doctor import Finding
from runners.launch import launch, say

SCHEMA = "touchstone.sandbox-check/1"


@click.group()
def sandbox() -> None:
    """The sandbox."""


@sandbox.command()
@click.option("--sandbox", "name", default="docker", metavar="NAME", help="Which one.  [default: docker]")
@click.option(
    "--language", "languages", multiple=True, metavar="NAME", help="An image for it too, such as python/frameworks."
)
def build(name: str, languages: tuple[str, ...]) -> None:
    """Make it ready: an engine that answers, and the image. As root on Debian or Ubuntu an engine is installed; for
    bubblewrap that and a root file system are made ready in their place. Images for other languages, and for Python's
    other environments, are made when they are first needed, or here.
    """
    if name == "bubblewrap":
        from sandbox import bubblewrap, roots

        bubblewrap.install(say)
        for wanted in (None, *languages):
            say(f"the sandbox is ready: {roots.ensure(say, wanted)}")
        return
    from sandbox import engine, image

    client = engine.ensure(say)
    try:
        for wanted in (None, *languages):
            digest = image.ensure(client, say, wanted)
            say(f"the sandbox is ready: {image.tag(wanted)} ({digest.partition(':')[2][:12]})")
    finally:
        client.close()


@sandbox.command()
@click.option("--sandbox", "name", default="docker", metavar="NAME", help="Which one.  [default: docker]")
@click.option("--runtime", metavar="NAME", help="The container engine's runtime, such as runsc.")
@click.option("--quick", is_flag=True, help="Without the slow programs.")
@click.option(
    "--language", "languages", multiple=True, metavar="NAME", help="Programs in it. Repeatable.  [default: python]"
)
@click.option("--workers", type=click.IntRange(1), help="Programs at a time.  [default: 4]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def check(
    name: str, runtime: str | None, quick: bool, languages: tuple[str, ...], workers: int | None, as_json: bool
) -> int:
    """See whether it can be trusted on this host.

    Looks at what the host offers, then has the sandbox run hostile programs, each followed by a correct one that must
    not notice. Ends with 1 where something is wrong. What is missing has the command that mends it beside it;
    `docs/sandbox.md` says how to read the table.
    """
    from runners.hostcheck import host
    from runners.hostile import Tried, attack, record, written
    from sandbox import registry
    from sandbox.corpus import corpus
    from sandbox.corpus.trial import LANES
    from sandbox.pythons import PYTHON

    make = partial(registry.get(name), 1, runtime=runtime, say=say)
    corpora = {found.language: found for found in map(corpus, languages or (PYTHON,))}
    shown = _Shown(quiet=as_json)
    for finding in host(name, runtime):
        shown.add(finding)
    start = time.monotonic()
    tried: list[Tried] = []
    try:
        tried = asyncio.run(attack(make, list(corpora.values()), quick, workers or LANES, shown.ready))
    except HostError as error:
        shown.add(Finding("sandbox", False, str(error)))
    ok = shown.ok and all(each.ok for each in tried)
    if as_json:
        host_found = [asdict(finding) for finding in shown.findings]
        document = {"schema": SCHEMA, "ok": ok, "quick": quick, "host": host_found, "sandbox": shown.described}
        print(json.dumps({**document, "languages": [record(each) for each in tried]}))
    elif tried:
        print(f"\n{written(tried)}")
    say(f"{sum(len(each.trials) for each in tried):,} hostile programs in {time.monotonic() - start:,.0f} s")
    return 0 if ok else 1


class _Shown:
    """Takes findings, and prints each at once unless it is to be quiet."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.findings: list[Finding] = []
        self.described: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """Whether none says that something does not work."""
        return all(finding.ok is not False for finding in self.findings)

    def add(self, finding: Finding) -> None:
        """One more."""
        from runners.hostile import wrapped

        self.findings.append(finding)
        if not self.quiet:
            mark = {True: "ok", False: "NOT OK", None: "-"}[finding.ok]
            print(wrapped(f"{finding.what}: {finding.detail}", f"{mark:7}", " " * 7), flush=True)

    def ready(self, described: Mapping[str, Any]) -> None:
        """The sandbox has started: what it says that it is."""
        self.described = described
        names = {"backend": "", "runtime": "runtime ", "image": "image ", "python": "Python "}
        words = [f"{before}{described[part]}" for part, before in names.items() if described.get(part)]
        self.add(Finding("sandbox", True, f"starts: {', '.join(words)}"))


if __name__ == "__main__":
    launch(sandbox, "python -m runners.sandbox")
