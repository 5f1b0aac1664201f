"""What a build leaves that is killed: nothing runs on or stays mounted, and the next start removes its folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import ImageNotFound

from sandbox import image

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = """
import docker.errors
from types import SimpleNamespace
from sandbox import image

def get(name):
    raise docker.errors.ImageNotFound(name)

def imported(*_, **__):
    print("imported", flush=True)
    input()

image._registry_answers = lambda: False
client = SimpleNamespace(images=SimpleNamespace(get=get), api=SimpleNamespace(import_image_from_file=imported))
image.ensure(client, lambda _: None, "bash")
"""
MMDEBSTRAP = """#!/bin/sh
for archive; do :; done
mkdir -p "$TMPDIR/root/mounted"
mount -t tmpfs none "$TMPDIR/root/mounted" 2>/dev/null
sleep 600 >/dev/null 2>&1 &
echo $$ >"$archive"
{then}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder of this process and of those that it starts."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def workplaces(folder: Path) -> list[Path]:
    return list(folder.glob("touchstone-image-*"))


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)


def inside(folder: Path) -> list[int]:
    """The processes with the folder as their place for temporary files."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and f"TMPDIR={folder}".encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
    return found


@pytest.fixture
def build(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a process that builds an image with a stand-in of mmdebstrap, which in the end does what is given."""
    programs = tmp_path_factory.mktemp("bin")
    started = []

    def start(then: str) -> subprocess.Popen[bytes]:
        (programs / "mmdebstrap").write_text(MMDEBSTRAP.replace("{then}", then))
        (programs / "mmdebstrap").chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-c", BUILD],
            cwd=ROOT,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in inside(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's builds share the host's mounts")
def test_build_when_it_is_killed_then_nothing_of_it_runs_on_or_stays_mounted(
    folder: Path, build: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    process = build("wait")
    wait_for(lambda: any((place / "root.tar").exists() for place in workplaces(folder)))
    (place,) = workplaces(folder)
    wait_for((place / "root.tar").read_text)
    process.kill()
    process.wait()
    wait_for(image.sweep)  # not before its last process is gone
    assert inside(folder) == []
    assert str(folder) not in Path("/proc/mounts").read_text()
    assert list(folder.iterdir()) == []


def test_build_when_it_is_killed_while_the_engine_takes_the_image_then_its_folder_is_removed_by_the_next_start(
    folder: Path, build: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    process = build("exit 0")
    assert process.stdout is not None
    assert process.stdout.readline() == b"imported\n"
    (place,) = workplaces(folder)
    assert image.sweep() == 0  # it is at work
    assert place.exists()
    process.kill()
    process.wait()
    there = SimpleNamespace(images=SimpleNamespace(get=lambda name: SimpleNamespace(id=f"sha256:{name}")))
    image.ensure(there, lambda _: None)
    assert list(folder.iterdir()) == []


def test_build_when_it_ends_in_order_then_leaves_nothing(
    folder: Path, build: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    process = build("exit 0")
    process.communicate(b"\n")
    assert list(folder.iterdir()) == []


def test_build_when_it_fails_then_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImageNotFound(name)

    def fail(client: Any, name: str, made_of: Any, place: Path, say: Any) -> None:
        (place / "root.tar").write_text("half")
        raise FileNotFoundError(place)

    monkeypatch.setattr(image, "_registry_answers", lambda: False)
    monkeypatch.setattr(image, "_bootstrap", fail)
    with pytest.raises(FileNotFoundError):
        image.ensure(SimpleNamespace(images=SimpleNamespace(get=absent)), lambda _: None)
    assert list(folder.iterdir()) == []


def test_sweep_then_removes_folders_that_nobody_holds_and_no_others(folder: Path) -> None:
    left, held = folder / "touchstone-image-left", folder / "touchstone-image-held"
    kept = [held, folder / "somebody-elses", folder / "touchstone-report"]
    for path in (left, *kept):
        (path / "within").mkdir(parents=True)
    (folder / "touchstone-image-linked").symlink_to(folder / "somebody-elses")
    (folder / "touchstone-image-file").write_text("")
    with image._locked(held, fcntl.LOCK_SH):
        assert image.sweep() == 1
    assert sorted(folder.iterdir()) == sorted(
        [*kept, folder / "touchstone-image-linked", folder / "touchstone-image-file"]
    )
    assert all((path / "within").exists() for path in kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes folders of another user's")
def test_sweep_when_a_folder_is_another_users_then_it_stays(folder: Path) -> None:
    (folder / "touchstone-image-theirs").mkdir()
    os.chown(folder / "touchstone-image-theirs", 12_345, 12_345)
    assert image.sweep() == 0
    assert (folder / "touchstone-image-theirs").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_sweep_when_something_is_mounted_within_then_its_content_stays(folder: Path, tmp_path_factory: Any) -> None:
    outside = tmp_path_factory.mktemp("outside")
    subprocess.run(["mount", "-t", "tmpfs", "none", str(outside)], check=True)
    place = folder / "touchstone-image-left"
    (place / "root").mkdir(parents=True)
    try:
        (outside / "precious").write_text("")
        subprocess.run(["mount", "--bind", str(outside), str(place / "root")], check=True)
        try:
            image.sweep()
            assert (outside / "precious").exists()
        finally:
            subprocess.run(["umount", str(place / "root")], check=True)
    finally:
        subprocess.run(["umount", str(outside)], check=True)
    assert image.sweep() == 1
    assert list(folder.iterdir()) == []
