"""The images that generated code runs in: each built once, found again by the hash of what it is made of."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import SandboxUnavailable
from sandbox import languages
from sandbox.pythons import ENVIRONMENTS

FOLDER = Path(__file__).parent
REPOSITORY = "touchstone-sandbox"
SUITE = "bookworm"
"""The Debian release that the image for Python is made of."""
AGENT_NEEDS = "python3"
"""What is in every image, whatever its language."""
PROBE_S = 5.0
"""How long a registry may take to answer before the image is made without one."""
WORKPLACE = "touchstone-image-"
"""How the names of the temporary folders begin in which images are made."""
ENDS_TOGETHER = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
"""Before a command: all of its processes end with this one, however that ends, and their mounts with them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an image is made of."""

    release: str
    packages: tuple[str, ...]
    prepare: str
    """A shell script that ends the making of it, as root."""


def tag(language: str | None = None) -> str:
    """The image's name: a hash over everything that decides its content.

    language: a name or alias of `sandbox.languages`, or one of `ENVIRONMENTS`; None: the image for Python.
    """
    made_of = _recipe(language)
    parts = [made_of.release, (FOLDER / "Dockerfile").read_text(), *made_of.packages, made_of.prepare]
    version = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    if language is None:
        return f"{REPOSITORY}:{version}"
    name = language.replace("/", "-") if language in ENVIRONMENTS else languages.load(language).name
    return f"{REPOSITORY}:{name}-{version}"


def ensure(client: Any, say: Callable[[str], None], language: str | None = None) -> str:
    """The image's id, building it where it is missing. client: a `docker.DockerClient`.

    language: as in `tag`. What builds that were killed have left is removed first. Raises SandboxUnavailable where it
    can be made in neither way.
    """
    from docker.errors import ImageNotFound

    name = tag(language)
    sweep()
    with suppress(ImageNotFound):
        return str(client.images.get(name).id)
    with _locked(Path(tempfile.gettempdir()), fcntl.LOCK_EX):  # two runs that start together build it once
        with suppress(ImageNotFound):
            return str(client.images.get(name).id)
        if _registry_answers():
            say(f"building the sandbox image {name} from sandbox/Dockerfile")
            with _workplace() as folder:
                _build(client, name, _recipe(language), folder)
        else:
            say(f"no image registry answers: building the sandbox image {name} from Debian's packages")
            from_packages(client, name, say, language)
        return str(client.images.get(name).id)


def from_packages(client: Any, name: str, say: Callable[[str], None], language: str | None = None) -> None:
    """Make the image under a name, whether it is there or not, of Debian's packages alone. Raises SandboxUnavailable.

    language: as in `tag`.
    """
    with _workplace() as folder:
        _bootstrap(client, name, _recipe(language), folder, say)


@contextmanager
def archive(say: Callable[[str], None], language: str | None = None) -> Iterator[Path]:
    """A tar file of the file system that Debian's packages alone make, for as long as it is needed.

    language: as in `tag`. Raises SandboxUnavailable.
    """
    sweep()
    with _workplace() as folder:
        yield _archive(_recipe(language), folder, say)


def sweep() -> int:
    """Remove the folders of builds that were killed; how many there were."""
    removed = 0
    with os.scandir(tempfile.gettempdir()) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(WORKPLACE)]
    for path in found:
        with suppress(OSError), _locked(Path(path), fcntl.LOCK_EX | fcntl.LOCK_NB) as folder:
            if os.fstat(folder).st_uid == os.geteuid():
                _remove(path)
                removed += 1
    return removed


def packages(language: str | None = None) -> list[str]:
    """The Debian packages in the image: they are part of every verdict."""
    return list(_recipe(language).packages)


def _recipe(language: str | None) -> Recipe:
    if language is None:
        return Recipe(SUITE, tuple((FOLDER / "packages.txt").read_text().split()), "")
    if language in ENVIRONMENTS:
        return Recipe(ENVIRONMENTS[language].release, ENVIRONMENTS[language].packages, "")
    found = languages.load(language)
    return Recipe(found.release, (AGENT_NEEDS, *found.packages), found.prepare)


@contextmanager
def _workplace() -> Iterator[Path]:
    """A temporary folder, locked: one that is not was left by a build that was killed."""
    with ExitStack() as stack:
        while True:
            path = tempfile.mkdtemp(prefix=WORKPLACE)
            with suppress(FileNotFoundError):  # `sweep` may have taken it before it was locked
                stack.enter_context(_locked(Path(path), fcntl.LOCK_SH))
                if Path(path).exists():
                    break
        stack.callback(_remove, path)
        yield Path(path)


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[int]:
    """Hold a lock on a folder, which dies with the process; the folder's descriptor. how: as for flock(2).

    Raises BlockingIOError where another holds it and `how` says not to wait.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, how)
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(path: str) -> None:
    """Remove a folder, but nothing that is mounted within."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", path], capture_output=True, check=False)


def _registry_answers() -> bool:
    try:
        with urllib.request.urlopen("https://registry-1.docker.io/v2/", timeout=PROBE_S):
            return True
    except urllib.error.HTTPError as error:
        return error.code == 401  # what a registry says to a visitor without a token
    except (OSError, ValueError):
        return False


def _build(client: Any, name: str, made_of: Recipe, folder: Path) -> None:
    from docker.errors import APIError, BuildError

    shutil.copy(FOLDER / "Dockerfile", folder)
    (folder / "packages.txt").write_text("".join(f"{package}\n" for package in made_of.packages))
    (folder / "prepare.sh").write_text(made_of.prepare)
    release = {"RELEASE": made_of.release}
    try:
        client.images.build(path=str(folder), tag=name, buildargs=release, rm=True, forcerm=True, pull=True)
    except (APIError, BuildError) as error:
        raise SandboxUnavailable(f"the sandbox image cannot be built: {_line(str(error))}") from error


def _bootstrap(client: Any, name: str, made_of: Recipe, folder: Path, say: Callable[[str], None]) -> None:
    """The image from packages alone: `mmdebstrap` makes the file system, the engine imports it."""
    from docker.errors import APIError

    archive = _archive(made_of, folder, say)
    repository, _, version = name.partition(":")
    try:
        client.api.import_image_from_file(str(archive), repository=repository, tag=version)
    except APIError as error:
        raise SandboxUnavailable(f"the engine does not take the sandbox image: {_line(str(error))}") from error


def _archive(made_of: Recipe, folder: Path, say: Callable[[str], None]) -> Path:
    """A tar file in a folder, of the file system that Debian's packages make."""
    from sandbox.engine import install

    if shutil.which("mmdebstrap") is None:
        install("mmdebstrap", "debian-archive-keyring", say=say)
    archive, script = folder / "root.tar", folder / "prepare.sh"
    script.write_text(made_of.prepare)
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(made_of.packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")]
    command += ['--essential-hook=mkdir -p "$1/usr/share/man/man1"']  # Java's packages link into it
    command += [f'--customize-hook=chroot "$1" sh -eu <{shlex.quote(str(script))}', made_of.release, str(archive)]
    folder.chmod(0o755)  # packages are fetched by a user of their own
    with _locked(folder, fcntl.LOCK_SH) as lock:
        done = subprocess.run(
            [*_together(), *command],
            env={**os.environ, "TMPDIR": str(folder)},
            pass_fds=(lock,),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise SandboxUnavailable(
            f"the sandbox image cannot be built: mmdebstrap: {_line(done.stderr)}; see that Debian's package "
            "archive can be reached (`apt-get update`)"
        )
    return archive


def _together() -> tuple[str, ...]:
    """`ENDS_TOGETHER` where the host allows it, which takes root. Without it mmdebstrap mounts nothing here."""
    with suppress(OSError):
        if subprocess.run([*ENDS_TOGETHER, "true"], capture_output=True, check=False).returncode == 0:
            return ENDS_TOGETHER
    return ()


def _line(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
