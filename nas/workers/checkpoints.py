"""The states of trials: files `<number>-<epoch>.pt`, each written whole or not at all.

A trial saves its state when it pauses, and every few minutes before. It keeps the last two, because the newest may be
of an epoch that the study has not recorded. They are removed when the trial ends.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVERY = 180.0  # seconds of training that a crash may cost
SHARE = 0.01  # of the time that saving may take


class Clock:
    """Says when the next checkpoint is due."""

    def __init__(self) -> None:
        self._next = time.monotonic() + EVERY

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    @contextmanager
    def saving(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        end = time.monotonic()
        self._next = end + max(EVERY, (end - begin) / SHARE)


def epochs_of(folder: Path, number: int) -> list[int]:
    return sorted(int(path.stem.split("-")[1]) for path in folder.glob(f"{number}-*.pt"))


def newest(folder: Path, number: int, at_most: int) -> int:
    """The epoch, at most `at_most`, from which trial `number` can resume; 0 if nothing is kept."""
    return max((epoch for epoch in epochs_of(folder, number) if epoch <= at_most), default=0)


def save(folder: Path, number: int, state: Mapping[str, Any]) -> None:
    """Save `state`, which has its "epoch", and keep the one before it."""
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
    """Remove all files of a trial, half-written ones too."""
    for path in folder.glob(f"{number}-*"):
        path.unlink(missing_ok=True)
