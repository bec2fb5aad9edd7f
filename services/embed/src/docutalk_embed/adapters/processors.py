"""How many processors this process may use: a container's limit is not what `os.cpu_count` says."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_1 = Path("/sys/fs/cgroup/cpu")


def available_processors() -> int:
    """The smaller of the processors the process may run on and its control group's quota, rounded up; at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, allowed if quota is None else min(allowed, math.ceil(quota)))


def _quota() -> float | None:
    """Processors' worth of time that the control group grants; None without a limit."""
    try:
        if _CGROUP_2.exists():
            limit, period = _CGROUP_2.read_text().split()
        else:
            limit = (_CGROUP_1 / "cpu.cfs_quota_us").read_text().strip()
            period = (_CGROUP_1 / "cpu.cfs_period_us").read_text().strip()
    except (OSError, ValueError):
        return None
    return None if limit in ("max", "-1") else int(limit) / int(period)
