"""Programs in every language, in the containers that run them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from benchmarks import humanevalpack
from core.types import Candidate, Execution, Limits, Solution, Status, Tests, Verdict
from sandbox import languages
from sandbox.corpus import corpus
from sandbox.docker import DockerSandbox
from sandbox.languages import Language
from sandbox.verdict import verdict
from tests.sandbox import programs
from tests.sandbox.test_languages import HUMANEVALPACK, MULTIPL_E, rows

pytestmark = [pytest.mark.slow, pytest.mark.engine, pytest.mark.asyncio(loop_scope="module")]

LIMITS = Limits(cpu_s=10.0, wall_margin_s=20.0)
"""No correct program comes near them."""
SHORT = Limits(cpu_s=1.0, wall_margin_s=1.0)
COMPILED = sorted(programs.LISTING)
every_language = pytest.mark.parametrize("language", languages.names())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[DockerSandbox]:
    """Two slots for all languages, their images built where they are missing."""
    async with DockerSandbox(2, say=print) as only:
        yield only


def asked(language: str, solution: str = "", tests: str | None = None, limits: Limits = LIMITS) -> Candidate:
    """A program; without tests it is the language's example."""
    source = languages.load(language).passes if tests is None else tests
    return Candidate(Solution(solution, "raw"), "", Tests(source=source, calls=("tests",)), limits, language)


async def judged(sandbox: DockerSandbox, candidate: Candidate) -> tuple[Execution, Verdict]:
    execution = await sandbox.run(candidate)
    return execution, verdict(candidate, execution)


async def statuses(sandbox: DockerSandbox, candidates: list[Candidate]) -> list[Status]:
    return [found.status for _, found in await asyncio.gather(*(judged(sandbox, each) for each in candidates))]


def altered(monkeypatch: pytest.MonkeyPatch, name: str, form: dict[str, Any] | None = None, **changes: Any) -> None:
    """Have a language be another, in the same image. form: changes of its last form."""
    load = languages.load
    language = load(name)
    language = replace(language, forms=(replace(language.forms[-1], **form or {}),), **changes)

    def loaded(asked: str) -> Language:
        return language if asked == name else load(asked)

    monkeypatch.setattr(languages, "load", loaded)


# ── every language ───────────────────────────────────────────────────────────────────────────────────────────────────


