"""Root file systems as folders, for backends that have no images: each built once, found again by its image's tag."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.errors import SandboxUnavailable
from sandbox import image

NOT_THE_HOSTS = {"hostname": "sandbox\n", "hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost\n", "resolv.conf": ""}
"""Files in /etc that say nothing of the host on which the root was made."""
UNFINISHED = ".building-"
"""How the names of the folders begin that are not whole."""


def folder() -> Path:
    """Where they are kept: a folder closed to others, for there are old programs in it that might be exploited."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "touchstone" / "roots"


def place(language: str | None = None) -> Path:
    """Where the root of a language is, or will be. language: as in `image.tag`."""
    return folder() / image.tag(language).partition(":")[2]


def ensure(say: Callable[[str], None], language: str | None = None) -> Path:
    """The root that has what a language's image has, building it where it is missing.

    language: as in `image.tag`. Raises SandboxUnavailable where it cannot be made.
    """
    kept, found = folder(), place(language)
    try:
        if found.is_dir():
            return found
        kept.mkdir(0o700, parents=True, exist_ok=True)
        with (kept / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs that start together build it once
            if not found.is_dir():
                _sweep(kept)
                say(f"building the sandbox's root file system {found.name} from Debian's packages")
                _build(found, say, language)
    except OSError as error:
        raise SandboxUnavailable(
            f"the sandbox's root file system cannot be kept in {kept} ({error.strerror or error}): name another folder "
            "in XDG_CACHE_HOME"
        ) from error
    return found


def digest(root: Path) -> str:
    """What a root holds: a hash over the names and versions of its packages."""
    return f"sha256:{hashlib.sha256((root / 'var/lib/dpkg/status').read_bytes()).hexdigest()}"


def _build(target: Path, say: Callable[[str], None], language: str | None) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=target.parent))
    with image.archive(say, language) as packed:
        command = ["tar", "-x", "--no-same-owner", "--exclude=./dev/*", "-f", str(packed), "-C", str(unfinished)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SandboxUnavailable(f"the sandbox's root file system cannot be unpacked into {target.parent}: {said}")
    for name, text in NOT_THE_HOSTS.items():
        (unfinished / "etc" / name).write_text(text)
    unfinished.chmod(0o755)
    unfinished.rename(target)


def _sweep(kept: Path) -> None:
    """Remove what builds that failed or were killed have left: there is none now."""
    for left in kept.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
