"""The number of threads follows what the process may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from model import cores
from model.cores import cgroup_quota, permitted_cores

if TYPE_CHECKING:
    from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file, its folders too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_tightest_quota_of_the_second_generation_counts(tmp_path: Path) -> None:
    """A group's quota and those of the groups above it are read; the smallest holds."""
    own = tmp_path / "own"
    write(own, "0::/a/b\n")
    write(tmp_path / "fs/a/b/cpu.max", "max 100000\n")
    write(tmp_path / "fs/a/cpu.max", "150000 100000\n")
    write(tmp_path / "fs/cpu.max", "400000 100000\n")
    assert cgroup_quota(tmp_path / "fs", own) == 1.5


def test_inside_a_container_the_root_is_read(tmp_path: Path) -> None:
    """The group's path is the host's there, and only the root of the mount exists."""
    own = tmp_path / "own"
    write(own, "0::/docker/0123\n")
    write(tmp_path / "fs/cpu.max", "50000 100000\n")
    assert cgroup_quota(tmp_path / "fs", own) == 0.5


def test_the_first_generation_is_read_too(tmp_path: Path) -> None:
    """`cpu.cfs_quota_us` over its period is the quota; -1 is none."""
    own = tmp_path / "own"
    write(own, "5:memory:/x\n4:cpu,cpuacct:/x\n")
    write(tmp_path / "fs/cpu/cpu.cfs_quota_us", "-1")
    write(tmp_path / "fs/cpu/cpu.cfs_period_us", "100000")
    assert cgroup_quota(tmp_path / "fs", own) is None
    write(tmp_path / "fs/cpu/x/cpu.cfs_quota_us", "200000")
    write(tmp_path / "fs/cpu/x/cpu.cfs_period_us", "100000")
    assert cgroup_quota(tmp_path / "fs", own) == 2.0


def test_no_groups_are_no_quota(tmp_path: Path) -> None:
    """Where there is no such file, or nonsense in it, nothing limits."""
    assert cgroup_quota(tmp_path, tmp_path / "none") is None
    own = tmp_path / "own"
    write(own, "0::/\n")
    write(tmp_path / "fs/cpu.max", "nonsense")
    assert cgroup_quota(tmp_path / "fs", own) is None


@pytest.mark.parametrize(("quota", "expected"), [(None, 4), (0.5, 1), (1.5, 2), (3.0, 3), (16.0, 4)])
def test_quota_and_affinity_both_limit(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int
) -> None:
    """A part of a core is one thread; more than the affinity allows is not used."""
    monkeypatch.setattr(cores, "cgroup_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert permitted_cores() == expected
