"""Every noun of Touchstone on one page.

A *task* on disk is loaded as a `Problem` of a `Suite`. A model answers its prompt with a `Completion`; from that comes
a `Solution`, which with the tests makes a `Candidate`; the sandbox runs it and gives an `Execution`; judging that gives
a `Verdict`; all of it together is one `Sample`. A run is a `RunSpec` and its samples; a `Score` is an aggregate over
them.

Times are in seconds, sizes in bytes, shares are fractions of 1 unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

PromptStyle = Literal["completion", "instruct"]
"""How a problem is put: the prompt verbatim, to be continued; or a chat turn that asks for the whole solution."""

Judging = Literal["data", "two-process", "one-process"]
"""Who compares: the host alone, on values sent back; or test code too, in a process of its own that calls the solution,
or, where its values cannot cross, in the solution's. Programs in other languages than Python are judged in one."""


class Status(StrEnum):
    """What became of a sample."""

    PASSED = "passed"
    FAILED = "failed"
    """A test said no."""
    CRASHED = "crashed"
    """An exception or a signal."""
    COMPILE_ERROR = "compile_error"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    OUTPUT_LIMIT = "output_limit"
    EXITED_EARLY = "exited_early"
    """The program ended before the tests did."""
    NO_SOLUTION = "no_solution"
    """Nothing could be extracted: the answer was empty."""
    REFUSED = "refused"
    """The provider or the model declined: in n, not passed."""
    GENERATION_ERROR = "generation_error"
    """No completion could be had: outside n."""
    SANDBOX_ERROR = "sandbox_error"
    """Our fault: outside n, retried on resume, counted beside the score."""
    SCORED = "scored"
    """Its harness gave it figures, of which none is a yes or a no."""

    @property
    def graded(self) -> bool:
        """Whether the sample counts in n."""
        return self not in (Status.GENERATION_ERROR, Status.SANDBOX_ERROR)

    @property
    def goes_on(self) -> bool:
        """Whether a sample's next turn follows, where there is one."""
        return self in (Status.PASSED, Status.SCORED)


# ── problems ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Limits:
    """What one candidate may use. Each field's docstring says what happens at the limit."""

    cpu_s: float = 3.0
    """CPU time of each case: `timed_out`."""
    wall_margin_s: float = 2.0
    """Wall time of each case beyond `cpu_s`, the backstop for what sleeps: `timed_out`."""
    memory_bytes: int = 1 << 30
    """Address space of each process, and memory of the container: `out_of_memory`."""
    output_bytes: int = 4 << 20
    """Standard output and error together: `output_limit`."""
    reply_bytes: int = 16 << 20
    """Values sent back to be compared: `output_limit`."""
    processes: int = 64
    """Processes and threads: creating one more fails in the candidate."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test case as data. `call` runs in the sandbox; what it should give is known to the host alone."""

    call: str
    """The input: a Python expression that calls the solution."""
    output: Any = None
    """The expected value, of builtin types. Without meaning where `raises` is set."""
    raises: str | None = None
    """The expected exception: the name of its class or of one of its bases."""
    setup: str = ""
    """Statements run before `call`, in a namespace of the case's own over the solution's."""
    cpu_s: float | None = None
    """CPU seconds, where the case has a limit of its own."""
    weight: float = 1.0
    rel_tol: float = 0.0
    abs_tol: float = 0.0
    """Numbers match when |a - b| <= max(rel_tol * |expected|, abs_tol); 0 and 0 mean equal."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """A property that a solution's source must have. `quality.checks` says what there is."""

    name: str
    value: Any = None
    """Its bound, or the words that it is about."""


