"""Asynchronous successive halving as in its paper (Li et al. 2020, arXiv 1810.05934, algorithm 2).

Every trial pauses at every rung. Whenever a worker is free, a paused trial among the best 1/factor of its rung is
promoted, highest rung first. Ray's own ASHA only ever stops trials: with a sampler that learns, nearly every new trial
then beats the all-time quantile, and early stopping no longer saves anything.

In a search for the front of value and cost, the best are those on the front, and in it those that add most area (see
`nas.front`), as in multi-objective ASHA (Schmucker et al. 2021, arXiv 2106.12639).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Mapping

from nas import front
from nas.schedulers import Decision, halving_epochs

SUBSTITUTES = 2  # trials that wait beyond those that can continue, in case a better one fails


class Scheduler:
    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self.rungs, self.factor = rungs, factor
        self.values: dict[int, dict[int, float]] = {rung: {} for rung in rungs}  # rung -> trial -> value
        self.order: dict[int, list[tuple[float, int]]] = {rung: [] for rung in rungs}  # (-value, trial), best first
        self.promoted: dict[int, set[int]] = {rung: set() for rung in rungs}  # rung -> the trials promoted from it
        self.paused: dict[int, int] = {}  # trial -> its rung
        self.costs: Mapping[int, float] = {}  # of every trial, in a search for the front of value and cost
        self._by_front: dict[int, list[int]] = {}  # rung -> its trials, best first; cleared when a rung changes

    def target(self, trial: int, epoch: int) -> int:
        return next(rung for rung in self.rungs if rung > epoch)

    def report(self, trial: int, epoch: int, value: float) -> Decision:
        if epoch not in self.values:
            return Decision.CONTINUE
        self.paused.pop(trial, None)  # in a replay, nobody has promoted it from a lower rung
        self._by_front.pop(epoch, None)
        self._drop(epoch, trial)  # it may be trained again after a crash
        self.values[epoch][trial] = value
        insort(self.order[epoch], (-value, trial))
        for rung in self.rungs:
            if rung < epoch:
                self.promoted[rung].add(trial)
        if epoch == self.rungs[-1]:
            return Decision.COMPLETE
        self.promoted[epoch].discard(trial)  # its promotion is void if it had to pass this rung again
        self.paused[trial] = epoch
        return Decision.PAUSE

    def promote(self, *, last: bool) -> int | None:
        for rung, above in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            quota = len(self.values[rung]) // self.factor
            if last and not self.values[above]:
                quota = max(quota, 1)  # one trial reaches the full budget, however few there are
            for trial in self.best(rung, quota):
                if self.paused.get(trial) == rung:
                    del self.paused[trial]
                    self.promoted[rung].add(trial)
                    return trial
        return None

    def weigh(self, costs: Mapping[int, float]) -> None:
        self.costs = costs

    def best(self, rung: int, count: int) -> list[int]:
        """The best `count` trials at a rung, best first."""
        if not self.costs:
            return [trial for _, trial in self.order[rung][:count]]
        if rung not in self._by_front:
            self._by_front[rung] = front.ordered(self.values[rung], self.costs)
        return self._by_front[rung][:count]

    def behind(self, rung: int, count: int) -> list[int]:
        """The trials at a rung that will never be among the best `count`, unless better ones fail.

        On the front, a place can improve: a new trial that dominates better ones puts them behind. What dominates a
        trial stays before it.
        """
        if not self.costs:
            return [trial for _, trial in self.order[rung][count:]]
        return [trial for trial, n in front.dominators(self.values[rung], self.costs).items() if n >= count]

    def hopeless(self, planned: int) -> list[int]:
        given_up = []
        most = planned  # trials that can ever reach this rung
        for rung in self.rungs[:-1]:
            quota = max(most // self.factor, 1)
            # A rank only gets worse unless better trials fail, so two more stay as substitutes until the end.
            quota += SUBSTITUTES
            given_up += [trial for trial in self.behind(rung, quota) if self.paused.get(trial) == rung]
            most = len(self.promoted[rung]) + quota  # early promotions can exceed the final quota
        return given_up

    def forget(self, trial: int) -> None:
        self.paused.pop(trial, None)

    def resume(self, trial: int) -> None:
        rung = self.paused.pop(trial, None)
        if rung is not None:
            self.promoted[rung].add(trial)

    def fail(self, trial: int) -> None:
        self.paused.pop(trial, None)
        self._by_front.clear()
        for rung in self.rungs:
            self._drop(rung, trial)
            self.promoted[rung].discard(trial)

    def _drop(self, rung: int, trial: int) -> None:
        if trial in self.values[rung]:
            entry = (-self.values[rung].pop(trial), trial)
            del self.order[rung][bisect_left(self.order[rung], entry)]

    def expected_epochs(self, trials: int) -> float:
        return halving_epochs(trials, self.rungs, self.factor)
