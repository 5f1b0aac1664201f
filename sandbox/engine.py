"""The container engine: found, or, where that is allowed, the distribution's own installed and started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable
from core.imports import lean

WAYS_OUT = (
    "start one (`sudo systemctl start docker`, or `sudo dockerd &`), point DOCKER_HOST at one, as root on Debian or "
    "Ubuntu let `touchstone sandbox build` install the distribution's, or do without (`--sandbox bubblewrap`)"
)
START_S = 60.0
"""How long a started engine may take to answer."""
LOG = Path("/var/log/touchstone-dockerd.log")
CONFIG = Path("/etc/docker/daemon.json")
"""What an engine reads, where it is told of no other file: its administrator's."""
OURS = Path("/run/touchstone-dockerd.json")
"""What an engine that is started here reads where there is no `CONFIG`: it is gone with the next boot."""


def connect(timeout_s: float = 60.0) -> Any:
    """A `docker.DockerClient` of an engine that answers. Raises SandboxUnavailable with the ways out."""
    with lean("chardet"):
        import docker
        from docker.errors import DockerException

    client = None
    try:
        client = docker.from_env(timeout=int(timeout_s))
        client.ping()
    except (DockerException, OSError, ValueError) as error:
        if client is not None:
            client.close()
        where = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        raise SandboxUnavailable(f"no container engine answers at {where} ({_reason(error)}): {WAYS_OUT}") from error
    return client


def ensure(say: Callable[[str], None]) -> Any:
    """As `connect`, but as root on a Debian-like host the distribution's engine is installed and started first.

    say: told of every step that changes the host.
    """
    try:
        return connect()
    except SandboxUnavailable:
        if os.environ.get("DOCKER_HOST") or os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise
    if shutil.which("dockerd") is None:
        install("docker.io", say=say)
        if _answers_within(5.0):  # the package's own script may have started it
            return connect()
    _start(say)
    return connect()


def install(*packages: str, say: Callable[[str], None]) -> None:
    """Install packages of the distribution. Raises SandboxUnavailable where that cannot be done from here."""
    line = f"apt-get install -y {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SandboxUnavailable(f"{packages[0]} is missing: as root, `{line}`")
    say(f"installing {', '.join(packages)} ({line})")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode and command[1] == "install":  # an update may fail for one archive of many
            raise SandboxUnavailable(
                f"`{line}` failed: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"
            )


def mend(runtime: str) -> str:
    """The commands that make a runtime known to an engine that does not know it."""
    if runtime != "runsc":
        return "`dockerd --add-runtime NAME=PATH`, or `runtimes` in /etc/docker/daemon.json, makes it known"
    install = "" if shutil.which("runsc") else "`apt-get install -y runsc`, "
    return (
        f"as root, {install}`echo '{_gvisor()}' > {CONFIG}` (or into what is there), and "
        "`systemctl reload docker`, or `kill -HUP $(cat /run/docker.pid)` where the engine is no service"
    )


def _start(say: Callable[[str], None]) -> None:
    if Path("/run/systemd/system").is_dir():
        say("starting the container engine (systemctl start docker)")
        subprocess.run(["systemctl", "start", "docker"], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        if _answers_within(START_S):
            return
    told = _told()
    for more in ([], ["--iptables=false", "--ip6tables=false", "--bridge=none"]):  # no candidate needs a network
        extra = [*told, *more]
        say(f"starting the container engine ({' '.join(['dockerd', *extra])}, log in {LOG})")
        with LOG.open("ab") as log:
            process = subprocess.Popen(
                ["dockerd", *extra], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        if _answers_within(START_S, process):
            return
        process.terminate()
        process.wait()
    raise SandboxUnavailable(f"the container engine does not start: see {LOG}")


def _gvisor() -> str:
    """What an engine's file says of gVisor, whose own network does not always come up beside Docker's `none`."""
    path = shutil.which("runsc") or "/usr/bin/runsc"
    return json.dumps({"runtimes": {"runsc": {"path": path, "runtimeArgs": ["--network=none"]}}})


def _told() -> list[str]:
    """Arguments by which an engine that is started knows gVisor, where that is installed."""
    if shutil.which("runsc") is None or CONFIG.exists():  # its administrator's file holds
        return []
    OURS.write_text(_gvisor())
    return [f"--config-file={OURS}"]


def _answers_within(seconds: float, process: subprocess.Popen[bytes] | None = None) -> bool:
    """Whether an engine answers in time. process: the engine; when that ends, nothing will answer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            connect(5.0)
        except SandboxUnavailable:
            time.sleep(0.1)
        else:
            return True
    return False


def _reason(error: BaseException) -> str:
    """The innermost cause, in few words."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
