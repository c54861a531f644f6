"""Describe why a training failed, in one line for the study."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch

UNITS = ("bytes", "KiB", "MiB", "GiB")


def describe_failure(error: BaseException) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
    return f"{type(error).__name__}: {error}".splitlines()[0]


def crowded_out(error: BaseException) -> bool:
    """Whether a GPU's memory ran out although this process had left some of its share: others have taken it.

    torch's message says so: "Tried to allocate 2.00 GiB. ... 19.77 GiB allowed; Of the allocated memory 3.10 GiB is
    allocated by PyTorch, and 512.00 MiB is reserved by PyTorch but unallocated."
    """
    if not isinstance(error, torch.OutOfMemoryError):
        return False
    size = r"([\d.]+) (bytes|KiB|MiB|GiB)"
    patterns = (f"{size} allowed", f"Tried to allocate {size}", f"{size} is allocated by", f"{size} is reserved by")
    found = [re.search(pattern, str(error)) for pattern in patterns]
    if not all(found):
        return False
    allowed, *needed = (float(m[1]) * 1024 ** UNITS.index(m[2]) for m in found if m is not None)
    return sum(needed) <= allowed


def lost_device(error: BaseException) -> bool:
    """Whether the process has lost its CUDA context, or has none, and can run nothing more on the GPU."""
    return "CUDA error" in str(error) or "No CUDA GPUs are available" in str(error)


def kills_for_memory() -> int:
    """The number of processes that the kernel has killed because memory ran out, here or in this container.

    0 where it does not say.
    """
    lines: list[str] = []
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        if os.access(file, os.R_OK):
            lines += Path(file).read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
