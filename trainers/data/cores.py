"""How many threads to use."""

import os


def cores() -> int:
    """The number of cores this process may use: in a container or a batch job, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
