"""Python's other environments, and projects of several files, in real workers."""

from __future__ import annotations

import pytest

from core.types import Candidate, Case, Solution, Status, Tests
from sandbox import registry
from sandbox.pythons import ENVIRONMENTS, PYTHON, is_python
from sandbox.verdict import verdict
from sandbox.worker import ENVIRONMENT, PRELOAD, environment

PROJECT = (
    ("shop/__init__.py", ""),
    ("shop/prices.py", "PRICES = {'tea': 3}\n"),
    ("shop/cart.py", "from shop.prices import PRICES\n\ndef total(names):\n    return sum(PRICES[n] for n in names)\n"),
)


def made(code, *cases, **options):
    return Candidate(Solution(code, "raw"), options.pop("entry_point", "f"), Tests(cases), **options)


BACKENDS = ["docker", pytest.param("bubblewrap", marks=[pytest.mark.slow, pytest.mark.bubblewrap])]


async def judged(box, candidate):
    return verdict(candidate, await box.run(candidate))


def test_is_python_then_the_agents_own_environments_and_no_other_language():
    assert all(map(is_python, (PYTHON, *ENVIRONMENTS)))
    assert not any(map(is_python, ("python3.13", "bash", "python/3.12")))


def test_environment_then_only_what_preloads_is_told_more():
    assert environment(PYTHON) == environment("bash") == ENVIRONMENT
    assert "pandas" in environment("python/frameworks")[PRELOAD].split()


@pytest.mark.engine
@pytest.mark.parametrize(
    "name", ["docker", pytest.param("bubblewrap", marks=[pytest.mark.slow, pytest.mark.bubblewrap])]
)
async def test_run_when_a_candidate_names_an_environment_then_it_runs_there_and_others_elsewhere(name):
    version = "import sys\ndef f(): return list(sys.version_info[:2])\n"
    frameworks = (
        "import pandas, django\nfrom fastapi.testclient import TestClient\ndef f(): return pandas.__version__[0]\n"
    )
    async with registry.get(name)(1) as box:
        for language, expected in (("python/3.13", [3, 13]), ("python", [3, 11]), ("python/frameworks", [3, 13])):
            found = await judged(box, made(version, Case("f()", expected), language=language))
            assert found.status is Status.PASSED, found.detail
        found = await judged(box, made(frameworks, Case("f()", "2"), language="python/frameworks"))
        assert found.status is Status.PASSED, found.detail
        found = await judged(box, made(frameworks, Case("f()", "2"), language="python/3.13"))
        assert found.status is Status.CRASHED
        assert box.describe()["languages"].keys() == {"python/3.13", "python/frameworks"}


@pytest.mark.engine
async def test_run_when_it_is_a_project_then_its_modules_find_each_other_and_nothing_of_it_is_left():
    total = made(
        "", Case("total(['tea', 'tea'])", 6), Case("shop.prices.PRICES", {"tea": 3}, setup="import shop.prices"),
        entry_point="shop.cart:total", files=PROJECT,
    )  # fmt: skip
    broken = made(
        "", Case("total([])", 0), entry_point="shop.cart:total", files=(*PROJECT[:2], ("shop/cart.py", "1 +"))
    )
    lacking = made("", Case("total([])", 0), entry_point="shop.till:total", files=PROJECT)
    outside = made("", Case("x", 1), entry_point="shop.cart:total", files=(*PROJECT, ("../etc/passwd", "x")))
    left = made("import os\ndef f(): return sorted(os.listdir('/tmp'))\n", Case("f()", []))
    async with registry.get("docker")(1) as box:
        assert (await judged(box, total)).status is Status.PASSED
        assert (await judged(box, left)).status is Status.PASSED
        assert (await judged(box, broken)).detail.startswith("SyntaxError")
        assert (await judged(box, lacking)).detail.startswith("ModuleNotFoundError")
        assert (await judged(box, outside)).status is not Status.PASSED
        assert (await judged(box, left)).status is Status.PASSED


@pytest.mark.engine
async def test_run_when_a_socket_has_lost_its_other_end_then_it_raises_as_python_does_everywhere():
    code = "import socket\ndef f():\n    one, other = socket.socketpair()\n    other.close()\n    one.send(b'x')\n"
    async with registry.get("docker")(1) as box:
        found = await judged(box, made(code, Case("f()", raises="BrokenPipeError")))
    assert found.status is Status.PASSED, found.detail
