"""How many threads to use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS, OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """The number of cores this process may use: in a container or a batch job, fewer than the machine has."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(math.floor(min(allowed, quota(GROUPS, OWN))), 1)


def quota(groups: Path, own: Path) -> float:
    """The processor time that the groups of this process grant, in cores; infinite without a limit.

    groups: where the control groups (man 7 cgroups) of version 1 or 2 are mounted. own: the file that names ours.
    """
    return min(_granted(groups, own), default=math.inf)


def _granted(groups: Path, own: Path) -> Iterator[float]:
    lines = own.read_text().splitlines() if own.exists() else []
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers and "cpu" not in controllers.split(","):
            continue
        inner = Path(path.lstrip("/"))
        for level in (inner, *inner.parents):  # a group grants no more than those around it
            if controllers:
                files = [groups / "cpu" / level / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
            else:
                files = [groups / level / "cpu.max"]
            if all(file.exists() for file in files):
                time, period = " ".join(file.read_text() for file in files).split()
                if time not in ("max", "-1"):
                    yield int(time) / int(period)
