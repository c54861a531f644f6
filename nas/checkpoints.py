"""The states of paused trials: one file a trial, `<number>-<epoch>.pt`, replaced atomically, removed when it ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def epoch_of(folder: Path, number: int) -> int:
    """Up to which epoch trial `number` can go on; 0 where nothing is kept."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob(f"{number}-*.pt")), default=0)


def save(folder: Path, number: int, state: Mapping[str, Any]) -> None:
    """Keep `state` (with its "epoch") as the only checkpoint of the trial; a crash leaves the old one or the new."""
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number}-{state['epoch']}.pt"
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(dict(state), unfinished)
    os.replace(unfinished, path)
    for old in folder.glob(f"{number}-*.pt"):
        if old != path:
            old.unlink()


def load(folder: Path, number: int, epoch: int) -> dict[str, Any]:
    import torch

    return torch.load(folder / f"{number}-{epoch}.pt", map_location="cpu", weights_only=True)


def remove(folder: Path, number: int) -> None:
    for path in folder.glob(f"{number}-*"):
        path.unlink(missing_ok=True)
