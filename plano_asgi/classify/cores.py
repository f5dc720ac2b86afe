"""How many cores this process may really use."""

import os
from pathlib import Path
from typing import Final

CGROUP_CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")


def usable_cores(cpu_max: Path = CGROUP_CPU_MAX) -> int:
    """Return the cores of the affinity mask, or of the container's quota (cgroup v2) where that is less; at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(cpu_max)
    return affinity if quota is None else max(1, min(affinity, quota))


def _quota(cpu_max: Path) -> int | None:
    try:
        quota, period = cpu_max.read_text().split()
        return round(int(quota) / int(period))
    except (OSError, ValueError):  # no cgroup v2, or no quota: "max"
        return None
