"""The image that generated code runs in: built once, found again by the hash of what it is made of."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable

FOLDER = Path(__file__).parent
REPOSITORY = "touchstone-sandbox"
SUITE = "bookworm"
"""The Debian release that the image is made of."""
PROBE_S = 5.0
"""How long a registry may take to answer before the image is made without one."""


def tag() -> str:
    """The image's name: a hash over everything that decides its content."""
    parts = [SUITE.encode(), (FOLDER / "Dockerfile").read_bytes(), (FOLDER / "packages.txt").read_bytes()]
    return f"{REPOSITORY}:{hashlib.sha256(b'|'.join(parts)).hexdigest()[:12]}"


def ensure(client: Any, say: Callable[[str], None]) -> str:
    """The image's id, building it where it is missing. client: a `docker.DockerClient`.

    Raises SandboxUnavailable where it can be made in neither way.
    """
    import fcntl

    from docker.errors import ImageNotFound

    name = tag()
    with (Path(tempfile.gettempdir()) / f"{REPOSITORY}-{os.getuid()}.lock").open("w") as lock:
        try:
            return str(client.images.get(name).id)
        except ImageNotFound:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs that start together build it once
        try:
            return str(client.images.get(name).id)
        except ImageNotFound:
            pass
        if _registry_answers():
            say(f"building the sandbox image {name} from sandbox/Dockerfile")
            _build(client, name)
        else:
            say(f"no image registry answers: building the sandbox image {name} from Debian's packages")
            _bootstrap(client, name, say)
        return str(client.images.get(name).id)


def packages() -> list[str]:
    """The Debian packages in the image: they are part of every verdict."""
    return (FOLDER / "packages.txt").read_text().split()


def _registry_answers() -> bool:
    try:
        with urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=PROBE_S):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401  # what a registry says to a visitor without a token
    except (OSError, ValueError):
        return False


def _build(client: Any, name: str) -> None:
    from docker.errors import APIError, BuildError

    try:
        client.images.build(path=str(FOLDER), tag=name, rm=True, pull=True)
    except (APIError, BuildError) as error:
        raise SandboxUnavailable(f"the sandbox image cannot be built: {_line(str(error))}") from error


def _bootstrap(client: Any, name: str, say: Callable[[str], None]) -> None:
    """The image from packages alone: `mmdebstrap` makes the file system, the engine imports it."""
    from docker.errors import APIError

    from sandbox.engine import install

    if shutil.which("mmdebstrap") is None:
        install("mmdebstrap", "debian-archive-keyring", say=say)
    with tempfile.TemporaryDirectory(prefix="touchstone-image-") as folder:
        archive = Path(folder) / "root.tar"
        command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(packages())}"]
        command += ["--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"]
        command += ["--dpkgopt=path-exclude=/usr/share/man/*", SUITE, str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise SandboxUnavailable(
                f"the sandbox image cannot be built: mmdebstrap: {_line(done.stderr)}; see that Debian's package "
                "archive can be reached (`apt-get update`)"
            )
        repository, _, version = name.partition(":")
        try:
            client.api.import_image_from_file(str(archive), repository=repository, tag=version)
        except APIError as error:
            raise SandboxUnavailable(f"the engine does not take the sandbox image: {_line(str(error))}") from error


def _line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