@every_language
async def test_image_when_the_version_is_asked_for_then_the_toolchain_is_there(
    sandbox: DockerSandbox, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    altered(monkeypatch, language, {"compile": None, "run": languages.load(language).version, "marker": None})
    execution, found = await judged(sandbox, asked(language))
    assert found.status is Status.PASSED, found
    assert re.search(r"\d+\.\d+", execution.stdout + execution.stderr)


@every_language
async def test_program_when_it_is_an_example_then_its_verdict_is_as_its_name_says(
    sandbox: DockerSandbox, language: str
) -> None:
    own = languages.load(language)
    assert (await judged(sandbox, asked(language, "", own.passes)))[1].status is Status.PASSED
    assert (await judged(sandbox, asked(language, "", own.fails)))[1].status in (Status.FAILED, Status.CRASHED)


@every_language
async def test_program_when_it_is_broken_then_has_a_compile_error(sandbox: DockerSandbox, language: str) -> None:
    first, rest = languages.load(language).passes.split("\n", 1)
    execution, found = await judged(sandbox, asked(language, f"{first}\n)]}} end\n", rest))
    assert (found.status, execution.stage) == (Status.COMPILE_ERROR, "compile"), found


@every_language
async def test_program_when_the_solution_ends_it_with_0_then_has_not_passed(
    sandbox: DockerSandbox, language: str
) -> None:
    execution, found = await judged(sandbox, asked(language, *programs.EXITS[language]))
    assert (found.status, execution.exit_code) == (Status.EXITED_EARLY, 0), found


@pytest.mark.parametrize("language", [name for name in languages.names() if name != "bash"])
async def test_program_when_it_takes_memory_without_end_then_is_out_of_memory(
    sandbox: DockerSandbox, language: str
) -> None:
    (bomb,) = (probe.candidate for probe in corpus(language).probes if probe.name == "memory-bomb")
    execution, found = await judged(sandbox, replace(bomb, limits=replace(LIMITS, cpu_s=20.0)))
    assert (found.status, execution.stage) == (Status.OUT_OF_MEMORY, "tests"), found


@pytest.mark.parametrize("language", COMPILED)
async def test_program_when_it_was_compiled_then_no_source_lies_beside_it(
    sandbox: DockerSandbox, language: str
) -> None:
    execution, found = await judged(sandbox, asked(language, *programs.LISTING[language]))
    assert found.status is Status.PASSED, found
    made = {"./Problem.class", "./Solution.class"} if language == "java" else {"./program"}
    assert {line for line in execution.stderr.splitlines() if line.startswith("./")} == made


# ── what the data of others says ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("folder", "language"), HUMANEVALPACK.items())
async def test_program_when_it_is_of_humanevalpack_then_the_reference_passes_and_the_bug_does_not(
    sandbox: DockerSandbox, folder: str, language: str
) -> None:
    chosen = [
        (program, asked(language, program.candidate.solution.code, humanevalpack.assembled(folder, row, "")[1]))
        for row in rows(f"humanevalpack/{folder}.jsonl.gz")[::8]
        for program in humanevalpack.programs(folder, row)
        if program.task_id not in humanevalpack.CAUSES
    ]
    assert len(chosen) >= 40
    found = await statuses(sandbox, [candidate for _, candidate in chosen])
    wrong = [
        (program.task_id, program.field, status)
        for (program, _), status in zip(chosen, found, strict=True)
        if (status is Status.PASSED) is not humanevalpack.SOLUTIONS[program.field] or not status.graded
    ]
    assert wrong == []


@pytest.mark.parametrize("alias", MULTIPL_E)
async def test_program_when_it_is_of_multipl_e_then_right_passes_and_wrong_fails(
    sandbox: DockerSandbox, alias: str
) -> None:
    row = next(r for r in rows(f"multipl_e/humaneval-{alias}.jsonl.gz") if r["name"] == "HumanEval_53_add")
    right = programs.ADD[alias]
    solutions = [row["prompt"] + right, row["prompt"] + right.replace("+", "-")]
    found = await statuses(sandbox, [asked(alias, solution, "\n" + row["tests"]) for solution in solutions])
    assert found == [Status.PASSED, Status.FAILED]


# ── how programs end ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "status", "stopped_by"),
    [
        ("while :; do :; done", Status.TIMED_OUT, "cpu"),
        ("sleep 1000", Status.TIMED_OUT, "wall"),
        ("yes", Status.OUTPUT_LIMIT, "output"),
        ("kill -SEGV $$", Status.CRASHED, None),
        ("nothing_of_that_name", Status.FAILED, None),
        ("exit", Status.EXITED_EARLY, None),
    ],
)
async def test_program_when_it_ends_badly_then_has_the_status_of_that(
    sandbox: DockerSandbox, code: str, status: Status, stopped_by: str | None
) -> None:
    execution, found = await judged(sandbox, asked("bash", "", f"{code}\nexit 3\n", SHORT))
    assert (found.status, execution.stopped_by) == (status, stopped_by), found


@pytest.mark.languages
async def test_program_when_many_threads_use_up_its_time_then_it_has_timed_out(sandbox: DockerSandbox) -> None:
    code = (
        "package main\n\nfunc main() {\n\tfor i := 0; i < 8; i++ {\n\t\tgo func() { for {} }()\n\t}\n\tselect {}\n}\n"
    )
    execution, found = await judged(sandbox, asked("go", "", code, SHORT))
    assert (found.status, execution.stopped_by) == (Status.TIMED_OUT, "cpu"), found


async def test_program_when_it_writes_almost_too_much_then_passes_and_the_beginning_is_kept(
    sandbox: DockerSandbox,
) -> None:
    execution, found = await judged(sandbox, asked("bash", "head -c 4100000 /dev/zero | tr '\\0' x\n", "true", SHORT))
    assert found.status is Status.PASSED, found
    assert set(execution.stdout) == {"x"}
    assert len(execution.stdout) == 16 << 10