@dataclass(frozen=True, slots=True)
class Tests:
    """A turn's tests: cases as data, which the host compares, then tests that are code. Never both empty."""

    __test__ = False  # whatever pytest takes its name for

    cases: tuple[Case, ...] = ()
    source: str = ""
    """Test code, executed after the solution and the cases, in the solution's namespace. In another language than
    Python: what ends the solution's file, and all there is of tests."""
    calls: tuple[str, ...] = ()
    """Expressions over it such as `check(add)` or `test_empty()`. One that raises is a test that said no. In other
    languages one name, which stands for the tests as a whole."""
    shared: bool | None = False
    """Whether test code must run in the solution's own process, because what it uses is no plain data. None: where
    that turns out."""
    checks: tuple[Check, ...] = ()
    """Of the source, which come last."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A solution that must fail, and why a model would write it."""

    code: str
    why: str
    fails: str = ""
    """The name of a case, a test function or a check that it fails; empty where the task does not say."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One exchange of a problem: what is asked, and how the answer is judged."""

    prompt: str
    """As the task has it, never stripped: code to continue, or a request in words, as the suite's styles say."""
    tests: Tests
    reference: str
    """The reference solution: what continues `prompt` where that is code, else the whole solution."""
    wrong: tuple[Wrong, ...] = ()
    limits: Limits = Limits()
    files: tuple[tuple[str, str], ...] | None = None
    """The project that is given, as (path, text) pairs. None: the solution is one text. Else it is files of it,
    new and changed ones, each after a line `# file: PATH`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A task, loaded: harness-neutral and complete."""

    task_id: str
    """Unique in its suite."""
    turns: tuple[Turn, ...]
    entry_point: str
    """The name that the solution must define."""
    language: str = "python"
    tier: str | None = None
    category: str | None = None
    tags: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    """What it measures, the main one first."""
    version: int = 1
    changes: tuple[str, ...] = ()
    """A line for each version."""


@dataclass(frozen=True, slots=True)
class Suite:
    """A named, versioned set of problems with its prompting convention."""

    harness: str
    name: str
    version: str
    data_hash: str
    """SHA-256 of what the problems are made of, in hexadecimal: a run resumes only where it is equal."""
    problems: tuple[Problem, ...]
    styles: tuple[PromptStyle, ...]
    """The styles that it can be put in."""
    stops: tuple[str, ...] = ()
    """Where a continuation ends. They belong to the completion style alone."""


# ── asking a model ───────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


Prompt = str | tuple[Message, ...]
"""The exact string to continue, or the exact messages of a chat."""


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample. None leaves the choice to the server."""

    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    """The run's seed; a request for sample i carries seed + i."""
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """What the control models answer a turn with, in the form its prompt asks for. Sent to no server."""

    reference: str
    wrong: tuple[str, ...]
    """Never empty: where a task states no wrong solution, a body that returns None."""
    slow: str | None = None
    """What is right and takes more CPU time; None: as the reference."""
    ugly: str | None = None
    """What is right and badly written; None: as the reference."""


@dataclass(frozen=True, slots=True)
class Request:
    """One completion asked for."""

    suite: str
    task_id: str
    index: int
    """The sample's index, from 0."""
    turn: int
    """The turn's index, from 0."""
    prompt: Prompt
    params: SamplingParams
    answers: Answers
    continuation: str | None = None
    """Text whose probability after the prompt is asked for, in place of an answer. After an empty prompt it is that of
    a whole text, which may be longer than the model's context."""


