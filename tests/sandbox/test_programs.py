from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.types import Candidate, Case, Execution, Limits, Solution, Status, Tests, Verdict
from sandbox import languages, programs
from sandbox.agent import program
from sandbox.agent.frames import dumps
from sandbox.languages import Language
from sandbox.programs import Programs
from sandbox.verdict import verdict

Report = tuple[dict[str, Any], list[bytes]]
Job = dict[str, Any]
MARKER = re.compile(r"[0-9a-f]{32}")


def ended(out: str = "", err: str = "", exit_code: int | None = 0, reply: bytes = b"", **facts: Any) -> Report:
    """What an agent says of a program."""
    header = {"exit_code": exit_code, "signal": None, "stopped_by": None, "fault": None, "delay_s": None, "clean": True}
    header |= {"cpu_s": 0.5, "wall_s": 0.6, "peak_memory_bytes": 7, **facts}
    return header, [reply, out.encode("utf-8", "surrogateescape"), err.encode("utf-8", "surrogateescape")]


def frame(body: object) -> bytes:
    """What an agent's reply begins with."""
    text = dumps(body).encode()
    return struct.pack(">I", len(text)) + text


def compiled(content: bytes = b"ELF") -> Report:
    """A compiler that has left one file."""
    return ended(reply=frame([["program", 0o755, len(content)]]) + content)


class Agent:
    """Does as it is told for every job, and keeps them.

    run: what a program does, by its marker. compile: what the compiler does.
    """

    def __init__(
        self,
        run: Callable[[str], Report] = lambda marker: ended(f"{marker}\n"),
        compile: Callable[[], Report] = compiled,
    ) -> None:
        self._run, self._compile = run, compile
        self.jobs: list[Job] = []
        self.payloads: list[bytes] = []
        self.marker = ""

    @property
    def compilations(self) -> int:
        return sum(job["program"]["keep"] for job in self.jobs)

    async def __call__(self, job: Job, payload: bytes, longest_s: float) -> Report:
        self.jobs.append(job)
        self.payloads.append(payload)
        for text in job["program"]["files"].values():
            self.marker = (MARKER.findall(text) or [self.marker])[-1]
        return self._compile() if job["program"]["keep"] else self._run(self.marker)


def asked(language: str, code: str = "", **changes: Any) -> Candidate:
    """A program whose tests are the language's example."""
    tests = Tests(source=languages.load(language).passes, calls=("tests",))
    return replace(Candidate(Solution(code, "raw"), "f", tests, Limits(cpu_s=2.0), language), **changes)


async def judged(agent: Agent, candidate: Candidate, by: Programs | None = None) -> tuple[Execution, Verdict]:
    execution = await (by or Programs()).run(candidate, agent)
    return execution, verdict(candidate, execution)


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_run_when_there_is_nothing_to_compile_then_is_one_job() -> None:
    agent = Agent()
    execution, found = await judged(agent, asked("lua", "-- a comment\n"))
    assert found.status is Status.PASSED
    assert (execution.cpu_s, execution.wall_s, execution.peak_memory_bytes) == (0.5, 0.6, 7)
    assert execution.judging == "one-process"
    (job,) = agent.jobs
    assert job["program"]["argv"] == ["lua5.3", "program.lua"]
    assert list(job["program"]["files"]) == ["program.lua"]
    text = job["program"]["files"]["program.lua"]
    assert text == f'-- a comment\n{languages.load("lua").passes}\nprint("{agent.marker}")\n'
    assert agent.payloads == [b""]


async def test_run_when_there_is_a_compiler_then_what_it_makes_is_run_without_the_source() -> None:
    agent = Agent()
    _, found = await judged(agent, asked("cpp"))
    assert found.status is Status.PASSED
    compiling, running = agent.jobs
    assert compiling["program"]["argv"][0] == "g++"
    assert list(compiling["program"]["files"]) == ["program.cpp"]
    assert running["program"]["argv"] == ["./program"]
    assert running["program"]["files"] == {}
    assert agent.payloads == [b"", compiled()[1][0]]


