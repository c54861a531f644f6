"""Promotion rungs for a sampler that learns: each rung promotes a limited share of its trials.

By the paper's rule (`promotion`), every trial that is ever among the best 1/factor continues. If later trials keep
getting better, that is nearly every trial, as in stopping successive halving. Here a rung of n trials promotes no more
than share * n in all, and only from among its best share * n. Its best trial alone need not wait for the share if it is
among the first four to be promoted, or the first beyond the share: something good is trained in full early, and a
record that comes late still counts. At the end of the search, all trials in the best quarter of the share are promoted.

The share adapts to how well a rung has predicted the next one. It is factor ** -(c ** 2), where c is the rank
correlation of the two rungs, shrunk towards 0.95 while the promoted trials are few. It is about 1/factor if a rung
orders its trials correctly, more if it says little about them, and 0.6 at most. The square counts about what c leaves
of the order among the best, whom the share is about. Only promoted trials have values at both rungs, so c is estimated
from the correlation among these (Thorndike 1949, case 2).

Rungs below a tenth of the full budget mislead a model more than they save. They still tell the worst of random
configurations from the rest, for little: the first 14 trials, and on many workers all that begin before six others have
shown anything, are compared at one such rung, and the best third of them goes on. `rungs` does not hold that rung, so
the sampler does not see it.

A trial with the same values as another one is not promoted: it could only repeat what the other shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from nas.copies import Copies
from nas.schedulers import Decision, halving_epochs, promotion
from nas.schedulers.promotion import SUBSTITUTES

PRIOR_CORRELATION, PRIOR_TRIALS = 0.95, 10
LARGEST_SHARE = 0.6
LOWEST_RUNG = 0.1  # of the full budget
SCREENED, LOWEST_SCREEN = 14, 0.03  # the trials that are screened; the lowest epoch of that, of the full budget
INFORMED = 6  # results after which no more trials are screened
EAGER = 4  # the promotions of a rung that its best trial does not wait for
LATE = 4  # at the end, the best share * n / LATE are promoted in any case


class Scheduler(promotion.Scheduler):
    def __init__(self, rungs: tuple[int, ...], factor: int) -> None:
        super().__init__(tuple(rung for rung in rungs if rung >= LOWEST_RUNG * rungs[-1]), factor)
        self._changes = 0  # of the rungs, since the start
        self._shares: dict[int, tuple[float, int]] = {}  # rung -> its share, and the changes before it
        lower = [rung for rung in rungs if LOWEST_SCREEN * rungs[-1] <= rung < self.rungs[0]]
        self.screen = promotion.Scheduler((lower[-1], self.rungs[0]), factor) if lower else None
        self._also_screened: set[int] = set()  # beside the first
        self._shown: set[int] = set()  # the screened trials that have come to the screening rung
        self.copies = Copies()
        self._paused_copies: set[int] = set()

    def screens(self, trial: int, *, screened: bool | None = None) -> bool:
        if screened is None:
            screened = self.screen is not None and trial >= SCREENED and not self._informed()
        if screened:
            self._also_screened.add(trial)
        return screened

    def _informed(self) -> bool:
        return len(self._shown) >= INFORMED

    def _screen_of(self, trial: int) -> promotion.Scheduler | None:
        return self.screen if trial < SCREENED or trial in self._also_screened else None

    def target(self, trial: int, epoch: int) -> int:
        screen = self._screen_of(trial)
        return screen.rungs[0] if screen and epoch < screen.rungs[0] else super().target(trial, epoch)

    def report(self, trial: int, epoch: int, value: float) -> Decision:
        self.copies.report(trial, epoch, value)
        screen = self._screen_of(trial)
        if screen and epoch == screen.rungs[0]:
            self._shown.add(trial)
        if epoch == self.target(trial, epoch - 1) != self.rungs[-1] and self.copies.is_copy(trial, epoch):
            self._paused_copies.add(trial)
            return Decision.PAUSE
        if screen and epoch in screen.rungs:
            decision = screen.report(trial, epoch, value)
            if decision is Decision.PAUSE:
                return decision
        self._changes += epoch in self.values
        return super().report(trial, epoch, value)

    def promote(self, *, last: bool) -> int | None:
        for rung, above in reversed(list(zip(self.rungs, self.rungs[1:], strict=False))):
            quota = int(len(self.values[rung]) * self.share(rung, above) + 1e-9)
            if last and not self.values[above]:
                quota = max(quota, 1)  # one trial reaches the full budget, however few there are
            promoted = len(self.promoted[rung])
            places = quota if promoted < quota else min(quota, 1) if promoted < max(quota + 1, EAGER) else 0
            if last:
                places = max(places, quota // LATE)
            for trial in self.best(rung, places):
                if self.paused.get(trial) == rung:
                    del self.paused[trial]
                    self.promoted[rung].add(trial)
                    return trial
        return self.screen.promote(last=last) if self.screen else None

    def share(self, rung: int, above: int) -> float:
        """The fraction of the trials at `rung` that continue to the rung `above`.

        It is estimated anew when a thousandth of them has changed, since that takes longer the more there are.
        """
        if rung not in self._shares or self._changes > self._shares[rung][1] + len(self.values[rung]) / 1000:
            both = [trial for trial in self.values[above] if trial in self.values[rung]]
            weight = len(both) if len(both) >= 3 else 0
            measured = 0.0
            if weight:
                among_promoted = rank_correlation([self.values[r] for r in (rung, above)], both)
                measured = unrestricted(among_promoted, [trial in self.values[above] for _, trial in self.order[rung]])
            correlation = (PRIOR_TRIALS * PRIOR_CORRELATION + weight * measured) / (PRIOR_TRIALS + weight)
            share = self.factor ** -(max(correlation, 0.0) ** 2)
            self._shares[rung] = max(min(share, LARGEST_SHARE), 1 / self.factor), self._changes
        return self._shares[rung][0]

    def hopeless(self, planned: int) -> list[int]:
        """As in `promotion`, but the share may still grow."""
        given_up = sorted(self._paused_copies)
        if self.screen:
            most_screened = min(planned, SCREENED) + len(self._also_screened) if self._informed() else planned
            given_up += self.screen.hopeless(most_screened)
        most = planned  # trials that can ever reach this rung
        for rung in self.rungs[:-1]:
            most = max(int(most * LARGEST_SHARE), 1) + SUBSTITUTES
            given_up += [trial for trial in self.behind(rung, most) if self.paused.get(trial) == rung]
        return given_up

    def weigh(self, costs: Mapping[int, float]) -> None:
        super().weigh(costs)
        if self.screen:
            self.screen.weigh(costs)

    def forget(self, trial: int) -> None:
        super().forget(trial)
        self._paused_copies.discard(trial)
        if self.screen:
            self.screen.forget(trial)

    def resume(self, trial: int) -> None:
        super().resume(trial)
        self._paused_copies.discard(trial)
        if self.screen:
            self.screen.resume(trial)

    def fail(self, trial: int) -> None:
        self._changes += 1
        super().fail(trial)
        self._paused_copies.discard(trial)
        self.copies.forget(trial)
        self._also_screened.discard(trial)
        self._shown.discard(trial)
        if self.screen:
            self.screen.fail(trial)

    def expected_epochs(self, trials: int) -> float:
        if not self.screen:
            return super().expected_epochs(trials)
        low, screened = self.screen.rungs[0], min(trials, SCREENED)
        stopped = screened * (1 - 1 / self.factor)
        return stopped * low + halving_epochs(trials - stopped, self.rungs, self.factor)


def rank_correlation(values: list[dict[int, float]], trials: list[int]) -> float:
    """Spearman's rank correlation; 0 if all values at a rung are equal."""
    first, second = (rankdata([of[trial] for trial in trials]) for of in values)
    return 0.0 if np.ptp(first) == 0 or np.ptp(second) == 0 else float(np.corrcoef(first, second)[0, 1])


def unrestricted(correlation: float, promoted: Sequence[bool]) -> float:
    """The correlation over all trials of a rung, given the one among the promoted; `promoted` in the rung's order.

    The spread of the promoted trials is compared with that of all in normal scores.
    """
    score = ndtri((np.arange(len(promoted)) + 0.5) / len(promoted))
    among_promoted = score[np.asarray(promoted)].std()
    if among_promoted == 0:
        return correlation
    wider = float(score.std() / among_promoted)
    return correlation * wider / float(np.sqrt(1 + correlation**2 * (wider**2 - 1)))
