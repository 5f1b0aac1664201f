"""The host's side of programs in other languages than Python: candidates to jobs, what they did to executions.

A program is one file, solution and tests together. It is compiled in one job and run in another; what was compiled is
kept for the next time that it is run. How it is judged is its language's (`sandbox.languages`).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from core.types import Candidate, CaseExecution, Execution, Raised, Stage
from sandbox import languages, wire
from sandbox.agent.values import MALFORMED
from sandbox.languages import Form, Language, Sign

KEPT_BYTES = 256 << 20
"""Of what was compiled."""
COMPILED_BYTES = 64 << 20
"""What a compiler may write."""
OPENED = 1024
"""Descriptors that a program may have."""
KEPT_OUTPUT = 16 << 10
"""Characters of each standard stream that are kept."""
SEARCHED = 16 << 10
"""Characters at each end of a program's output in which it is looked for what it died of."""
BASE = {"HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin"}
"""The environment of every compiler and program."""


class Programs:
    """Runs them by jobs to a worker of their language."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._compiled: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    async def run(self, candidate: Candidate, ask: wire.Ask) -> Execution:
        """What a candidate's program does in a worker of its language."""
        language, tests = languages.load(candidate.language), candidate.tests.source
        if candidate.tests.cases or len(candidate.tests.calls) != 1:
            return _execution("load", fault="the tests of a program are source, and one call that stands for all of it")
        form = language.form(tests)
        # The same for the same program, so that its compiler need not run again; and no program can know it before.
        marker = hmac.new(self._secret, wire.digest(candidate).encode(), "sha256").hexdigest()[:32]
        marked = form.marked(tests, marker)
        if form.marker is not None and marked is None:
            return _execution("load", fault=f"these tests have no place for a marker ({language.name}, {form.name})")
        code = candidate.solution.code + (tests if marked is None else marked)
        files, payload = {**language.files, form.file: code}, b""
        if form.compile is not None:
            key = hashlib.sha256(json.dumps([language.name, form.name, code]).encode()).hexdigest()
            compiled = self._compiled.get(key) or await _compiled(language, form, files, marker, candidate, ask)
            if isinstance(compiled, Execution):
                return compiled
            self._keep(key, compiled)
            files, payload = dict(language.files), compiled
        limits = candidate.limits
        job = _job(language, form.run, files, candidate, limits.cpu_s, limits.memory_bytes)
        header, blobs = await ask(job, payload, _longest(job))
        return _ran(language, form, marker, header, blobs)

    def _keep(self, key: str, compiled: bytes) -> None:
        self._bytes += len(compiled) - len(self._compiled.pop(key, b""))
        self._compiled[key] = compiled
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._compiled.popitem(last=False)[1])


async def _compiled(
    language: Language, form: Form, files: Mapping[str, str], marker: str, candidate: Candidate, ask: wire.Ask
) -> bytes | Execution:
    """What the compiler made of a program, as the agent packs it; or how that failed."""
    assert form.compile is not None
    limits = language.limits
    job = _job(language, form.compile, files, candidate, limits.compile_cpu_s, limits.memory_bytes)
    job["program"]["keep"] = True
    # No compiler sleeps: one that seems to waits for the machine.
    job["limits"] |= {"reply_bytes": COMPILED_BYTES, "wall_margin_s": limits.compile_cpu_s}
    header, blobs = await ask(job, b"", _longest(job))
    blobs = _without(marker, blobs)
    fault = header["fault"] or _missing(blobs[0])
    if fault or header["stopped_by"] is not None:
        return _execution("compile", header, blobs, fault=fault)
    if header["exit_code"] != 0:
        return _execution("compile", header, blobs, raised=_error("CompileError", _output(blobs), header))
    return blobs[0]


def _ran(language: Language, form: Form, marker: str, header: dict[str, Any], blobs: list[bytes]) -> Execution:
    """How a program ended, by the rules of its language. marker: what says that its tests came to their end."""
    fault, output = header["fault"] or _missing(blobs[0]), _output(blobs)
    blobs = _without(marker, blobs)
    if fault or header["stopped_by"] is not None:
        return _execution("tests", header, blobs, fault=fault)
    if header["exit_code"] != 0:
        ends = output if len(output) <= 2 * SEARCHED else f"{output[:SEARCHED]}\n{output[-SEARCHED:]}"
        return _failed(language.died_of(ends), header, blobs)
    if form.rejected(output, marker):
        return _failed("failed", header, blobs)
    if form.marker is not None and f"{marker}\n" not in output:
        return _execution("tests", header, blobs)
    return _execution("done", header, blobs, case=_case(header))


