"""`touchstone sandbox check`: what the host offers, and what came of the hostile programs."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

import sandbox.corpus
from core.errors import SandboxUnavailable, UnknownName
from core.types import Execution
from runners import hostcheck
from runners.doctor import Finding
from runners.launch import launch
from runners.sandbox import sandbox as command
from sandbox import docker, engine, image, languages, registry
from sandbox.corpus import Corpus
from tests.exploits.fakes import FAILS, PASSES, Fake, corpus_of, names, probe
from tests.runners.conftest import ROOT, environment
from tests.runners.processes import wait_for

ALL_WELL = [Finding("engine", True, "version 1"), Finding("gVisor", None, "not there: `apt-get install runsc`")]
INFO = {
    "ServerVersion": "27.5",
    "OperatingSystem": "Debian GNU/Linux 13",
    "KernelVersion": "6.12",
    "Architecture": "x86_64",
    "CgroupVersion": "2",
    "CgroupDriver": "systemd",
    "MemoryLimit": True,
    "SwapLimit": True,
    "PidsLimit": True,
    "CpuCfsQuota": True,
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
    "Runtimes": {"io.containerd.runc.v2": {"path": "runc"}, "runc": {"path": "runc"}},
    "DefaultRuntime": "runc",
    "DockerRootDir": "/",
}
"""What a good engine says of itself."""


# ── the host ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Finding]]:
    """What is found of an engine that says so of itself, on a host without programs but those named."""

    def found(
        *, programs: tuple[str, ...] = (), tags: tuple[str, ...] = (), url: str = "http+docker://localhost", **info: Any
    ) -> dict[str, Finding]:
        client = SimpleNamespace(
            info=lambda: {**INFO, **info},
            images=SimpleNamespace(list=lambda name: [SimpleNamespace(tags=[tag]) for tag in tags]),
            api=SimpleNamespace(base_url=url),
            close=lambda: None,
        )
        monkeypatch.setattr(engine, "connect", lambda: client)
        monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name in programs else None)
        return {finding.what: finding for finding in hostcheck.host()}

    return found


def test_host_when_all_is_there_then_nothing_is_wrong(look: Callable[..., dict[str, Finding]]) -> None:
    found = look(tags=(image.tag(), image.tag("go")), programs=("mmdebstrap",))
    assert {what for what, finding in found.items() if finding.ok is not True} == {"gVisor", "bubblewrap"}
    assert "27.5" in found["engine"].detail and "Debian GNU/Linux 13" in found["engine"].detail
    assert found["cgroups"].detail == "version 2, by systemd"
    assert found["runtimes"].detail == "runc; runc is used"
    assert found["image"].detail == image.tag()
    others = found["images of other languages"].detail
    assert others.startswith("go; ") and all(name in others for name in languages.names())
    assert "apt-get install -y runsc" in found["gVisor"].detail and "daemon.json" in found["gVisor"].detail
    assert "apt-get install bubblewrap" in found["bubblewrap"].detail


@pytest.mark.parametrize(
    ("info", "what", "ok", "says"),
    [
        ({"MemoryLimit": False}, "memory limit", False, "cgroup_enable=memory"),
        ({"MemoryLimit": False, "SecurityOptions": ["name=rootless"]}, "memory limit", False, "Delegate="),
        ({"SwapLimit": False}, "memory limit", None, "swapoff"),
        ({"PidsLimit": False}, "process limit", False, "pids"),
        ({"PidsLimit": False, "SecurityOptions": ["name=rootless"]}, "process limit", False, "Delegate="),
        ({"CpuCfsQuota": False}, "CPU limit", None, "not needed"),
        ({"CgroupDriver": "none"}, "cgroups", None, "by none"),
        ({"SecurityOptions": []}, "seccomp", False, "CONFIG_SECCOMP_FILTER"),
        ({"SecurityOptions": None}, "seccomp", False, "CONFIG_SECCOMP_FILTER"),
        ({"SecurityOptions": ["name=seccomp,profile=unconfined"]}, "seccomp", False, "--seccomp-profile=unconfined"),
        ({"SecurityOptions": ["name=seccomp,profile=default"]}, "seccomp", True, "profile default"),
        ({"Warnings": ["WARNING: No swap limit support"]}, "engine's warning", None, "No swap limit support"),
        ({"Runtimes": {"runc": {}, "runsc": {}}}, "gVisor", True, "--runtime runsc"),
        ({"programs": ("runsc",)}, "gVisor", None, "runsc is installed, but the engine does not know it"),
        ({"url": "https://elsewhere:2376"}, "disk for images", None, "not seen from here"),
        ({"DockerRootDir": "/no/such/folder"}, "disk for images", None, "not seen from here"),
        ({}, "image", None, "touchstone sandbox build"),
        ({}, "images of other languages", None, "none; built when first asked for"),
        ({}, "mmdebstrap", None, "apt-get install mmdebstrap"),
    ],
)
def test_host_when_something_is_missing_then_its_mend_stands_beside_it(
    info: dict[str, Any], what: str, ok: bool | None, says: str, look: Callable[..., dict[str, Finding]]
) -> None:
    found = look(**info)[what]
    assert found.ok is ok
    assert says in found.detail


def test_host_when_the_disk_is_nearly_full_then_it_says_how_to_make_room(
    look: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100 << 20))
    found = look()["disk for images"]
    assert found.ok is False
    assert "only 100 MiB free" in found.detail and "docker system prune" in found.detail


def test_host_when_the_runtime_that_is_asked_for_is_unknown_then_it_is_told_how_it_becomes_known(
    look: Callable[..., dict[str, Finding]],
) -> None:
    look()
    found = {finding.what: finding for finding in hostcheck.host(runtime="runsc")}["runtimes"]
    assert found.ok is False
    assert "knows no runsc, but runc: " in found.detail and "/etc/docker/daemon.json" in found.detail


@pytest.mark.parametrize(("name", "ok"), [("docker", False), ("bubblewrap", None)])
def test_host_when_no_engine_answers_then_it_is_wrong_only_where_it_is_needed(
    name: str, ok: bool | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> None:
        raise SandboxUnavailable("no container engine answers: start one")

    monkeypatch.setattr(engine, "connect", none)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    found = {finding.what: finding for finding in hostcheck.host(name)}
    assert found["engine"] == Finding("engine", ok, "no container engine answers: start one")
    assert found["bubblewrap"].ok is (None if name == "docker" else False)


@pytest.mark.parametrize(("code", "ok", "says"), [(0, True, "bubblewrap 0.8"), (1, False, "No permissions")])
def test_host_when_bubblewrap_is_there_then_it_is_tried(
    code: int, ok: bool, says: str, look: Callable[..., dict[str, Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(argv: tuple[str, ...], **_: Any) -> subprocess.CompletedProcess[str]:
        if "--version" in argv:
            return subprocess.CompletedProcess(argv, 0, "bubblewrap 0.8\n", "")
        return subprocess.CompletedProcess(argv, code, "", "bwrap: No permissions to create new namespace\n")

    monkeypatch.setattr(subprocess, "run", run)
    look(programs=("bwrap",))
    found = {finding.what: finding for finding in hostcheck.host("bubblewrap")}["bubblewrap"]
    assert found.ok is ok
    assert says in found.detail


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────

CORPUS = corpus_of(
    probe("easy"),
    probe("tedious", slow=True),
    probe("liar", "beside", "equality", undefended="test code shares the candidate's process: it compares"),
    probe("reader", "beside", "equality", undefended="test code shares the candidate's process: it compares"),
)
PASSED = {"liar": PASSES, "reader": PASSES}


@pytest.fixture
def check(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`sandbox check --sandbox fake` in this process: code, standard output, standard error, and the fake."""

    def call(
        *arguments: str,
        answers: dict[str, Any] | None = None,
        corpus: Corpus = CORPUS,
        found: tuple[Finding, ...] = (),
        name: str = "fake",
    ) -> tuple[int, str, str, type[Fake]]:
        fake = Fake.answering({**PASSED, **(answers or {})})
        known = registry.get
        monkeypatch.setattr(registry, "get", lambda asked: fake if asked == "fake" else known(asked))
        monkeypatch.setattr(hostcheck, "host", lambda *_: iter([*ALL_WELL, *found]))
        monkeypatch.setattr(sandbox.corpus, "corpus", lambda _: corpus)
        monkeypatch.setattr(sys, "argv", ["sandbox", "check", "--sandbox", name, *arguments])
        with pytest.raises(SystemExit) as end:
            launch(command, "python -m runners.sandbox")
        printed = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, printed.out, printed.err, fake

    return call