async def test_run_when_a_language_has_files_of_its_own_then_they_are_laid_beside_the_program() -> None:
    agent = Agent()
    await judged(agent, asked("javascript"))
    assert set(agent.jobs[0]["program"]["files"]) == {"program.js", "node_modules/js-md5.js"}


async def test_run_then_the_compiler_has_the_languages_limits_and_the_program_the_candidates() -> None:
    agent, own = Agent(), languages.load("cpp").limits
    await judged(agent, asked("cpp", limits=Limits(cpu_s=2.5, memory_bytes=1 << 28, output_bytes=1 << 10)))
    compiling, running = (job["limits"] for job in agent.jobs)
    assert (compiling["cpu_s"], running["cpu_s"]) == (own.compile_cpu_s, 2.5)
    assert (compiling["memory_bytes"], running["memory_bytes"]) == (own.memory_bytes, 1 << 28)
    assert compiling["output_bytes"] == running["output_bytes"] == 1 << 10
    assert compiling["reply_bytes"] == programs.COMPILED_BYTES > running["reply_bytes"]
    assert compiling["processes"] == running["processes"] == own.processes


async def test_run_when_a_runtime_reserves_more_than_it_uses_then_its_address_space_is_not_bounded() -> None:
    agent = Agent()
    await judged(agent, asked("java"))
    assert [job["limits"]["memory_bytes"] for job in agent.jobs] == [None, None]


async def test_run_then_the_environment_is_the_same_for_all_but_what_the_language_adds() -> None:
    agent = Agent()
    await judged(agent, asked("go"))
    for job in agent.jobs:
        assert job["program"]["environment"] == {**programs.BASE, **languages.load("go").environment}


# ── what was compiled ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_run_when_a_program_comes_again_then_it_is_not_compiled_again() -> None:
    agent, same = Agent(), Programs()
    for _ in range(3):
        _, found = await judged(agent, asked("cpp"), same)
        assert found.status is Status.PASSED
    assert (agent.compilations, len(agent.jobs)) == (1, 4)
    await judged(agent, asked("cpp", "// another"), same)
    assert agent.compilations == 2


async def test_run_when_a_program_did_not_compile_then_it_is_compiled_again() -> None:
    agent, same = Agent(compile=lambda: ended(err="no", exit_code=1)), Programs()
    for _ in range(2):
        _, found = await judged(agent, asked("cpp"), same)
        assert found.status is Status.COMPILE_ERROR
    assert (agent.compilations, len(agent.jobs)) == (2, 2)


async def test_run_when_more_is_compiled_than_is_kept_then_the_least_used_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "KEPT_BYTES", 2 * len(compiled()[1][0]))
    agent, same = Agent(), Programs()
    for code, compilations in (("//1", 1), ("//2", 2), ("//1", 2), ("//3", 3), ("//1", 3), ("//2", 4), ("//1", 4)):
        await judged(agent, asked("cpp", code), same)
        assert agent.compilations == compilations, code


# ── the marker ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_marker_then_is_a_programs_own_and_a_runs_own() -> None:
    first, second = Programs(), Programs()
    markers = []
    for by, code in ((first, "#"), (first, "#"), (first, "##"), (second, "#")):
        agent = Agent()
        await judged(agent, asked("bash", code), by)
        markers.append(agent.marker)
    assert markers[0] == markers[1]
    assert len(set(markers)) == 3


@pytest.mark.parametrize("language", languages.names())
@pytest.mark.parametrize(
    "out",
    [
        lambda marker: "",
        lambda marker: marker,
        lambda marker: f"{marker[:-1]}\n",
        lambda marker: f"{marker.upper()}\n" if marker.upper() != marker else "",
        lambda marker: f'print "{marker}\\n";\n',
        lambda marker: f'"{marker}"\n',
    ],
    ids=["nothing", "no line", "a part", "capitals", "its source", "in quotes"],
)
async def test_run_when_the_marker_is_not_printed_on_a_line_then_it_has_exited_early(
    language: str, out: Callable[[str], str]
) -> None:
    execution, found = await judged(Agent(lambda marker: ended(out(marker))), asked(language))
    assert found.status is Status.EXITED_EARLY
    assert execution.stage == "tests"


