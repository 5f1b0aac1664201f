from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import SandboxUnavailable
from sandbox import engine

# The engine's client leaves a socket to the garbage collector where it finds nobody to talk to.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def dead(tmp_path: Path) -> str:
    """The address of a socket that nobody listens at."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    return f"unix://{path}"


def refusal(monkeypatch: pytest.MonkeyPatch, address: str) -> str:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(SandboxUnavailable) as caught:
        engine.connect(5.0)
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_connect_when_nobody_listens_then_says_where_why_and_the_mend(
    monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    message = refusal(monkeypatch, dead)
    assert message.startswith(f"no container engine answers at {dead} (Connection refused): ")
    assert "systemctl start docker" in message
    assert "DOCKER_HOST" in message
    assert "touchstone sandbox build" in message
    assert "\n" not in message


def test_connect_when_there_is_no_socket_then_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "(No such file or directory)" in refusal(monkeypatch, f"unix://{tmp_path}/none.sock")


def test_connect_when_the_port_is_closed_then_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert f"tcp://127.0.0.1:{port} (" in refusal(monkeypatch, f"tcp://127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["nonsense", "gopher://127.0.0.1", "tcp://:no-port"])
def test_connect_when_the_address_is_none_then_names_it(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    assert f"at {address} (" in refusal(monkeypatch, address)


def test_connect_when_what_answers_is_no_engine_then_says_that_none_does(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")

        thread = threading.Thread(target=answer)
        thread.start()
        message = refusal(monkeypatch, f"tcp://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert message.startswith("no container engine answers at tcp://127.0.0.1:")


def test_ensure_when_the_user_names_an_engine_then_none_is_installed_in_its_place(
    monkeypatch: pytest.MonkeyPatch, dead: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", dead)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    said: list[str] = []
    with pytest.raises(SandboxUnavailable):
        engine.ensure(said.append)
    assert said == []


@pytest.mark.parametrize(("uid", "apt_get"), [(1000, "/usr/bin/apt-get"), (0, None)], ids=["no root", "no apt-get"])
def test_ensure_when_the_host_cannot_be_changed_then_the_user_is_told_how(
    monkeypatch: pytest.MonkeyPatch, uid: int, apt_get: str | None
) -> None:
    def none(timeout_s: float = 0.0) -> None:
        raise SandboxUnavailable("no container engine answers")

    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setattr(engine, "connect", none)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(shutil, "which", lambda name: apt_get)
    said: list[str] = []
    with pytest.raises(SandboxUnavailable, match="no container engine answers"):
        engine.ensure(said.append)
    with pytest.raises(SandboxUnavailable, match=r"docker\.io is missing: as root, `apt-get install -y docker\.io`"):
        engine.install("docker.io", say=said.append)
    assert said == []


def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runsc: str | None) -> list[list[str]]:
    """The commands by which an engine is started, none of which helps but the last one that there is to try."""
    commands: list[list[str]] = []

    class Engine:
        def __init__(self, command: list[str], **_: object) -> None:
            commands.append(command)

        def terminate(self) -> None:
            pass

        wait = terminate

    monkeypatch.setattr(engine, "LOG", tmp_path / "log")
    monkeypatch.setattr(engine, "CONFIG", tmp_path / "daemon.json")
    monkeypatch.setattr(engine, "OURS", tmp_path / "ours.json")
    monkeypatch.setattr(engine, "_answers_within", lambda *_: any("--bridge=none" in command for command in commands))
    monkeypatch.setattr(shutil, "which", {"runsc": runsc}.get)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(subprocess, "Popen", Engine)
    said: list[str] = []
    engine._start(said.append)
    assert all(any(" ".join(command) in line for line in said) for command in commands)
    return commands


def test_start_when_gvisor_is_installed_then_the_engine_knows_it_each_time_that_it_is_tried(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = started(monkeypatch, tmp_path, "/opt/bin/runsc")
    assert first == ["dockerd", f"--config-file={tmp_path / 'ours.json'}"]
    assert second[: len(first)] == first
    assert json.loads((tmp_path / "ours.json").read_text()) == {
        "runtimes": {"runsc": {"path": "/opt/bin/runsc", "runtimeArgs": ["--network=none"]}}
    }


@pytest.mark.parametrize("runsc", ["/usr/bin/runsc", None])
def test_start_when_an_administrator_has_configured_it_or_there_is_no_gvisor_then_the_engine_is_told_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, runsc: str | None
) -> None:
    if runsc:
        (tmp_path / "daemon.json").write_text("{}")
    commands = started(monkeypatch, tmp_path, runsc)
    assert commands[0] == ["dockerd"]
    assert "--config-file" not in str(commands)
    assert not (tmp_path / "ours.json").exists()


def test_mend_when_gvisor_is_missing_then_installs_it_and_tells_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    mend = engine.mend("runsc")
    assert "`apt-get install -y runsc`" in mend
    told = json.loads(mend.partition("echo '")[2].partition("'")[0])
    assert told["runtimes"]["runsc"]["path"] == "/usr/bin/runsc"
    monkeypatch.setattr(shutil, "which", lambda _: "/opt/bin/runsc")
    assert "apt-get" not in engine.mend("runsc")
    assert "/opt/bin/runsc" in engine.mend("runsc")
    assert "apt-get" not in engine.mend("another")


@pytest.mark.engine
def test_connect_when_an_engine_answers_then_it_does() -> None:
    client = engine.connect()
    assert client.ping()
    client.close()
