"""`touchstone doctor`: what works here, what is missing, and the command that mends it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click

from core.errors import HostError, SandboxUnavailable, TouchstoneError
from runners.launch import launch

SPACE_BYTES = 1 << 30
"""Free space below which a run may not end well."""
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "VLLM_API_KEY")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    what: str
    ok: bool | None
    """None: neither good nor bad, such as a key that not everybody needs."""
    detail: str


@click.command()
@click.option("--model", "-m", metavar="PROVIDER/NAME", help="Ask this model for one answer.")
@click.option("--db", metavar="URL", help="Where runs are kept.  [default: results/data/touchstone.db]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(model: str | None, db: str | None, as_json: bool) -> int:
    """What works here and what is missing. Ends with 1 where something that a run needs does not work."""
    found = [*_keys(), _disk(db), _try("sandbox", lambda: _words(check_sandbox()))]
    if model is not None:
        found.append(_try(f"model {model}", lambda: asyncio.run(_ping(model))))
    if as_json:
        print(json.dumps([asdict(each) for each in found]))
    else:
        for each in found:
            mark = {True: "ok", False: "NOT OK", None: "-"}[each.ok]
            print(f"{mark:7}{each.what}: {each.detail}")
    return 1 if any(each.ok is False for each in found) else 0


def check_sandbox() -> Mapping[str, Any]:
    """Run a right and a wrong program in the sandbox; what it is made of.

    Raises SandboxUnavailable where it does not start or does not tell the two apart.
    """
    return asyncio.run(_check_sandbox())


async def _check_sandbox() -> Mapping[str, Any]:
    from core.types import Candidate, Case, Solution, Status, Tests
    from sandbox import registry
    from sandbox.verdict import verdict

    tests = Tests((Case("twice(21)", 42),))
    async with registry.get("docker")(1) as box:
        for body, expected in (("return 2 * x", Status.PASSED), ("return x", Status.FAILED)):
            candidate = Candidate(Solution(f"def twice(x):\n    {body}\n", "raw"), "twice", tests)
            judged = verdict(candidate, await box.run(candidate))
            if judged.status is not expected:
                raise SandboxUnavailable(
                    f"the sandbox judged a program {judged.status.value} that is {expected.value} ({judged.detail}): "
                    "make the image again with `touchstone sandbox build`"
                )
        described: Mapping[str, Any] = box.describe()
        return described


def _keys() -> Iterator[Finding]:
    from models.keys import secret

    for name in KEYS:
        try:
            there = secret(name) is not None
        except TouchstoneError as error:
            yield Finding(f"key {name}", False, str(error))
        else:
            yield Finding(f"key {name}", True if there else None, "is set" if there else "is not set")


def _disk(db: str | None) -> Finding:
    from results.database import path_of
    from runners.settings import database

    def free() -> str:
        folder = path_of(database(db)).absolute().parent
        while not folder.is_dir():
            folder = folder.parent
        space = shutil.disk_usage(folder).free
        if space < SPACE_BYTES:
            raise HostError(f"only {space >> 20} MiB are free at {folder}: make room, or name another --db")
        return f"{space >> 30} GiB free at {folder}"

    return _try("disk", free)


async def _ping(model: str) -> str:
    import models
    from core.types import Answers, Message, Request, SamplingParams
    from models.line import Line

    async with models.make(model) as made:
        await made.check()
        prompt = (Message("user", "Answer with the word ready."),)
        params = SamplingParams(temperature=None, max_tokens=16)
        request = Request("doctor", "ping", 0, 0, prompt, params, Answers("ready", ("no",)))
        completion = await Line(made).complete(request)
    text = " ".join(completion.answer.split())[:40]
    return f"answered {text!r} in {completion.total_s or 0:.2f} s"


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except TouchstoneError as error:
        return Finding(what, False, str(error))


def _words(described: Mapping[str, Any]) -> str:
    return f"{described['backend']}, {described['image']}, Python {described['python']}"


if __name__ == "__main__":
    launch(doctor, "python -m runners.doctor")