@pytest.mark.parametrize("facts", [{"exit_code": 1}, {"exit_code": None, "signal": 11}, {"stopped_by": "cpu"}])
async def test_run_when_the_marker_is_printed_and_the_end_is_bad_then_it_has_not_passed(facts: dict[str, Any]) -> None:
    _, found = await judged(Agent(lambda marker: ended(f"{marker}\n", **facts)), asked("lua"))
    assert found.status in (Status.CRASHED, Status.TIMED_OUT)


async def test_run_when_the_marker_comes_on_either_stream_with_other_output_then_it_has_passed() -> None:
    for report in (lambda m: ended("some\n", f"more\n{m}\n"), lambda m: ended(f"ok!ok!{m}\n", "a warning")):
        execution, found = await judged(Agent(report), asked("lua"))
        assert found.status is Status.PASSED
        assert execution.stage == "done"


async def test_run_then_no_record_holds_the_marker() -> None:
    for report in (
        lambda m: ended(f"ok!{m}\nbye", f'syntax error near "{m}"'),
        lambda m: ended(f"{m}\n", f'echo "{m}"', exit_code=2),
    ):
        agent = Agent(report)
        execution, found = await judged(agent, asked("bash"))
        assert len(agent.marker) == 32
        assert agent.marker not in repr((execution, found))
    failing = Agent(compile=lambda: ended(err=f'puts("{failing.marker}")', exit_code=1))
    execution, found = await judged(failing, asked("cpp"))
    assert found.detail == 'CompileError: puts("MARKER")'
    assert execution.stderr == 'puts("MARKER")'


@pytest.mark.parametrize(
    ("tests", "marked"),
    [
        ("int main() { f(); return 0; }\n", "f();"),
        ("int main() { f(); return EXIT_SUCCESS ; }", "f();"),
        ("int main() {\n  return 0;\n}\n", "int main() {"),
        ("int main() { if (f()) return 0; }\n", "int main() { if (f()) return 0;"),
        ("int main() { f(); return 1; }\n", "f(); return 1;"),
    ],
)
async def test_marked_when_main_ends_with_a_return_then_the_marker_comes_before_it(tests: str, marked: str) -> None:
    text = languages.load("cpp").form(tests).marked(tests, "M" * 32)
    assert text is not None
    before, _, after = text.partition("#ifdef assert")
    assert before.rstrip().endswith(marked)
    assert after.rstrip().endswith(f'__builtin_puts("{"M" * 32}"); }}')
    assert "return" not in after


# ── how programs end ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("stopped_by", "status"),
    [
        ("cpu", Status.TIMED_OUT),
        ("wall", Status.TIMED_OUT),
        ("memory", Status.OUT_OF_MEMORY),
        ("output", Status.OUTPUT_LIMIT),
    ],
)
async def test_run_when_it_is_stopped_then_says_by_what_and_at_which_stage(stopped_by: str, status: Status) -> None:
    report = ended(exit_code=None, signal=9, stopped_by=stopped_by)
    execution, found = await judged(Agent(lambda marker: report), asked("cpp"))
    assert (found.status, execution.stage) == (status, "tests")
    execution, found = await judged(Agent(compile=lambda: report), asked("cpp"))
    assert (found.status, execution.stage) == (status, "compile")


