"""Stopping asynchronous successive halving, as in Ray Tune's AsyncHyperBandScheduler with one bracket.

It is here for comparison. A trial that reaches a rung is stopped for good if it lies below the (1 - 1/factor) quantile
of the values recorded there before, so the first trial always continues. With a sampler that learns, `promotion` is the
better choice.
"""

from __future__ import annotations

import numpy as np

from nas.schedulers import Decision, halving_epochs


class Scheduler:
    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self.rungs, self.epochs, self.factor = rungs, rungs[-1], factor
        self.values: dict[int, dict[int, float]] = {rung: {} for rung in rungs[:-1]}  # rung -> trial -> value

    def target(self, trial: int, epoch: int) -> int:
        return self.epochs

    def report(self, trial: int, epoch: int, value: float) -> Decision:
        if epoch == self.epochs:
            return Decision.COMPLETE
        if epoch not in self.values:
            return Decision.CONTINUE
        before = [v for other, v in self.values[epoch].items() if other != trial]  # not its own from before a crash
        self.values[epoch][trial] = value
        return Decision.STOP if before and value < np.quantile(before, 1 - 1 / self.factor) else Decision.CONTINUE

    def promote(self, *, last: bool) -> int | None:
        return None

    def hopeless(self, planned: int) -> list[int]:
        return []

    def forget(self, trial: int) -> None:
        return None

    def resume(self, trial: int) -> None:
        return None

    def fail(self, trial: int) -> None:
        for values in self.values.values():
            values.pop(trial, None)

    def expected_epochs(self, trials: int) -> float:
        return halving_epochs(trials, self.rungs, self.factor)
