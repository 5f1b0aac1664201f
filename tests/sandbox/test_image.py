from __future__ import annotations

import dataclasses
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import BuildError, ImageNotFound

from core.errors import SandboxUnavailable
from sandbox import image, languages


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what the image is made of."""
    for name in ("Dockerfile", "packages.txt"):
        shutil.copy(image.FOLDER / name, tmp_path)
    monkeypatch.setattr(image, "FOLDER", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


class Engine:
    """An engine that has some images and builds what it is told."""

    def __init__(self, *tags: str) -> None:
        self.tags, self.built = set(tags), []  # type: tuple[set[str], list[Any]]
        self.images = SimpleNamespace(get=self._get, build=self._build)
        self.fails = False

    def _get(self, name: str) -> Any:
        if name not in self.tags:
            raise ImageNotFound(name)
        return SimpleNamespace(id=f"sha256:{name}")

    def _build(self, tag: str, **options: Any) -> None:
        context = {file.name: file.read_text() for file in Path(options["path"]).iterdir()}
        self.built.append((tag, options["buildargs"], context))
        if self.fails:
            raise BuildError("E: Unable to locate package python3-numpyy\n\n", [])
        self.tags.add(tag)


def test_tag_when_nothing_changes_then_is_the_same(folder: Path) -> None:
    assert image.tag() == image.tag()
    repository, _, version = image.tag().partition(":")
    assert repository == image.REPOSITORY
    assert len(version) == 12


@pytest.mark.parametrize("name", ["Dockerfile", "packages.txt"])
def test_tag_when_what_it_is_made_of_changes_then_is_another(folder: Path, name: str) -> None:
    before = image.tag()
    (folder / name).write_text((folder / name).read_text() + "python3-pandas\n")
    assert image.tag() != before


def test_tag_when_the_release_changes_then_is_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = image.tag()
    monkeypatch.setattr(image, "SUITE", "trixie")
    assert image.tag() != before


def test_packages_then_are_those_in_the_image() -> None:
    assert image.packages() == ["python3", "python3-numpy"]


def test_packages_when_a_language_is_named_then_are_its_own_and_the_agents() -> None:
    assert image.packages("rb") == ["python3", "ruby", "ruby-test-unit"]


def test_tag_when_a_language_is_named_then_its_name_is_in_it_and_the_hash_its_own() -> None:
    tags = {image.tag(name) for name in languages.names()}
    assert len(tags) == len(languages.names())
    assert image.tag("rs") == image.tag("rust")
    assert re.fullmatch(rf"{image.REPOSITORY}:rust-[0-9a-f]{{12}}", image.tag("rust"))


@pytest.mark.parametrize("change", [{"release": "forky"}, {"packages": ("bash", "bc")}, {"prepare": "true\n"}])
def test_tag_when_what_a_language_is_made_of_changes_then_is_another(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    before = image.tag("bash")
    changed = dataclasses.replace(languages.load("bash"), **change)
    monkeypatch.setattr(languages, "load", lambda _: changed)
    assert image.tag("bash") != before


def test_ensure_when_a_language_is_named_then_its_image_is_built_from_its_recipe(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_registry_answers", lambda: True)
    engine = Engine(image.tag())
    assert image.ensure(engine, lambda _: None, "rust") == f"sha256:{image.tag('rust')}"
    ((tag, arguments, context),) = engine.built
    assert (tag, arguments) == (image.tag("rust"), {"RELEASE": "trixie"})
    assert context["packages.txt"].split() == image.packages("rust")
    assert "cargo build" in context["prepare.sh"]


def test_bootstrap_when_it_fails_then_says_the_last_line_of_why(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'I: on it' >&2\necho 'E: no such suite' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(image, "_registry_answers", lambda: False)
    with pytest.raises(SandboxUnavailable, match=r"mmdebstrap: E: no such suite; see that Debian's package archive"):
        image.ensure(Engine(), lambda _: None, "bash")


def test_ensure_when_the_image_is_there_then_nothing_is_built(folder: Path) -> None:
    said: list[str] = []
    engine = Engine(image.tag())
    assert image.ensure(engine, said.append) == f"sha256:{image.tag()}"
    assert (engine.built, said) == ([], [])


def test_ensure_when_only_another_version_is_there_then_this_one_is_built_and_said_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "_registry_answers", lambda: True)
    said: list[str] = []
    engine = Engine(f"{image.REPOSITORY}:000000000000")
    assert image.ensure(engine, said.append) == f"sha256:{image.tag()}"
    dockerfile = (folder / "Dockerfile").read_text()
    files = {"Dockerfile": dockerfile, "packages.txt": "python3\npython3-numpy\n", "prepare.sh": ""}
    assert engine.built == [(image.tag(), {"RELEASE": "bookworm"}, files)]
    assert said == [f"building the sandbox image {image.tag()} from sandbox/Dockerfile"]


def test_ensure_when_the_build_fails_then_says_why_in_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "_registry_answers", lambda: True)
    engine = Engine()
    engine.fails = True
    with pytest.raises(SandboxUnavailable) as caught:
        image.ensure(engine, lambda _: None)
    assert str(caught.value).endswith("E: Unable to locate package python3-numpyy")
    assert "\n" not in str(caught.value)


def test_ensure_when_no_registry_answers_then_it_is_made_of_packages(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bootstrap(client: Any, name: str, *_: Any) -> None:
        client.tags.add(name)

    monkeypatch.setattr(image, "_registry_answers", lambda: False)
    monkeypatch.setattr(image, "_bootstrap", bootstrap)
    said: list[str] = []
    engine = Engine()
    assert image.ensure(engine, said.append) == f"sha256:{image.tag()}"
    assert engine.built == []
    assert "no image registry answers" in said[0]


def http(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("https://registry", code, "", Message(), None)


@pytest.mark.parametrize(
    ("answer", "answers"),
    [(http(401), True), (http(403), False), (http(503), False), (OSError("unreachable"), False)],
    ids=["asks for a token", "forbidden", "down", "unreachable"],
)
def test_registry_when_it_says_this_then_the_image_is_built_from_it_or_not(
    monkeypatch: pytest.MonkeyPatch, answer: Exception, answers: bool
) -> None:
    def urlopen(url: str, timeout: float) -> None:
        raise answer

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    assert image._registry_answers() is answers


@pytest.mark.engine
def test_ensure_when_the_engine_has_it_then_is_its_digest(engine: Any) -> None:
    digest = image.ensure(engine, lambda _: None)
    assert digest.startswith("sha256:")
    assert engine.images.get(image.tag()).id == digest
