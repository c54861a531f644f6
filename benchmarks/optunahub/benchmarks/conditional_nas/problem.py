"""The formula as a benchmark of OptunaHub, define-by-run and with intermediate values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FixedTrial
from optunahub.benchmarks import BaseProblem

from .formula import SPEC, TASKS, Formula


class Problem(BaseProblem):
    """Maximise the value after the last epoch; every epoch is reported, and the study's pruner asked.

    `task` is "named", "swapped-1" or "swapped-2". The noise of a trial depends on `seed` and the trial's number.
    """

    tasks = tuple(TASKS)
    epochs = Formula.epochs

    def __init__(self, task: str = "named", seed: int = 0) -> None:
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
        self._formula, self._seed = Formula(task), seed

    @property
    def directions(self) -> list[StudyDirection]:
        return [StudyDirection.MAXIMIZE]

    def __call__(self, trial: optuna.Trial) -> float:
        _, curve = self._formula.learn(SPEC.sample(trial), 100_003 * self._seed + trial.number)
        for epoch, value in enumerate(curve.tolist(), start=1):
            trial.report(value, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return float(curve[-1])

    def evaluate(self, params: Mapping[str, Any]) -> float:
        """Return the value after the last epoch without noise."""
        return self._formula.learn(SPEC.sample(FixedTrial(dict(params))), 0)[0]
