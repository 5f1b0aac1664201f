"""The example of a provider in a package of its own: it installs, is found, and does what its own tests say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "docs" / "example-provider"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package, which is found beside the environment's own."""
    source = tmp_path_factory.mktemp("source") / "package"
    shutil.copytree(PACKAGE, source)  # building leaves files beside what is built
    target = tmp_path_factory.mktemp("target")
    options = (
        "--no-deps",
        "--quiet",
        "--disable-pip-version-check",
        "--root-user-action=ignore",
        "--target",
        str(target),
    )
    ran("-m", "pip", "install", *options, str(source), timeout_s=300)
    return target


def ran(*arguments: str, found_in: Path | None = None, timeout_s: float = 100) -> str:
    """What Python prints, in a process of its own; `found_in`: where it finds packages beside the environment's."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("LLAMACPP_", "PYTEST_"))}
    paths = [str(ROOT), *([str(found_in)] if found_in else [])]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**variables, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_registry_when_the_package_is_installed_then_lists_its_provider_among_the_others(installed: Path) -> None:
    listing = "import models; print(*models.registry.names())"
    names = ran("-c", listing, found_in=installed).split()
    assert {"llamacpp", "openai"} <= set(names)
    assert "llamacpp" not in ran("-c", listing).split()


def test_make_when_the_package_is_installed_then_makes_its_model_with_what_the_user_says_of_it(installed: Path) -> None:
    program = (
        "import models\n"
        "model = models.make('llamacpp/coder', {'llamacpp/coder': {'max_stops': 3}})\n"
        "print(type(model).__module__, model.name, model.capabilities.max_stops, model.price, model.url)"
    )
    said = ran("-c", program, found_in=installed)
    assert said.split() == ["touchstone_llamacpp", "coder", "3", "None", "http://127.0.0.1:8080"]


def test_package_when_installed_then_its_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("touchstone_llamacpp.py"))
    said = ran("-m", "pytest", "-p", "no:cacheprovider", str(tmp_path / "package"), found_in=installed)
    assert "passed" in said and "skipped" not in said
