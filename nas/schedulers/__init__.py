"""Which trials go on, and how far. A scheduler is a module here, `nas/schedulers/<name>.py`, with a `Scheduler`."""

from __future__ import annotations

import importlib
import pkgutil
from enum import Enum
from typing import Protocol


class Decision(Enum):
    CONTINUE = "continue"
    PAUSE = "pause"  # may be promoted later
    STOP = "stop"  # pruned for good
    COMPLETE = "complete"  # the full budget is reached


class Scheduler(Protocol):
    """Pure bookkeeping of rung values (higher is better), rebuilt by replaying reports."""

    rungs: tuple[int, ...]

    def __init__(self, rungs: tuple[int, ...], factor: int) -> None: ...

    def target(self, epoch: int) -> int:
        """Up to which epoch a trial that has trained `epoch` epochs is to run before it is asked about again."""

    def report(self, trial: int, epoch: int, value: float) -> Decision: ...

    def promote(self, *, last: bool) -> int | None:
        """A paused trial that has earned its next rung; `last`: nothing runs and no new trials will come."""

    def hopeless(self, planned: int) -> list[int]:
        """Paused trials that cannot be promoted any more if no more than `planned` trials are ever started."""

    def forget(self, trial: int) -> None:
        """The trial has ended, or is running again after an interruption: no candidate, but its values still count."""

    def fail(self, trial: int) -> None:
        """The trial failed: as if it had never been there."""

    def expected_epochs(self, trials: int) -> float:
        """About how many epochs `trials` trials come to, for the time that is left."""


def halving_epochs(trials: int, rungs: tuple[int, ...], factor: int) -> float:
    """Epochs that successive halving trains for `trials` trials: each rung is reached by 1/factor of the one below."""
    below = (0, *rungs[:-1])
    return sum(
        max(trials / factor**k, 1) * (rung - low) for k, (low, rung) in enumerate(zip(below, rungs, strict=True))
    )


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str, rungs: tuple[int, ...], factor: int) -> Scheduler:
    if name not in known():
        raise ValueError(f"unknown scheduler {name!r}; known: {', '.join(known())}")
    return importlib.import_module(f"nas.schedulers.{name}").Scheduler(rungs, factor)
