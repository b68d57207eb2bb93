"""How many processor cores this process may use, which is what decides the number of threads."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def permitted_cores() -> int:
    """Return the cores in this process's affinity mask, or fewer where a container's quota allows less."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux has it, macOS has not
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = cgroup_quota()
    return max(1, cores if quota is None else min(cores, math.ceil(quota)))


def cgroup_quota(root: Path = _CGROUPS, own: Path = _OWN_GROUP) -> float | None:
    """Return the processor quota of this process's control group in cores, None where there is none.

    Both generations are read: ``cpu.max`` of this group and the groups above it, or ``cpu.cfs_quota_us``.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if not controllers:
            base, read = root, _quota_v2
        elif "cpu" in controllers.split(","):
            base, read = root / "cpu", _quota_v1
        else:
            continue
        # In a container the group's path is the host's, while only the group itself is mounted: so the
        # root is read too.
        folder = base / name.strip("/")
        for place in (folder, *folder.parents):
            quota = read(place)
            if quota is not None:
                quotas.append(quota)
            if place == base:
                break
    return min(quotas, default=None)


def _quota_v2(folder: Path) -> float | None:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(folder: Path) -> float | None:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