def test_check_when_all_is_withstood_then_the_table_says_so_and_what_is_known_to_pass(check) -> None:
    code, out, err, fake = check()
    assert code == 0
    assert out == (
        "ok     engine: version 1\n"
        "-      gVisor: not there: `apt-get install runsc`\n"
        "ok     sandbox: starts: fake, image an-image, Python 3.11.2\n"
        "\n"
        "| hostile programs | run | withstood | known to pass | failed |\n"
        "| ---------------- | --: | --------: | ------------: | -----: |\n"
        "| python/ways      |   2 |         2 |             0 |      0 |\n"
        "| python/equality  |   2 |         0 |             2 |      0 |\n"
        "| all              |   4 |         2 |             2 |      0 |\n"
        "\n"
        "known to pass, for want of a defence:\n"
        "- python/equality, beside: liar, reader: test code shares the candidate's process: it compares\n"
    )
    assert err.startswith("4 hostile programs in ")
    assert fake.started == fake.stopped


HELD = replace(FAILS, wall_s=10_000.0)


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"easy": PASSES}, "- python ways/easy-data: passed (passed)\n"),
        ({"easy": HELD}, "- python ways/easy-data: hung (exited_early: exited with 0 before its tests ended, after"),
        ({"correct after easy": FAILS}, "- python ways/easy-data: neighbour disturbed (exited_early: "),
        ({"easy": Execution("load", fault="the engine\x1b[2J is gone")}, "- python ways/easy-data: sandbox fault ("),
        ({"liar": HELD}, "- python equality/liar-beside: hung ("),
    ],
)
def test_check_when_one_is_not_withstood_then_it_is_named_with_what_happened(answers, says, check) -> None:
    code, out, _, _ = check(answers=answers)
    assert code == 1
    _, _, failed = out.partition("\nfailed:\n")
    assert failed.startswith(says.rstrip("\n"))
    assert "| all              |   4 |" in out and "|      1 |\n\nfailed:" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "\x1b" not in out


