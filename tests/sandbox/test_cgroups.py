"""Where a control group of our own can be made, and how, on hosts that are set up in other ways than this one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sandbox import cgroups


@pytest.fixture
def unified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree like that of version 2, in which this process is in user/scope; `user` passes all controllers on."""
    for folder, words in (("", "cpu memory pids"), ("user", "memory pids"), ("user/scope", ""), ("other", "memory")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "cgroup.subtree_control").write_text(words)
    monkeypatch.setattr(cgroups, "_mounts", lambda: dict.fromkeys(cgroups.CONTROLLERS, (tmp_path, "")))
    monkeypatch.setattr(cgroups, "_own", lambda: {"": "/user/scope"})
    return tmp_path


def test_group_when_the_version_is_2_then_is_beside_this_process_where_limits_can_be_set(unified: Path) -> None:
    group = cgroups.make(1 << 30, 10)
    assert group is not None
    assert (group.version, [folder.parent for folder in group.folders]) == (2, [unified / "user"])
    assert group.seen == (group.folders[0], Path("/sys/fs/cgroup"))
    assert cgroups.NAME.fullmatch(group.folders[0].name)
    group.remove()
    assert not group.folders[0].exists()


def test_group_when_nothing_below_passes_limits_on_then_is_at_the_top(
    unified: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "_own", lambda: {"": "/other"})
    assert cgroups._places() == (2, [unified])


@pytest.mark.parametrize("missing", cgroups.CONTROLLERS)
def test_group_when_a_controller_is_missing_then_there_is_none(
    unified: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    rest = {name: (unified, "") for name in cgroups.CONTROLLERS if name != missing}
    monkeypatch.setattr(cgroups, "_mounts", lambda: rest)
    assert cgroups.make(1 << 30, 10) is None


def test_group_when_the_version_is_1_then_is_one_for_each_controller_below_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory" / "own").mkdir(parents=True)
    (tmp_path / "pids").mkdir()
    monkeypatch.setattr(cgroups, "_mounts", lambda: {name: (tmp_path / name, name) for name in cgroups.CONTROLLERS})
    monkeypatch.setattr(cgroups, "_own", lambda: {"memory": "/own", "pids": "/not/seen/from/here"})
    assert cgroups._places() == (1, [tmp_path / "memory" / "own", tmp_path / "pids"])
    group = cgroups.make(1 << 30, 10)
    assert group is not None
    assert group.seen == (group.folders[0], Path("/sys/fs/cgroup/memory"))
    assert len({folder.name for folder in group.folders}) == 1
    assert str(os.getpid()) in group.folders[0].name
    group.remove()
