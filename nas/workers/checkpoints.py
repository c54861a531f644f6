"""The states of trials: files `<number>-<epoch>.pt`, each written whole or not at all.

A trial saves its state when it pauses, and every few minutes before. It keeps the last two, because the newest may be
of an epoch that the study has not recorded. They are removed when the trial ends.
"""

from __future__ import annotations

import pickle
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nas.workers import far

EVERY = 180.0  # seconds of training that a crash may cost
SHARE = 0.01  # of the time that saving may take


class CheckpointFailed(Exception):
    """A checkpoint could not be written or read, which says nothing of the trial."""


@contextmanager
def _failing(what: str, folder: Path) -> Iterator[None]:
    try:
        yield
    # torch raises a RuntimeError where the disk is full, and the others for what is no checkpoint.
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if folder.is_dir():  # it may be on the driver's machine
            reason += f"; {folder} has {shutil.disk_usage(folder).free / 1e6:,.0f} MB free"
        raise CheckpointFailed(f"{what} ({reason})") from error


class Clock:
    """Says when the next checkpoint is due."""

    now = False  # one is asked for at the end of this epoch, by whoever trains in this process

    def __init__(self) -> None:
        self._next = time.monotonic() + EVERY

    @property
    def due(self) -> bool:
        return Clock.now or time.monotonic() >= self._next

    @contextmanager
    def saving(self) -> Iterator[None]:
        begin = time.monotonic()
        yield
        end = time.monotonic()
        self._next = end + max(EVERY, (end - begin) / SHARE)
        Clock.now = False


def epochs_of(folder: Path, number: int) -> list[int]:
    """The epochs whose files are whole: a power cut may leave one without its end, or empty."""
    whole = (path for path in folder.glob(f"{number}-*.pt") if zipfile.is_zipfile(path))
    return sorted(int(path.stem.split("-")[1]) for path in whole)


def newest(folder: Path, number: int, at_most: int) -> int:
    """The epoch, at most `at_most`, from which trial `number` can resume; 0 if nothing is kept."""
    return max((epoch for epoch in far.done(epochs_of, folder, number) if epoch <= at_most), default=0)


def save(folder: Path, number: int, state: Mapping[str, Any]) -> None:
    """Save `state`, which has its "epoch", and keep the one before it. CheckpointFailed where that is impossible."""
    import torch

    with _failing("its checkpoint cannot be written", folder):
        with far.written(folder / f"{number}-{state['epoch']}.pt") as file:
            torch.save(dict(state), file)
        far.done(_keep_two, folder, number, state["epoch"])


def _keep_two(folder: Path, number: int, saved: int) -> None:
    """Remove all but the checkpoint of epoch `saved` and the one before. Later ones are of a training given up."""
    epochs = epochs_of(folder, number)
    for epoch in {*epochs} - {*[epoch for epoch in epochs if epoch <= saved][-2:]}:
        (folder / f"{number}-{epoch}.pt").unlink()


def load(folder: Path, number: int, epoch: int) -> dict[str, Any]:
    """The state that was saved. CheckpointFailed if it is gone or damaged."""
    import torch

    with _failing("its checkpoint cannot be read", folder):
        return torch.load(far.opened(folder / f"{number}-{epoch}.pt"), map_location="cpu", weights_only=True)


def remove(folder: Path, number: int) -> None:
    """Remove all files of a trial, half-written ones too."""
    for path in (*folder.glob(f"{number}-*"), *folder.glob(f".{number}-*")):
        path.unlink(missing_ok=True)