def test_check_as_json_then_it_is_one_document_with_every_trial(check) -> None:
    code, out, _, _ = check("--json", answers={"easy": PASSES})
    document = json.loads(out)
    assert code == 1
    assert (document["schema"], document["ok"], document["quick"]) == ("touchstone.sandbox-check/1", False, False)
    assert [(each["what"], each["ok"]) for each in document["host"]] == [
        ("engine", True),
        ("gVisor", None),
        ("sandbox", True),
    ]
    assert document["sandbox"]["backend"] == "fake"
    (python,) = document["languages"]
    assert (python["language"], python["ok"], python["fault"]) == ("python", False, None)
    assert python["files"][0] == {"file": "python/ways", "run": 2, "withstood": 1, "known": 0, "failed": 1}
    assert [each["outcome"] for each in python["trials"]] == ["passed", "withstood", "passed", "passed"]
    assert [each["failed"] for each in python["trials"]] == [True, False, False, False]
    assert python["trials"][0]["status"] == "passed"
    assert python["trials"][2]["undefended"].endswith("it compares")


def test_check_when_it_is_quick_then_slow_programs_are_left_out(check) -> None:
    code, out, _, fake = check("--quick")
    assert code == 0
    assert sorted(names(fake.ran)) == ["easy", "liar", "reader"]
    assert "| all              |   3 |" in out


def test_check_when_options_are_given_then_the_sandbox_is_made_with_them(check) -> None:
    _, _, _, fake = check("--runtime", "runsc", "--workers", "1")
    assert fake.settings["runtime"] == "runsc"
    assert fake.started == 2  # one that shows that a correct program passes, then one at a time
    _, _, _, fake = check("--workers", "3")
    assert fake.settings["runtime"] is None
    assert fake.started == 4