def _failed(sign: Sign | None, header: dict[str, Any], blobs: list[bytes]) -> Execution:
    """A program that ended otherwise than by passing. sign: what of, where that is seen."""
    output = _output(blobs)
    if sign == "failed" and (output or header["signal"] is None):
        return _execution("tests", header, blobs, case=_case(header, _error("AssertionError", output, header)))
    if sign == "out_of_memory":
        return _execution("tests", {**header, "stopped_by": "memory"}, blobs)
    if sign == "compile_error":
        return _execution("compile", header, blobs, raised=_error("CompileError", output, header))
    if header["signal"] is not None:
        return _execution("tests", header, blobs)
    return _execution("tests", header, blobs, raised=_error(f"Exit{header['exit_code']}", output, header))


def _job(
    language: Language, argv: tuple[str, ...], files: Mapping[str, str], candidate: Candidate, cpu_s: float, memory: int
) -> dict[str, Any]:
    """One program to run, or one run of a compiler. cpu_s: CPU seconds; memory: bytes."""
    limits = candidate.limits
    return {
        "program": {
            "argv": list(argv),
            "files": dict(files),
            "environment": {**BASE, **language.environment},
            "keep": False,
        },
        "limits": {
            "cpu_s": cpu_s,
            "wall_margin_s": limits.wall_margin_s,
            # Of each process: that of all of them is watched. A kernel that kills one does not say what for.
            "total_cpu_s": None,
            "memory_bytes": memory if language.limits.address_space else None,
            "output_bytes": limits.output_bytes,
            "reply_bytes": 1 << 10,
            "file_bytes": wire.FILE_BYTES,
            "processes": language.limits.processes,
            "opened": OPENED,
        },
    }


def _longest(job: Mapping[str, Any]) -> float:
    return float(job["limits"]["cpu_s"] + job["limits"]["wall_margin_s"])


def _execution(
    stage: Stage,
    header: Mapping[str, Any] | None = None,
    blobs: list[bytes] | None = None,
    *,
    raised: Raised | None = None,
    case: CaseExecution | None = None,
    fault: str | None = None,
) -> Execution:
    ended = header or {"exit_code": None, "signal": None, "stopped_by": None}
    ended = {"cpu_s": 0.0, "wall_s": 0.0, "peak_memory_bytes": 0, **ended}
    _, out, err = (_kept(blob) for blob in blobs or [b"", b"", b""])
    return Execution(
        stage=stage,
        raised=raised,
        cases=() if case is None else (case,),
        exit_code=ended["exit_code"],
        signal=ended["signal"],
        stopped_by=ended["stopped_by"],
        stdout=out,
        stderr=err,
        cpu_s=ended["cpu_s"],
        wall_s=ended["wall_s"],
        peak_memory_bytes=ended["peak_memory_bytes"],
        judging="one-process",
        fault=fault,
    )


def _case(header: Mapping[str, Any], raised: Raised | None = None) -> CaseExecution:
    """All the tests of a program are one case."""
    spent = header["cpu_s"], header["wall_s"], header["peak_memory_bytes"]
    return CaseExecution(None, raised, *spent)


def _error(kind: str, output: str, header: Mapping[str, Any]) -> Raised:
    said = output.strip()[:KEPT_OUTPUT]
    return Raised((kind,), said or f"it ended with {header['exit_code']} and said nothing")


def _output(blobs: list[bytes]) -> str:
    """Standard output, then standard error."""
    return "\n".join(blob.decode("utf-8", "replace") for blob in blobs[1:] if blob)


def _without(marker: str, blobs: list[bytes]) -> list[bytes]:
    """The blobs, the marker gone from the output: it differs from run to run, and no record should."""
    reply, *streams = blobs
    return [reply, *(blob.replace(f"{marker}\n".encode(), b"").replace(marker.encode(), b"MARKER") for blob in streams)]


def _kept(stream: bytes) -> str:
    """The beginning of a stream."""
    return stream[: 4 * KEPT_OUTPUT].decode("utf-8", "replace")[:KEPT_OUTPUT]


def _missing(reply: bytes) -> str | None:
    """What the agent says where the image lacks what should run: the sandbox's fault."""
    try:
        said = json.loads(reply[4 : 4 + int.from_bytes(reply[:4], "big")])
        return str(said["missing"]) if isinstance(said, dict) else None
    except MALFORMED:
        return None