@pytest.mark.parametrize(
    ("language", "facts", "status", "detail"),
    [
        ("bash", {"exit_code": 1}, Status.FAILED, "it ended with 1"),
        ("bash", {"exit_code": None, "signal": 11}, Status.CRASHED, "ended by signal 11"),
        ("bash", {"exit_code": 2, "err": "a.sh: line 1: syntax error near `('"}, Status.COMPILE_ERROR, "syntax error"),
        ("bash", {"exit_code": 2, "err": "a.sh: xrealloc: cannot allocate 9 bytes"}, Status.OUT_OF_MEMORY, "memory"),
        ("cpp", {"exit_code": None, "signal": 6, "err": "a: Assertion `f()' failed."}, Status.FAILED, "Assertion"),
        ("cpp", {"exit_code": None, "signal": 6, "err": "what():  std::bad_alloc"}, Status.OUT_OF_MEMORY, "memory"),
        ("cpp", {"exit_code": None, "signal": 11}, Status.CRASHED, "ended by signal 11"),
        ("go", {"exit_code": 1, "out": "--- FAIL: TestF (0.00s)\nFAIL\n"}, Status.FAILED, "FAIL"),
        ("go", {"exit_code": 2, "out": "--- FAIL: TestF\npanic: no\n"}, Status.CRASHED, "Exit2: --- FAIL"),
        ("java", {"exit_code": 1, "err": "java.lang.AssertionError\n"}, Status.FAILED, "AssertionError"),
        ("java", {"exit_code": 1, "err": "java.lang.OutOfMemoryError: heap"}, Status.OUT_OF_MEMORY, "memory"),
        ("javascript", {"exit_code": 1, "err": "code: 'ERR_ASSERTION'"}, Status.FAILED, "ERR_ASSERTION"),
        ("perl", {"exit_code": 0, "out": "ERROR\n"}, Status.FAILED, "ERROR"),
        ("php", {"exit_code": 255, "out": "PHP Parse error:  x"}, Status.COMPILE_ERROR, "CompileError"),
        ("python3.13", {"exit_code": 1, "err": "Traceback\nValueError: x"}, Status.CRASHED, "Exit1: Traceback"),
        ("rust", {"exit_code": 101, "err": "assertion `left == right` failed"}, Status.FAILED, "assertion"),
        ("rust", {"exit_code": 101, "err": "assertion failed: f()"}, Status.FAILED, "assertion"),
        ("rust", {"exit_code": 101, "err": "index out of bounds"}, Status.CRASHED, "Exit101: index"),
    ],
)
async def test_run_when_it_ends_badly_then_the_language_says_of_what(
    language: str, facts: dict[str, Any], status: Status, detail: str
) -> None:
    _, found = await judged(Agent(lambda marker: ended(**facts)), asked(language))
    assert found.status is status
    assert detail in found.detail


async def test_run_when_a_failed_test_only_says_so_then_output_decides() -> None:
    tests = Tests(source="console.assert(f());\n", calls=("tests",))
    for said, status in (("", Status.PASSED), ("Assertion failed\n", Status.FAILED)):
        agent = Agent(lambda marker, said=said: ended(f"{marker}\n", said))  # type: ignore[misc]
        _, found = await judged(agent, asked("javascript", tests=tests))
        assert found.status is status


async def test_run_when_the_compiler_fails_then_says_what_it_said() -> None:
    execution, found = await judged(Agent(compile=lambda: ended("", "error: x", exit_code=1)), asked("rust"))
    assert (found.status, found.detail) == (Status.COMPILE_ERROR, "CompileError: error: x")
    assert (execution.stage, execution.exit_code) == ("compile", 1)


async def test_run_when_it_writes_much_then_a_part_is_kept_and_a_part_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[str] = []
    died_of = Language.died_of

    def spy(language: Language, output: str) -> Any:
        searched.append(output)
        return died_of(language, output)

    monkeypatch.setattr(Language, "died_of", spy)
    report = ended("first " + "a" * 10**6, "b" * 10**6 + "\nAssertionError: last", exit_code=1)
    execution, found = await judged(Agent(lambda marker: report), asked("python3.13"))
    assert found.status is Status.FAILED
    assert len(searched[0]) == 2 * programs.SEARCHED + 1
    assert len(execution.stdout) == len(execution.stderr) == programs.KEPT_OUTPUT
    assert execution.stdout.startswith("first ")


