"""The states of paused trials: files `<number>-<epoch>.pt`, each there whole or not at all, removed when a trial ends.

A trial keeps its last two: the newest may be of an epoch that the study never heard of.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def epochs_of(folder: Path, number: int) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob(f"{number}-*.pt"))


def newest(folder: Path, number: int, at_most: int) -> int:
    """From which epoch, not beyond `at_most`, trial `number` can go on; 0 where nothing is kept."""
    return max((epoch for epoch in epochs_of(folder, number) if epoch <= at_most), default=0)


def save(folder: Path, number: int, state: Mapping[str, Any]) -> None:
    """Keep `state` (with its "epoch"), and the one before it."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}-{state['epoch']}.pt"
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(dict(state), unfinished)
    os.replace(unfinished, path)
    for epoch in epochs_of(folder, number)[:-2]:
        (folder / f"{number}-{epoch}.pt").unlink()


def load(folder: Path, number: int, epoch: int) -> dict[str, Any]:
    import torch

    return torch.load(folder / f"{number}-{epoch}.pt", map_location="cpu", weights_only=True)


def remove(folder: Path, number: int) -> None:
    """Whatever is kept of a trial, half-written files too."""
    for path in folder.glob(f"{number}-*"):
        path.unlink(missing_ok=True)
