"""The native harness: Touchstone's own tasks in four tiers, HumanEval, and problem files in HumanEval's form."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapters import humaneval, project, taskfile, variants
from adapters.base import Adapter, chat
from adapters.extraction import extract
from core.checks import LITERAL
from core.errors import BadData, UnknownName
from core.types import Answers, Candidate, Completion, Problem, Prompt, PromptStyle, Solution, Suite, Turn

TASKS = Path(__file__).parent.parent / "custom_tasks"
"""The tasks that come with Touchstone: a folder a tier."""

VERSION = "1.0"
"""Theirs: its first part is raised when figures can no longer be compared, the second when tasks come or change."""

_FILE = "file:"
_ASK_TIER = "Answer with one fenced block of Python that is complete in itself: all imports and helpers are in it."
_ASK_FILES = (
    "Answer with the files that are new or changed, each whole and in a fenced block of its own, whose first line is "
    "`# file: PATH`."
)
_ASK_LITERAL = "Answer with one fenced block of Python that holds this one assignment of a literal and nothing else."
_ASK_HUMANEVAL = (
    "Complete the following Python function. Answer with the whole function, its imports and helpers included, "
    "in one fenced block that begins with ```python."
)
_NOTHING = "    return None\n"


class Native(Adapter):
    """Tiers are put as chats; problems in HumanEval's form are continued, or asked for whole in a chat.

    Which of the two a problem is shows in its tier, which those in HumanEval's form lack.
    """

    name = "native"
    default = ("tiers",)

    def names(self) -> Sequence[str]:
        """The tiers and `humaneval`. Besides, `file:PATH` is a problem file in HumanEval's form."""
        return (*taskfile.TIERS, "humaneval")

    def aliases(self) -> Mapping[str, tuple[str, ...]]:
        """`tiers` stands for all four."""
        return {"tiers": taskfile.TIERS}

    def claims(self, name: str) -> bool:
        """Its names and aliases, and each `file:PATH`."""
        return name.startswith(_FILE) or super().claims(name)

    def suite(self, name: str, datasets: Mapping[str, str]) -> Suite:
        """A tier (datasets: a folder called after it), `humaneval` (a file), or the file of `file:PATH`.

        A suite's version tells its content: HumanEval's is its package's, the tiers' is `VERSION` and the beginning of
        their hash, the others' that alone.
        """
        if name in taskfile.TIERS:
            return _tier(name, Path(datasets.get(name, TASKS / name)))
        if name.startswith(_FILE):
            return _humaneval(name, Path(name.removeprefix(_FILE)))
        if name == "humaneval":
            if name in datasets:
                return _humaneval(name, Path(datasets[name]))
            return _humaneval(name, *humaneval.packaged())
        raise UnknownName("native suite", name, self.names(), "file:PATH is a problem file in HumanEval's form")

    def prompt(
        self, problem: Problem, turn: int, style: PromptStyle, history: Sequence[tuple[Prompt, Completion]]
    ) -> Prompt:
        """A continuation's prompt is the task's own, verbatim; a chat's adds one constant request to it."""
        text = problem.turns[turn].prompt
        if style == "completion":
            return text
        if problem.tier is None:
            return chat(history, f"{_ASK_HUMANEVAL}\n\n{_fenced(text)}")
        return chat(history, f"{text}\n{_ask(problem.turns[turn])}")

    def candidate(
        self, problem: Problem, turn: int, completion: str, style: PromptStyle, stops: Sequence[str]
    ) -> Candidate | None:
        """A continuation is judged verbatim behind its prompt, even an empty one; a chat answer is extracted from.

        To a function that the answer gives for a problem in HumanEval's form, what the prompt has above it is added.
        """
        asked = problem.turns[turn]
        completion = _until(completion, stops)
        if style == "completion":
            solution = Solution(asked.prompt + completion, "verbatim")
        else:
            several = asked.files is not None
            later = problem.language != "python"
            extracted = (
                project.extract(completion) if several else extract(completion, problem.entry_point, later=later)
            )
            if extracted is None:
                return None
            solution = extracted
            if problem.tier is None:
                code = humaneval.whole(asked.prompt, problem.entry_point, extracted.code)
                solution = Solution(code, extracted.method)
        return given(problem, turn, solution)

    def answers(self, problem: Problem, turn: int, style: PromptStyle) -> Answers:
        """The reference and the wrong solutions, continued or fenced as the style asks."""
        asked = problem.turns[turn]
        wrong = tuple(each.code for each in asked.wrong)
        if problem.tier is not None:
            reply = _reply if asked.files is None else _reply_files
            nothing = _nothing(problem.entry_point)
            made = _worse(problem, asked)
            return Answers(reply(asked.reference), tuple(map(reply, wrong or (nothing,))), *made)
        wrong = wrong or (_NOTHING if asked.prompt.endswith("\n") else "\n" + _NOTHING,)
        if style == "completion":
            return Answers(asked.reference, wrong)
        return Answers(_reply(asked.prompt + asked.reference), tuple(_reply(asked.prompt + body) for body in wrong))


