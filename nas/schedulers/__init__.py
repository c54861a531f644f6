"""Which trials continue, and how far. Each module here, `nas/schedulers/<name>.py`, defines a `Scheduler`."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from enum import Enum
from typing import Protocol, runtime_checkable

from nas.errors import UserError
from nas.modules import find_module
from studies import StudySpec
from studies.spec import rungs


class Decision(Enum):
    CONTINUE = "continue"
    PAUSE = "pause"  # may be promoted later
    STOP = "stop"  # pruned for good
    COMPLETE = "complete"  # the full budget is reached


class Scheduler(Protocol):
    """Pure bookkeeping of rung values (higher is better). Replaying the reports rebuilds it."""

    rungs: tuple[int, ...]

    def __init__(self, rungs: tuple[int, ...], factor: int) -> None: ...

    def target(self, trial: int, epoch: int) -> int:
        """Return the epoch to which `trial`, with `epoch` epochs trained, runs before the next decision about it."""

    def report(self, trial: int, epoch: int, value: float) -> Decision: ...

    def promote(self, *, last: bool) -> int | None:
        """Return a paused trial that has earned its next rung. `last`: no trial will reach a rung again, nor
        will new ones come."""

    def hopeless(self, planned: int) -> list[int]:
        """Return the paused trials that can no longer be promoted if at most `planned` trials are ever started."""

    def forget(self, trial: int) -> None:
        """Drop a paused trial that has ended. Its values still count."""

    def resume(self, trial: int) -> None:
        """Drop a paused trial that runs again after an interruption: it has been promoted from its rung before."""

    def fail(self, trial: int) -> None:
        """Erase a failed trial, as if it had never existed."""

    def expected_epochs(self, trials: int) -> float:
        """Estimate the epochs that `trials` trials take in all, for the time left."""


@runtime_checkable
class ByFront(Protocol):
    """A scheduler that can compare trials by value and cost. Others compare them by value alone."""

    def weigh(self, costs: Mapping[int, float]) -> None:
        """Compare by the front of value and cost from now on. `costs`, by trial, grows while trials start."""


@runtime_checkable
class Screening(Protocol):
    """A scheduler that treats some trials otherwise because of when they began. The study keeps which."""

    def screens(self, trial: int, *, screened: bool | None = None) -> bool:
        """Return whether `trial`, which is about to start, is one of these. `screened`: what this was when it did."""


def halving_epochs(trials: float, rungs: tuple[int, ...], factor: int) -> float:
    """The epochs that successive halving trains for `trials` trials if 1/factor of each rung reaches the next."""
    below = (0, *rungs[:-1])
    return sum(
        max(trials / factor**k, 1) * (rung - low) for k, (low, rung) in enumerate(zip(below, rungs, strict=True))
    )


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def create(name: str, rungs: tuple[int, ...], factor: int) -> Scheduler:
    """Return the scheduler `name`: one of ours, or the dotted name of a module. It may use fewer than these rungs.

    UserError if there is none, or it lacks what `Scheduler` has.
    """
    scheduler: Scheduler = find_module(name, "scheduler", "nas.schedulers", known(), "Scheduler").Scheduler(
        rungs, factor
    )
    needed = (*Scheduler.__annotations__, *(member for member in vars(Scheduler) if not member.startswith("_")))
    if lacking := [member for member in needed if not hasattr(scheduler, member)]:
        raise UserError(f"scheduler {name!r} lacks {', '.join(lacking)}; add what nas.schedulers.Scheduler has")
    return scheduler


def of_study(spec: StudySpec) -> Scheduler:
    """Return a new scheduler for a study. Its `rungs` are the study's."""
    return create(spec.scheduler, rungs(spec.min_epochs, spec.epochs, spec.factor), spec.factor)