async def test_run_when_its_output_is_no_text_then_it_is_judged_all_the_same() -> None:
    execution, found = await judged(Agent(lambda marker: ended(f"\udcff\udcfe\n{marker}\n")), asked("lua"))
    assert found.status is Status.PASSED
    assert execution.stdout == "\ufffd\ufffd\n"


# ── the sandbox's own faults ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("language", ["cpp", "lua"])
async def test_run_when_the_image_lacks_what_should_run_then_that_is_no_verdict(language: str) -> None:
    report = ended(exit_code=126, reply=frame({"missing": "g++: No such file or directory"}))
    _, found = await judged(Agent(lambda marker: report, lambda: report), asked(language))
    assert (found.status, found.detail) == (Status.SANDBOX_ERROR, "g++: No such file or directory")


@pytest.mark.parametrize(
    "reply", [b"", b"\0", b"\0\0\0\x02[]", b"\0\0\0\x04null", b"\xff\xff\xff\xff{", b"\0\0\0\x02{}"]
)
async def test_run_when_the_reply_says_nothing_of_a_lack_then_the_program_is_judged(reply: bytes) -> None:
    _, found = await judged(Agent(lambda marker: ended(f"{marker}\n", reply=reply)), asked("lua"))
    assert found.status is Status.PASSED


async def test_run_when_the_agent_has_failed_then_that_is_no_verdict() -> None:
    _, found = await judged(Agent(lambda marker: ended(f"{marker}\n", fault="the agent's own")), asked("lua"))
    assert (found.status, found.detail) == (Status.SANDBOX_ERROR, "the agent's own")


@pytest.mark.parametrize(
    ("language", "tests", "said"),
    [
        ("cpp", Tests(source="int main();", calls=("tests",)), "no place for a marker (cpp, main)"),
        ("lua", Tests(cases=(Case("f()", 1),)), "are source, and one call"),
        ("lua", Tests(cases=(Case("f()", None),), source="f()", calls=("tests",)), "are source, and one call"),
        ("lua", Tests(source="f()", calls=("one", "two")), "are source, and one call"),
    ],
)
async def test_run_when_tests_are_not_a_programs_then_that_is_no_verdict(
    language: str, tests: Tests, said: str
) -> None:
    agent = Agent()
    _, found = await judged(agent, asked(language, tests=tests))
    assert found.status is Status.SANDBOX_ERROR
    assert said in found.detail
    assert agent.jobs == []


# ── the agent's part ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs are laid."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(program, "FOLDER", str(tmp_path / "program"))
    return tmp_path / "program"


def test_lay_then_writes_every_file_of_a_program_and_starts_among_them(folder: Path) -> None:
    program._lay({"program.x": "a\r\n\ud800é", "deep/er/file": ""}, b"")
    assert Path.cwd() == folder
    assert (folder / "program.x").read_bytes() == b"a\r\n\xed\xa0\x80\xc3\xa9"
    assert (folder / "deep/er/file").read_bytes() == b""


def test_kept_then_is_laid_again_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"Main.java": "source", "lib/given.js": "given"}
    program._lay(given, b"")
    content = {"Main.class": b"\0\1", "Main$1.class": b"", "lib/Größe.class": b"2" * 5000, "lib/a\udcffb c": b"3"}
    for path, data in content.items():
        (folder / path).write_bytes(data)
    (folder / "Main.class").chmod(0o755)
    (folder / "passwords").symlink_to("/etc/passwd")
    (folder / "folder").symlink_to("/etc")
    parts = program._kept(given)
    payload = struct.pack(">I", len(parts[0])) + b"".join(parts)
    monkeypatch.setattr(program, "FOLDER", str(folder.with_name("again")))
    program._lay({}, payload)
    again = folder.with_name("again")
    assert {str(path.relative_to(again)): path.read_bytes() for path in again.rglob("*") if path.is_file()} == content
    assert (again / "Main.class").stat().st_mode & 0o777 == 0o755
    assert not (again / "Main$1.class").stat().st_mode & 0o111
    assert json.loads(parts[0]) == [[*entry[:2], len(content[entry[0]])] for entry in json.loads(parts[0])]