def given(problem: Problem, turn: int, solution: Solution) -> Candidate:
    """What is run of a solution of a problem."""
    asked = problem.turns[turn]
    files = () if asked.files is None else project.overlaid(asked.files, solution.code)
    return Candidate(solution, problem.entry_point, asked.tests, asked.limits, problem.language, files)


def _tier(name: str, folder: Path) -> Suite:
    if not folder.is_dir():
        raise BadData(str(folder), f"there is no such folder; suite '{name}' is a folder of task files")
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if not paths:
        raise BadData(str(folder), f"it holds no task files; put some there, or leave suite '{name}' out")
    problems = taskfile.problems(paths)
    for path, problem in zip(paths, problems, strict=True):
        if problem.tier != name:
            raise BadData(str(path), f"a task of another tier than '{name}'; move it there", field="tier")
    digest = hashlib.sha256()
    for path in paths:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    version = f"{VERSION}+{digest.hexdigest()[:8]}" if folder == TASKS / name else digest.hexdigest()[:8]
    return Suite("native", name, version, digest.hexdigest(), problems, ("instruct",))


def _humaneval(name: str, path: Path, version: str | None = None) -> Suite:
    problems, digest = humaneval.load(path)
    styles: tuple[PromptStyle, ...] = ("completion", "instruct")
    return Suite("native", name, version or digest[:8], digest, problems, styles, humaneval.STOPS)


def _until(completion: str, stops: Sequence[str]) -> str:
    """The completion up to the earliest of the stops."""
    found = [at for stop in stops if stop and (at := completion.find(stop)) >= 0]
    return completion[: min(found, default=None)]


def _ask(turn: Turn) -> str:
    """The constant request at the end of a tier's prompt."""
    if turn.files is not None:
        return _ASK_FILES
    return _ASK_LITERAL if any(check.name == LITERAL for check in turn.tests.checks) else _ASK_TIER


def _worse(problem: Problem, turn: Turn) -> tuple[str | None, str | None]:
    """The reference made slower, and made ugly; None where its tests look at its source, or it is several files."""
    if turn.files is not None or turn.tests.checks:
        return None, None
    ugly = None if problem.language == "python/frameworks" else variants.ugly(turn.reference)
    return _reply(variants.slow(turn.reference)), None if ugly is None else _reply(ugly)


def _nothing(entry_point: str) -> str:
    """A solution that does nothing, for a task that states no wrong one."""
    module, several, name = entry_point.rpartition(":")
    code = f"def {name}(*args, **kwargs):\n{_NOTHING}"
    return project.joined({f"{module.replace('.', '/')}.py": code}) if several else code


def _reply_files(text: str) -> str:
    return f"Here are the files:\n\n{project.fences(text)}\n"


def _reply(code: str) -> str:
    return f"Here is the solution:\n\n{_fenced(code)}\n"


def _fenced(code: str) -> str:
    """The code in a fence longer than any that it holds."""
    marks = "`" * max([3, *(len(run) + 1 for run in re.findall("`{3,}", code))])
    end = "" if code.endswith("\n") else "\n"
    return f"{marks}python\n{code}{end}{marks}"
