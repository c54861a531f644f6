"""Trains every trial in full, for comparisons that need every value at the same budget."""

from __future__ import annotations

from nas.schedulers import Decision


class Scheduler:
    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self.rungs, self.epochs = rungs, rungs[-1]

    def target(self, trial: int, epoch: int) -> int:
        return self.epochs

    def report(self, trial: int, epoch: int, value: float) -> Decision:
        return Decision.COMPLETE if epoch == self.epochs else Decision.CONTINUE

    def promote(self, *, last: bool) -> int | None:
        return None

    def hopeless(self, planned: int) -> list[int]:
        return []

    def forget(self, trial: int) -> None:
        return None

    def resume(self, trial: int) -> None:
        return None

    def fail(self, trial: int) -> None:
        return None

    def expected_epochs(self, trials: int) -> float:
        return trials * self.epochs
