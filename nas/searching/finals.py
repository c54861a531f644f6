"""The finals of a search: its best configurations are trained again in full with fresh seeds, and one of them wins.

A winner picked by one seed and a few hundred images is often a lucky one. So at the end of a search a part of its cost
goes to the configurations that may be the best within the noise: each training goes to the leader or its strongest
challenger, whichever is less certain (top-two sampling, Russo 2016), and of those that were trained again the one with
the best lower bound wins (`nas.finalists`). The first two go to the best given and the
best found configuration: which of these is better is what a search is asked.

A search for a front of value and cost has many winners, so every configuration on the front is trained again in turn.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from nas.finalists import MOST_SEEDS, Finalist, estimate, next_to_train
from nas.reading import read
from nas.results import Results
from nas.searching.histories import record_of
from nas.searching.jobs import REPEATS, Event, Job
from nas.searching.ledger import Ledger
from nas.searching.losses import Losses


class Finals:
    """Hands out the trainings of the finals and takes their results, like `Engine` those of the search.

    Made when the search is over; what an earlier process has finished is found in the study. At most `share` of the
    epochs of the search are spent. With `folds`, each training of a configuration validates on another fold.
    `checkpoint` as in `Engine`.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        share: float,
        folds: int = 0,
        checkpoint: Callable[[int, int], int] = lambda number, at_most: 0,
        listen: Callable[[Event], None] = lambda event: None,
    ) -> None:
        results = read(ledger.study)
        self.ledger, self.results, self._listen, self._checkpoint = ledger, results, listen, checkpoint
        self.epochs, self.folds = results.rungs[-1], folds
        self.sign = 1.0 if results.maximize else -1.0
        able = results.front() if results.cost else [cell.trials[0] for cell in results.cells()]
        self.configs = {trial.number: trial for trial in able}
        self.budget = trainings(results, share) if len(self.configs) > 1 else 0
        self.first_seed = 1 + replace(results, repeats=()).last_seed
        self.attempts = Counter(t.repeats for t in results.repeats if t.repeats is not None)  # of each configuration
        fresh, self.dropped = results.again()  # dropped: configurations with a seed that failed
        self.fresh = defaultdict(list, fresh)
        self.running: dict[int, _Training] = {}
        self._interrupted: list[Job] = []
        self._losses = Losses()
        for trial in results.repeats:
            if trial.state not in ("complete", "failed"):
                assert trial.repeats is not None
                self.running[trial.number] = _Training(
                    trial.repeats, trial.config, [dict(epoch) for epoch in trial.history]
                )
                self._interrupt(trial.number)
        left = max(self.budget - self.attempts.total(), 0) + len(self._interrupted)
        if left:
            listen(Event("finals", 0, left))

    @property
    def done(self) -> bool:
        return not self.running and self._candidate() is None

    def next(self) -> Job | None:
        if self._interrupted:
            job = self._interrupted.pop()
        else:
            trial = self._candidate()
            if trial is None:
                return None
            config = {**self.configs[trial].config, "seed": self.first_seed + self.attempts[trial]}
            if self.folds:
                config["fold"] = [self.attempts[trial] % self.folds, self.folds]
            number = self.ledger.repeat(trial, {"config": config, REPEATS: trial})
            self.attempts[trial] += 1
            self.running[number] = _Training(trial, config, [])
            job = Job(number, config, 0, self.epochs)
        self._listen(Event("started", job.trial))
        return job

    def report(self, number: int, epoch: int, metrics: Mapping[str, float], *, saved: bool = False) -> bool:
        """Record an epoch. Return whether the training goes on. `saved`: it has a checkpoint."""
        trial, history = self.running[number].trial, self.running[number].history
        value = float(metrics[self.results.objective])
        if not math.isfinite(value):
            self.fail(number, f"{self.results.objective} is {value} at epoch {epoch}")
            return False
        history.append({"epoch": epoch, **metrics})
        if saved or epoch == self.epochs:
            self.ledger.annotate(number, record_of(history, self.epochs, self.results.objective))
        self.ledger.report(number, epoch, value)
        self._listen(Event("epoch", number, epoch, value, metrics=metrics))
        if epoch < self.epochs:
            return True
        self.ledger.complete(number, value)
        self.fresh[trial].append(value)
        self._end(number, epoch, value, metrics=metrics)
        return False

    def lost(self, number: int, reason: str, *, memory: bool | None = False) -> None:
        """Go on with a training whose worker died. It fails when too many have died under it."""
        if self._losses.too_many(number, memory):
            self.fail(number, self._losses.reason(number, reason), infeasible=self._losses.of_memory(number))
            return
        self._listen(Event("lost", number, self._interrupt(number), reason=reason))

    def fail(self, number: int, reason: str, *, infeasible: bool = True) -> None:
        """End a training that failed. If its configuration is to blame (`infeasible`), that cannot win: it may fail
        again in the user's hands."""
        history = self.running[number].history
        if infeasible:
            self.dropped.add(self.running[number].trial)
        self.ledger.annotate(number, record_of(history, self.epochs, self.results.objective))
        self.ledger.fail(number, reason, infeasible=infeasible)
        self._end(number, len(history), math.nan, f": {reason}")

    def standings(self) -> list[Finalist]:
        pending = Counter(training.trial for training in self.running.values())
        searched = {number: trial.value for number, trial in self.configs.items() if number not in self.dropped}
        given = {number for number, trial in self.configs.items() if trial.given}
        maximize = self.results.maximize
        return estimate(searched, self.fresh, maximize=maximize, pending=pending, given=given) if searched else []

    def _interrupt(self, number: int) -> int:
        """Put a training that had begun back into the queue, from the epoch of its newest checkpoint; return that."""
        training = self.running[number]
        kept = self._checkpoint(number, len(training.history))
        del training.history[kept:]
        self._interrupted.append(Job(number, dict(training.config), kept, self.epochs))
        return kept

    def _candidate(self) -> int | None:
        """The configuration to train next; None if the budget is spent or the winner is clear."""
        if self.attempts.total() >= self.budget:
            return None
        standings = self.standings()
        able = [f for f in standings if self.attempts[f.trial] < MOST_SEEDS]
        if self.results.cost:
            return min(able, key=lambda f: self.attempts[f.trial]).trial if able else None
        if len(standings) < 2:
            return None
        tried = {trial.given for number, trial in self.configs.items() if self.attempts[number]}
        for f in sorted(able, key=lambda f: (-self.sign * f.mean, f.trial)):
            if self.configs[f.trial].given not in tried:  # first the leader, then the best of the other kind
                return f.trial
        return next_to_train(standings, self.sign, self.attempts)

    def _end(
        self, number: int, epoch: int, value: float, reason: str = "", metrics: Mapping[str, float] | None = None
    ) -> None:
        trial = self.running.pop(number).trial
        told = f"trial {self.results.trial(trial).label} again{reason}"
        self._listen(Event("final", number, epoch, value, told, metrics=metrics or {}))


@dataclass
class _Training:
    trial: int  # that it repeats
    config: Mapping[str, Any]
    history: list[dict[str, Any]]


def trainings(results: Results, share: float) -> int:
    """The number of full trainings that `share` of the epochs of a search pays for."""
    return int(share * sum(trial.epochs for trial in results.trained) / results.rungs[-1])
