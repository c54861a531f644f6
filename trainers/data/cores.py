"""How many threads to use."""

import os


def cores() -> int:
    """Processor cores this process may run on (fewer than the machine's inside a container or a batch job)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
