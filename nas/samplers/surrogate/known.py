"""What the trials of a study have shown so far, as the proposer needs it. Only new and changed trials are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from nas.samplers import COST, GIVEN, SECONDS, SHOWN_BY_TRAINING
from nas.samplers.surrogate.trade_off import Costs
from nas.searching.drafts import Draft, Params, key, shared

Array = NDArray[np.float64]
Layout = Callable[[Params], Hashable]
SHOWN = 3  # trials at the lowest rung, by which a layout is known
LEAST_SECONDS = 1e-3  # of an epoch, whose logarithm is taken


class Known:
    """Dictionaries are by trial. `changes` counts those of values at rungs, `blamed` the trials found infeasible."""

    def __init__(self) -> None:
        self.trials: list[FrozenTrial] = []
        self.drafts: dict[int, Draft] = {}  # every trial's configuration
        self.vectors: dict[int, Array] = {}  # encoded
        self.tried: set[frozenset[tuple[str, Any]]] = set()
        self.given: list[int] = []
        self.rungs: list[dict[int, float]] = []  # of each rung: values, higher for better trials
        self.costs = Costs()  # none known: the value is the only objective
        self.seconds = Costs()  # of an epoch, of trials that have stopped
        self.infeasible: dict[int, bool] = {}
        self._costly: set[int] = set()  # infeasible trials that have been trained, or failed
        self.copies: dict[int, bool] = {}  # of every trial at the lowest rung: whether an earlier one has its values
        self.changes = self.blamed = 0
        self._curves: dict[tuple[float, ...], int] = {}  # values up to the lowest rung -> the first trial with them
        self._layouts: dict[int, Hashable] = {}  # of every trial with a value at the lowest rung

    def read(self, trials: Sequence[FrozenTrial], rungs: Sequence[int], sign: float) -> None:
        """Read the new and changed trials: an in-memory storage replaces the object of one that changes."""
        if not self.rungs:
            self.rungs = [{} for _ in rungs]
        news = [trial for trial, seen in zip_longest(trials, self.trials) if trial is not seen]
        self.trials = list(trials)
        for trial in news:
            self._read_configuration(trial)
            if COST in trial.user_attrs:
                self.costs.add(trial.number, trial.user_attrs[COST])
            if SECONDS in trial.user_attrs:
                self.seconds.add(trial.number, max(trial.user_attrs[SECONDS], LEAST_SECONDS))
            self._read_values(trial, rungs, sign)

    def _read_configuration(self, trial: FrozenTrial) -> None:
        number = trial.number
        if number in self.drafts and len(trial.params) == len(self.drafts[number].params):
            return
        made = Draft(lambda name, distribution: None)
        made.params = trial.params
        made.distributions = {name: shared(found) for name, found in trial.distributions.items()}
        self.drafts[number] = made
        self.vectors.pop(number, None)
        self.tried.add(key(trial.params))
        if GIVEN in trial.user_attrs:
            self.given.append(number)

    def _read_values(self, trial: FrozenTrial, rungs: Sequence[int], sign: float) -> None:
        number = trial.number
        excess = any(value > 0 for value in trial.constraints.values())
        if excess or trial.intermediate_values:
            self.blamed += excess and not self.infeasible.get(number)
            self.infeasible[number] = excess
            trained = trial.state == TrialState.FAIL or bool(trial.intermediate_values)
            if excess and (trained or any(name in trial.constraints for name in SHOWN_BY_TRAINING)):
                self._costly.add(number)
        elif self.infeasible.pop(number, None):  # it has been retried
            self.blamed += 1
            self._costly.discard(number)
        if number not in self.copies and rungs[0] in trial.intermediate_values:
            curve = tuple(value for epoch, value in trial.intermediate_values.items() if epoch <= rungs[0])
            self.copies[number] = len(curve) > 1 and self._curves.setdefault(curve, number) != number
        for rung, values in zip(rungs, self.rungs, strict=True):
            value = None if excess else trial.intermediate_values.get(rung)
            if value is None:
                if values.pop(number, None) is not None:
                    self.changes += 1
            elif values.get(number) != sign * value:
                values[number] = sign * value
                self.changes += 1

    @property
    def costly(self) -> bool:
        """Whether some infeasible trial has been trained, or failed."""
        return bool(self._costly)

    def waiting(self, latest: int) -> list[int]:
        """Which of the latest trials run and have no value yet."""
        return [
            trial.number
            for trial in self.trials[-latest:]
            if trial.state == TrialState.RUNNING and trial.number not in self.rungs[0] and trial.params
        ]

    def untried(self, candidates: list[Draft]) -> list[Draft]:
        """Remove duplicates and configurations that have been tried."""
        return [made for key, made in {made.key: made for made in candidates}.items() if key not in self.tried]

    def layouts(self, layout: Layout) -> set[Hashable]:
        """The layouts that have been trained in full, or that several trials have shown at the lowest rung.

        A bad one never comes to the full budget, and must not be new for ever.
        """
        for number in self.rungs[0].keys() - self._layouts.keys():
            self._layouts[number] = layout(self.drafts[number].params)
        shown = Counter(self._layouts[number] for number in self.rungs[0])
        return {each for each, trials in shown.items() if trials >= SHOWN} | {
            self._layouts[number] for number in self.rungs[-1]
        }