FinishReason = Literal["stop", "length", "refusal", "other"]


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered: `text` is raw and never edited. Where a continuation was to be scored, it is that."""

    text: str
    finish_reason: FinishReason = "stop"
    """`refusal`: the provider's filter or the model declined. `length`: cut by the token limit, or within reasoning."""
    answer_at: int = 0
    """Where in `text` the answer begins: after the reasoning that a model writes before it in a block of its own."""
    thinking: str | None = None
    """Reasoning, whether the server kept it apart or it stood in `text`."""
    model_served: str | None = None
    """The model that the server says it answered with."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    ttft_s: float | None = None
    """From sending the request to the first token."""
    total_s: float | None = None
    timings: Mapping[str, float] = field(default_factory=dict)
    """The server's own times, where it tells them, such as `load`, `prompt` and `generation`."""
    tries: int = 1
    """Requests made for it: 0 where it came from the cache."""
    cached: bool = False
    """Whether it is an earlier answer to the same request; tokens and times are those of then."""
    cost_usd: float | None = None
    """What it cost this run, by the list price; None: unknown."""
    effective: Mapping[str, Any] = field(default_factory=dict)
    """The parameters as sent, after what the provider dropped or forced."""
    logprob: float | None = None
    """Of a continuation that was scored: the sum of its tokens' natural log-probabilities."""
    greedy: bool | None = None
    """Of a continuation that was scored: whether each of its tokens was the likeliest."""

    @property
    def answer(self) -> str:
        """The text without the reasoning before it: what is judged, and what a chat goes on from."""
        return self.text[self.answer_at :]


# ── running it ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Solution:
    """Self-contained code, and how it was found in the completion."""

    code: str
    method: Literal["verbatim", "fence", "region", "raw"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the sandbox runs."""

    solution: Solution
    entry_point: str
    tests: Tests
    limits: Limits = Limits()
    language: str = "python"
    files: tuple[tuple[str, str], ...] = ()
    """The whole project, as (path, text) pairs, where the solution is several files of it."""


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception, as plain text."""

    kinds: tuple[str, ...]
    """The names of its class and bases, the most derived first, `object` left out."""
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True)
class CaseExecution:
    """What one case or call did."""

    value: Any = None
    """What the call gave, rebuilt of builtin types; an `Opaque` where it was something else."""
    raised: Raised | None = None
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    """The highest resident memory of the process so far."""


@dataclass(frozen=True, slots=True)
class Opaque:
    """Stands for a value that is not plain data: equal to no expected value."""

    kind: str


Stage = Literal["compile", "load", "tests", "done"]
"""How far a candidate came: compiling, executing its top level, in its tests, or through all of them."""


@dataclass(frozen=True, slots=True)
class Execution:
    """What happened to a candidate in the sandbox: facts, no judgement."""

    stage: Stage
    raised: Raised | None = None
    """What ended the stage `compile` or `load`."""
    cases: tuple[CaseExecution, ...] = ()
    """What ended of the tests' cases, then of their calls, in order; the rest was not reached."""
    exit_code: int | None = None
    signal: int | None = None
    stopped_by: Literal["cpu", "wall", "memory", "output"] | None = None
    stdout: str = ""
    stderr: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    judging: Judging = "data"
    findings: tuple[str, ...] = ()
    """What each check of the source found wrong; empty text where nothing is."""
    fault: str | None = None
    """The sandbox's own failure: the candidate has not been judged."""


@dataclass(frozen=True, slots=True)
class CaseVerdict:
    """The judgement of one case or call."""

    passed: bool
    weight: float = 1.0
    detail: str = ""
    cpu_s: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of an execution."""

    status: Status
    detail: str = ""
    """One line for a person: what went wrong."""
    cases: tuple[CaseVerdict, ...] = ()
    judging: Judging | None = None


# ── keeping it ───────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What names a sample within its run."""

    suite: str
    task_id: str
    index: int
    turn: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One judged record: the unit that is stored and counted."""

    key: SampleKey
    verdict: Verdict
    prompt: Prompt
    completion: Completion | None
    """None where it could not be had (`generation_error`)."""
    solution: Solution | None = None
    stdout: str = ""
    stderr: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_memory_bytes: int = 0
    tries: int = 1
    """Requests made for the completion."""
    reported: Mapping[str, Any] = field(default_factory=dict)
    """What the harness itself says of the problem, in JSON values; with its first sample."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What one judged turn of a sample is worth beyond its verdict."""

    key: SampleKey
    scores: Mapping[str, float | None]
    """Component → 0 to 100; None: it cannot be said. `quality.scores` has the formulas."""
    parts: Mapping[str, float | None]
    """What the components were made of, such as `lint`, `cpu_s` and `reference_cpu_s`."""
    dimensions: tuple[str, ...] = ()
    """What its task measures, the main one first."""


