"""The host's side of the agent's protocol: candidates to jobs, replies to executions.

What a candidate sends is hostile: it is bounded by the agent, parsed as JSON, and rebuilt of builtin types; whatever
does not fit the protocol ends the parsing, and what came before it counts.
"""

from __future__ import annotations

import hashlib
import json
import math
import secrets
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from core.types import Candidate, CaseExecution, Execution, Judging, Opaque, Raised, Stage
from sandbox.agent import values
from sandbox.agent.values import MALFORMED
from sandbox.pythons import is_python

Report = tuple[dict[str, Any], list[bytes]]
"""The agent's header, and its blobs: reply, standard output, standard error."""
Ask = Callable[[dict[str, Any], bytes, float], Awaitable[Report]]
"""Has a worker do a job, with the bytes that go with it, in at most so many seconds on an idle machine."""
OPENED = 256
"""Descriptors that a candidate may have."""
FILE_BYTES = 64 << 20
"""The largest file that a candidate may write; the file systems hold no more either."""


async def run(candidate: Candidate, ask: Ask) -> Execution:
    """What a candidate in Python does in a worker: its test code apart from it, unless what it hands over cannot cross
    and the tests leave that open."""
    told = job(candidate)
    header, blobs = await ask(told, b"", longest(candidate))
    if header["fault"] is not None and candidate.tests.shared is None:
        return await run(replace(candidate, tests=replace(candidate.tests, shared=True)), ask)
    return execution(candidate, told["nonce"], header, blobs)


def job(candidate: Candidate) -> dict[str, Any]:
    """What the agent is told of a candidate: no expected value is in it."""
    limits, tests = candidate.limits, candidate.tests
    return {
        "nonce": secrets.token_hex(16),
        "solution": _imported(candidate.entry_point) if candidate.files else candidate.solution.code,
        "files": dict(candidate.files),
        "cases": [
            {"setup": c.setup, "call": c.call, "cpu_s": limits.cpu_s if c.cpu_s is None else c.cpu_s}
            for c in tests.cases
        ],
        "source": tests.source,
        "calls": list(tests.calls),
        "shared": tests.shared,
        "entry_point": candidate.entry_point.rpartition(":")[2],
        "limits": {
            "cpu_s": limits.cpu_s,
            "wall_margin_s": limits.wall_margin_s,
            "total_cpu_s": math.ceil(longest(candidate)) + 1,
            "memory_bytes": limits.memory_bytes,
            "output_bytes": limits.output_bytes,
            "reply_bytes": limits.reply_bytes,
            "file_bytes": FILE_BYTES,
            "processes": limits.processes,
            "opened": OPENED,
        },
    }


def _imported(entry_point: str) -> str:
    """What brings a project's entry point, MODULE:NAME, into the names of the solution."""
    module, _, name = entry_point.partition(":")
    return f"from {module} import {name}\n"


def digest(candidate: Candidate) -> str:
    """SHA-256 of all that the agent is told of a candidate, in hexadecimal."""
    told = job(candidate)
    del told["nonce"]
    told["language"] = candidate.language
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def longest(candidate: Candidate) -> float:
    """The wall time in seconds after which a candidate has been stopped, whatever it does.

    Its last case may be over and its end not: that has a case's time once more.
    """
    limits, tests = candidate.limits, candidate.tests
    cases = [limits.cpu_s if case.cpu_s is None else case.cpu_s for case in tests.cases]
    cases += [limits.cpu_s] * len(tests.calls)
    return sum(cases) + max(cases) + limits.wall_margin_s * (len(cases) + 1)


def judging(candidate: Candidate) -> Judging:
    """Who compares."""
    if not is_python(candidate.language):
        return "one-process"
    if not candidate.tests.calls:
        return "data"
    return "one-process" if candidate.tests.shared else "two-process"


def execution(candidate: Candidate, nonce: str, header: Mapping[str, Any], blobs: list[bytes]) -> Execution:
    """What happened, from the agent's header and the blobs after it: reply, standard output, standard error."""
    stage: Stage = "load"
    raised: Raised | None = None
    cases: list[CaseExecution] = []
    served = judging(candidate) == "two-process"
    expected = len(candidate.tests.cases) + (0 if served else len(candidate.tests.calls))
    try:
        for frame in _frames(blobs[0], nonce):
            named = frame.get("stage")
            if named in ("compile", "load") and stage == "load":
                raised = _raised(frame["raised"])
                stage = named
                break
            if named == "tests" and stage == "load":
                stage = "tests"
            elif named == "done" and stage == "tests" and len(cases) == expected:
                stage = "done"
                break
            elif named is None and stage == "tests" and len(cases) < expected:
                cases.append(_case(frame))
            else:
                break
    except MALFORMED:
        pass
    if served and stage == "done":
        cases += map(_case, header["calls"])
        stage = "done" if len(header["calls"]) == len(candidate.tests.calls) else "tests"
    return Execution(
        stage=stage,
        raised=raised,
        cases=tuple(cases),
        exit_code=header["exit_code"],
        signal=header["signal"],
        stopped_by=header["stopped_by"],
        stdout=blobs[1].decode("utf-8", "replace"),
        stderr=blobs[2].decode("utf-8", "replace"),
        cpu_s=header["cpu_s"],
        wall_s=header["wall_s"],
        peak_memory_bytes=header["peak_memory_bytes"],
        judging=judging(candidate),
        fault=header["fault"],
    )


def decode(value: Any) -> Any:
    """What `sandbox.agent.values.encode` made of a value, rebuilt. Raises one of its `MALFORMED`."""
    return values.decode(value, Opaque)


def _frames(reply: bytes, nonce: str) -> Iterator[dict[str, Any]]:
    """The frames that are whole, well formed and the harness's own, up to the first that is not."""
    position = 0
    while position + 4 <= len(reply):
        (size,) = struct.unpack_from(">I", reply, position)
        body = reply[position + 4 : position + 4 + size]
        position += 4 + size
        try:
            frame = _parse(body.decode())
            if len(body) < size or not secrets.compare_digest(frame["nonce"], nonce):
                return
        except MALFORMED:
            return
        yield frame


def _refuse(constant: str) -> None:
    raise ValueError(constant)


_parse = json.JSONDecoder(parse_constant=_refuse).decode


def _case(frame: Mapping[str, Any]) -> CaseExecution:
    return CaseExecution(
        value=_value(frame["value"]) if "value" in frame else None,
        raised=_raised(frame["raised"]) if "raised" in frame else None,
        cpu_s=_amount(frame["cpu_s"]),
        wall_s=_amount(frame["wall_s"]),
        peak_memory_bytes=int(_amount(frame["peak"])),
    )


def _value(sent: Any) -> Any:
    """A value, rebuilt; one that cannot be is no reason to doubt the frames around it, and equal to nothing."""
    try:
        return decode(sent)
    except MALFORMED:
        return Opaque("a value that cannot be rebuilt")


def _amount(number: float) -> float:
    """A time or a size, where it can be one: who has stolen the nonce may have written anything."""
    if not 0 <= number < 1 << 50:
        raise ValueError("no amount")
    return number


def _raised(record: Mapping[str, Any]) -> Raised:
    kinds = tuple(str(kind) for kind in record["kinds"])
    if not kinds:
        raise ValueError("an exception of no kind")
    return Raised(kinds, str(record["message"]), str(record["traceback"]))
