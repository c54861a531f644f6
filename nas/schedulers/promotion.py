"""Asynchronous successive halving as its paper has it (Li et al. 2020, arXiv 1810.05934, algorithm 2).

Every trial pauses at every rung; whenever a worker is free, the best 1/factor of a rung that have not gone on yet are
promoted, highest rung first. Ray's own ASHA only ever stops, and a sampler that learns then gets nearly every new
trial past the all-time quantile: early stopping stops saving.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from nas.schedulers import Decision, halving_epochs

SUBSTITUTES = 2  # of those who wait, beyond who can go on, should a better one fail


class Scheduler:
    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        self.rungs, self.factor = rungs, factor
        self.values: dict[int, dict[int, float]] = {rung: {} for rung in rungs}  # rung -> trial -> value
        self.order: dict[int, list[tuple[float, int]]] = {rung: [] for rung in rungs}  # (-value, trial), best first
        self.promoted: dict[int, set[int]] = {rung: set() for rung in rungs}  # rung -> the trials that went on from it
        self.paused: dict[int, int] = {}  # trial -> its rung

    def target(self, epoch: int) -> int:
        return next(rung for rung in self.rungs if rung > epoch)

    def report(self, trial: int, epoch: int, value: float) -> Decision:
        if epoch not in self.values:
            return Decision.CONTINUE
        self._drop(epoch, trial)  # trained again after a crash
        self.values[epoch][trial] = value
        insort(self.order[epoch], (-value, trial))
        for rung in self.rungs:
            if rung < epoch:
                self.promoted[rung].add(trial)
        if epoch == self.rungs[-1]:
            return Decision.COMPLETE
        self.paused[trial] = epoch
        return Decision.PAUSE

    def promote(self, *, last: bool) -> int | None:
        for rung, above in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            quota = len(self.values[rung]) // self.factor
            if last and not self.values[above]:
                quota = max(quota, 1)  # however few the trials, one of them reaches the full budget
            for _, trial in self.order[rung][:quota]:
                if self.paused.get(trial) == rung:
                    del self.paused[trial]
                    self.promoted[rung].add(trial)
                    return trial
        return None

    def hopeless(self, planned: int) -> list[int]:
        given_up = []
        most = planned  # trials that can ever come to this rung
        for rung in self.rungs[:-1]:
            quota = max(most // self.factor, 1)
            # A rank only ever gets worse, unless better trials fail: two more stay as substitutes until the end.
            quota += SUBSTITUTES
            given_up += [trial for _, trial in self.order[rung][quota:] if self.paused.get(trial) == rung]
            most = len(self.promoted[rung]) + quota  # early promotions can exceed the quota of the end
        return given_up

    def forget(self, trial: int) -> None:
        self.paused.pop(trial, None)

    def fail(self, trial: int) -> None:
        self.paused.pop(trial, None)
        for rung in self.rungs:
            self._drop(rung, trial)
            self.promoted[rung].discard(trial)

    def _drop(self, rung: int, trial: int) -> None:
        if trial in self.values[rung]:
            entry = (-self.values[rung].pop(trial), trial)
            del self.order[rung][bisect_left(self.order[rung], entry)]

    def expected_epochs(self, trials: int) -> float:
        return halving_epochs(trials, self.rungs, self.factor)