@dataclass(frozen=True, slots=True)
class SuiteRef:
    """A suite by name."""

    harness: str
    name: str


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything that decides the figures of a run. What only decides its speed or its place is not here."""

    model: str
    """PROVIDER/NAME."""
    suites: tuple[SuiteRef, ...]
    n_samples: int | None = 1
    """Of each problem; None: as many as the harness's task says."""
    k: tuple[int, ...] = (1,)
    params: SamplingParams = SamplingParams()
    """Where a harness's tasks have settings of their own, None and () leave them be."""
    limit: int | None = None
    """The first so many problems of each suite."""
    sample: int | None = None
    """So many problems of each suite, drawn by `params.seed`."""
    dimensions: tuple[str, ...] = ()
    """Problems that measure one of these; none: all."""
    tags: tuple[str, ...] = ()
    """Problems with one of these; none: all."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Component of a rating → its weight in the overall score; none: those of `quality.scores`."""
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Tier → the response time in seconds up to which an answer is as fast as can be; none: as with `weights`."""
    prompt_style: PromptStyle | None = None
    """None: the first of the provider's styles that the suite has."""
    timeout_s: float | None = None
    """CPU seconds of each case, in place of the tasks' own limits."""
    memory_bytes: int | None = None
    sandbox: str = "docker"
    generations: str | None = None
    """A file of completions to judge in place of asking a model."""
    generations_sha256: str | None = None
    """What that file holds."""
    datasets: tuple[tuple[str, str], ...] = ()
    """(name, path) pairs: a harness's data set from a local file or folder."""
    include: tuple[str, ...] = ()
    """Folders of further tasks of a harness."""
    num_fewshot: int | None = None
    """Worked examples before each question; None: as the task says."""
    system_prompt: str | None = None
    """What chats begin with, where the harness has no words of its own."""
    fewshot_as_multiturn: bool = True
    """Whether worked examples are turns of the chat, or stand in one."""
    prompt_kind: str | None = None
    """Which of its kinds of prompt a harness puts, where a task has several."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, with what is needed to trust it."""

    value: float | None
    """None where it is undefined."""
    stderr: float | None
    """Clustered by problem."""
    ci95: tuple[float, float] | None
    n: int
    """Problems that it is the average of."""
    undefined: int = 0
    """Problems with fewer graded samples than k."""
    bounds: tuple[float, float] | None = None
    """The value if every ungraded sample had failed, and if every one had passed; None where all are graded."""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a harness itself reports of a suite, or of a group of suites, under its own names."""

    harness: str
    name: str
    metrics: Mapping[str, Metric]
    """As it computed them; they may be on any scale."""
    higher_is_better: Mapping[str, bool | None] = field(default_factory=dict)
    """By the name of a metric, without a filter's behind it."""
    members: tuple[str, ...] = ()
    """Of a group: the suites and groups that it is of."""
    group: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else it says, in JSON values, such as `version`, `n_shot` and `config`."""


@dataclass(frozen=True, slots=True)
class Score:
    """One suite's aggregate over the samples of a run."""

    harness: str
    suite: str
    suite_version: str
    prompt_style: PromptStyle
    model: str
    n_problems: int
    n_samples: int
    metrics: Mapping[str, Metric]
    ledger: Mapping[Status, int]
    usage: Mapping[str, int | float | None]
    timing: Mapping[str, float | None]
    reported: Reported | None = None
    """What the harness itself reports of it; its figures are among `metrics` too."""
    ratings: Mapping[str, float | None] = field(default_factory=dict)
    """Component → its mean over problems, from 0 to 100; empty where nothing was rated."""