def test_check_when_a_correct_program_does_not_pass_then_no_hostile_one_is_run(check) -> None:
    code, out, _, fake = check(answers={"correct after ": Execution("load", fault="runs no such programs")})
    assert code == 1
    assert names(fake.ran) == []
    said = " ".join(out.split())
    assert "python: none could be run: a correct program is not judged right (sandbox_error: runs no such" in said


def test_check_when_no_sandbox_starts_any_more_then_what_came_before_is_shown(check) -> None:
    def starts(fake: type[Fake]) -> None:
        if fake.started == 2:
            raise SandboxUnavailable("the engine is gone: start it")

    answers = {"tedious": Execution("load", fault="the container ended"), "start": starts}
    code, out, _, _ = check("--workers", "1", answers=answers)
    assert code == 1
    assert "| all              |   2 |         1 |             0 |      1 |\n" in out
    assert "\n\npython: no more could be run: the engine is gone: start it\n\nfailed:\n- python ways/tedious" in out


def test_check_when_no_sandbox_starts_then_the_mend_is_said(check) -> None:
    for arguments in ((), ("--json",)):
        code, out, _, _ = check(*arguments, answers={"start": SandboxUnavailable("no engine: start one")})
        assert code == 1
        if arguments:
            assert json.loads(out)["host"][-1] == {"what": "sandbox", "ok": False, "detail": "no engine: start one"}
        else:
            assert out.endswith("NOT OK sandbox: no engine: start one\n")


def test_check_when_the_host_lacks_something_then_it_ends_with_1_whatever_was_withstood(check) -> None:
    code, out, _, _ = check(found=(Finding("seccomp", False, "switched off"),))
    assert code == 1
    assert "NOT OK seccomp: switched off\n" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--sandbox", "dokcer"), "did you mean 'docker'?"),
        (("--language", "pyhton"), "unknown language 'pyhton'"),
        (("--workers", "0"), "--workers"),
        (("--slow",), "No such option"),
    ],
)
def test_check_when_an_option_is_wrong_then_one_line_says_so_and_nothing_is_looked_at(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hostcheck, "host", lambda *_: pytest.fail("the host was looked at"))
    monkeypatch.setattr(sys, "argv", ["sandbox", "check", *arguments])
    with pytest.raises(SystemExit) as end:
        launch(command, "python -m runners.sandbox")
    printed = capsys.readouterr()
    assert (end.value.code, printed.out, len(printed.err.splitlines())) == (2, "", 1)
    assert says in printed.err


def test_check_when_the_sandbox_has_not_what_is_asked_for_then_the_error_is_its_own(check) -> None:
    code, _, err, _ = check(answers={"start": UnknownName("runtime", "runcs", ["runc"])})
    assert code == 2
    assert "did you mean 'runc'?" in err


# ── with an engine ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.engine
def test_check_when_real_programs_run_in_the_real_sandbox_then_they_are_withstood(check) -> None:
    wanted = {"exits/os-exit-at-import-data", "leftovers/files-data", "equality/object-equal-to-all-beside"}
    real = sandbox.corpus.corpus()
    few = replace(real, probes=tuple(probe for probe in real.probes if probe.key in wanted))
    code, out, _, _ = check("--json", "--workers", "2", name="docker", corpus=few)
    document = json.loads(out)
    assert code == 0, out
    assert document["sandbox"]["backend"] == "docker"
    assert {f"{each['file']}/{each['name']}": each["outcome"] for each in document["languages"][0]["trials"]} == {
        "exits/os-exit-at-import": "withstood",
        "leftovers/files": "withstood",
        "equality/object-equal-to-all": "passed",
    }


@pytest.mark.engine
def test_check_when_it_is_interrupted_then_it_ends_in_order_and_no_container_is_left(engine: Any) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "runners.sandbox", "check", "--workers", "2"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

    def its_own() -> list[Any]:
        found = engine.api.containers(all=True, filters={"label": docker.LABEL})
        return [entry for entry in found if entry["Labels"][docker.LABEL].startswith(f"{process.pid}:")]

    wait_for(lambda: len(its_own()) == 2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.strip() == "error: interrupted"
    assert its_own() == []
