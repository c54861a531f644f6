"""Describe why a training failed, in one line for the study."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def describe_failure(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


def lost_device(error: BaseException) -> bool:
    """Whether the process has lost its CUDA context and can run nothing more on the GPU."""
    return "CUDA error" in str(error)


def kills_for_memory() -> int:
    """The number of processes that the kernel has killed because memory ran out, here or in this container.

    0 where it does not say.
    """
    lines: list[str] = []
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        if os.access(file, os.R_OK):
            lines += Path(file).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