async def test_program_when_the_language_is_unknown_then_says_the_closest(sandbox: DockerSandbox) -> None:
    candidate = replace(asked("bash"), language="javascrpt")
    _, found = await judged(sandbox, candidate)
    assert found.status is Status.SANDBOX_ERROR
    assert "did you mean 'javascript'" in found.detail


@pytest.mark.parametrize("form", [{"run": ("nolua", "x")}, {"compile": ("nolua", "x")}, {"run": ("nolua/nolua",)}])
async def test_program_when_the_image_lacks_its_toolchain_then_that_is_not_the_programs_failure(
    sandbox: DockerSandbox, monkeypatch: pytest.MonkeyPatch, form: dict[str, Any]
) -> None:
    altered(monkeypatch, "lua", form)
    _, found = await judged(sandbox, asked("lua"))
    lacks = "/" not in "".join(form.get("run", ""))
    assert found.status is (Status.SANDBOX_ERROR if lacks else Status.CRASHED)
    assert "nolua: No such file or directory" in found.detail


# ── compilers ────────────────────────────────────────────────────────────────────────────────────────────────────────

ENDLESS = {
    "templates": next(each for each in corpus("cpp").probes if each.name == "templates-without-end"),
    "constants": next(each for each in corpus("rust").probes if each.name == "endless-constant"),
}


@pytest.mark.parametrize("probe", ENDLESS.values(), ids=ENDLESS)
async def test_compiler_when_it_runs_for_ever_then_the_program_has_timed_out(
    sandbox: DockerSandbox, monkeypatch: pytest.MonkeyPatch, probe: Any
) -> None:
    own = languages.load(probe.language)
    altered(monkeypatch, probe.language, limits=replace(own.limits, compile_cpu_s=1.0))
    execution, found = await judged(sandbox, probe.candidate)
    assert (found.status, execution.stage, execution.stopped_by) == (Status.TIMED_OUT, "compile", "cpu"), found


async def test_compiler_when_it_wants_more_memory_than_there_is_then_the_program_does_not_compile(
    sandbox: DockerSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = languages.load("cpp")
    altered(monkeypatch, "cpp", limits=replace(own.limits, memory_bytes=64 << 20))
    execution, found = await judged(sandbox, asked("cpp", "// not compiled before\n"))
    assert (found.status, execution.stage) == (Status.COMPILE_ERROR, "compile"), found


async def test_compiler_when_what_it_makes_is_huge_then_it_is_not_kept(sandbox: DockerSandbox) -> None:
    for megabytes, expected in ((40, {Status.PASSED}), (70, {Status.OUTPUT_LIMIT, Status.COMPILE_ERROR})):
        code = f'asm(".data\\n.fill {megabytes << 20}, 1, 7\\n.text");\nint main() {{ }}\n'
        _, found = await judged(sandbox, asked("cpp", "", code))
        assert found.status in expected, found


# ── one beside and after another ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.languages
async def test_programs_when_they_run_beside_each_other_then_each_has_its_own_verdict(sandbox: DockerSandbox) -> None:
    names = [name for name in languages.names() if name not in COMPILED] * 3
    examples = [
        asked(name, "", text) for name in names for text in (languages.load(name).passes, languages.load(name).fails)
    ]
    found = await statuses(sandbox, examples)
    assert found[::2] == [Status.PASSED] * len(names)
    assert set(found[1::2]) <= {Status.FAILED, Status.CRASHED}


@pytest.mark.parametrize("name", ["leftovers", "fork-bomb", "kill-everything"])
async def test_program_when_one_before_it_left_something_then_finds_nothing_of_it(name: str) -> None:
    whole = corpus("bash")
    (probe,) = (each for each in whole.probes if each.name == name)
    async with DockerSandbox(1) as only:
        for candidate, passes in ((probe.candidate, False), (whole.neighbour.candidate, True)):
            execution, found = await judged(only, candidate)
            assert (found.status is Status.PASSED) is passes, (found, execution.stdout)
