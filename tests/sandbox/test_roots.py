"""Root file systems as folders: built once, whole or not at all."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest

from core.errors import SandboxUnavailable
from sandbox import image, roots, users


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """The languages for which an archive was made; the cache is a folder of the test's."""
    made: list[str | None] = []

    @contextmanager
    def archive(_: Callable[[str], None], language: str | None = None) -> Iterator[Path]:
        made.append(language)
        path = tmp_path / "root.tar"
        with tarfile.open(path, "w") as tar:
            for name, text in (("etc/hostname", "the-hosts"), ("var/lib/dpkg/status", "Package: x"), ("dev/null", "")):
                member = tarfile.TarInfo(f"./{name}")
                member.size, member.mode = len(text), 0o644
                tar.addfile(member, BytesIO(text.encode()))
        yield path

    monkeypatch.setattr(image, "archive", archive)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


def test_root_when_asked_for_twice_then_is_built_once_and_says_nothing_of_the_host(built: list[str | None]) -> None:
    said: list[str] = []
    root = roots.ensure(said.append)
    assert roots.ensure(said.append) == root == roots.folder() / image.tag().partition(":")[2]
    assert (len(built), len(said)) == (1, 1)
    assert (root / "etc/hostname").read_text() == "sandbox\n"
    assert not (root / "dev/null").exists()
    assert roots.digest(root) == f"sha256:{hashlib.sha256(b'Package: x').hexdigest()}"
    assert roots.folder().stat().st_mode & 0o777 == 0o700


def test_root_when_it_cannot_be_unpacked_then_is_not_there_and_the_next_build_removes_what_is_left(
    built: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = image.archive

    @contextmanager
    def broken(say: Callable[[str], None], language: str | None = None) -> Iterator[Path]:
        with whole(say, language) as path:
            path.write_bytes(path.read_bytes()[:700])
            yield path

    monkeypatch.setattr(image, "archive", broken)
    with pytest.raises(SandboxUnavailable, match="cannot be unpacked"):
        roots.ensure(lambda _: None)
    assert [path.name for path in roots.folder().iterdir() if path.name.startswith(roots.UNFINISHED)]
    monkeypatch.setattr(image, "archive", whole)
    root = roots.ensure(lambda _: None)
    assert sorted(path.name for path in roots.folder().iterdir()) == sorted([root.name, "lock"])


def test_root_when_there_is_no_place_for_it_then_names_the_mend(
    built: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(SandboxUnavailable, match="name another folder in XDG_CACHE_HOME"):
        roots.ensure(lambda _: None)
    assert not built


@pytest.mark.parametrize(
    ("text", "first"),
    [("me:100000:65536\n", 100_000), ("you:1:65536\n# me\n1001:200000:65536\n", 200_000), ("me:1:10\nme:7:70000", 7)],
)
def test_users_when_a_user_may_map_enough_then_they_are_found(tmp_path: Path, text: str, first: int) -> None:
    (tmp_path / "subuid").write_text(text)
    assert users._first(tmp_path / "subuid", "me", 1001) == first


@pytest.mark.parametrize("text", ["", "you:100000:65536\n", "me:100000:1000\n"])
def test_users_when_a_user_may_map_too_few_then_names_the_mend(tmp_path: Path, text: str) -> None:
    (tmp_path / "subuid").write_text(text)
    with pytest.raises(SandboxUnavailable, match="as root, `usermod --add-subuids"):
        users._first(tmp_path / "subuid", "me", 1001)
