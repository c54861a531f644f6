"""The default sampler for a search that is short of time: it proposes what gains most for each second of training.

A candidate's worth is its expected improvement over the best that the trials promise, divided by the time that an epoch
of it is predicted to take (Snoek, Larochelle & Adams 2012, section 3.2). In a search for the front of value and cost,
it is the growth of the front, divided likewise. The time of an epoch is learnt from all trials that have stopped.
Whether that finds better networks in a given time depends on the space; `benchmarks/README.md` has measurements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from scipy.special import erfcx, ndtr

from nas.samplers import SECONDS
from nas.samplers.surrogate.cokriging import CoKriging
from nas.samplers.surrogate.proposer import Sampler
from nas.samplers.surrogate.trade_off import Costs

Array = NDArray[np.float64]
LEAST = 1e-3  # seconds of an epoch, whose logarithm is taken


class PerSecond(Sampler):
    """The engine calls `propose`."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._seconds = Costs()

    def read(self, trials: Sequence[FrozenTrial], rungs: Sequence[int], sign: float) -> list[FrozenTrial]:
        news = super().read(trials, rungs, sign)
        for trial in news:
            if SECONDS in trial.user_attrs:
                self._seconds.add(trial.number, max(trial.user_attrs[SECONDS], LEAST))
        return news

    def _encode(self) -> None:
        before = self._encoding
        super()._encode()
        if self._encoding is not before:
            self._seconds.forget_model()

    def worth(
        self, x: Array, believer: CoKriging, promise: Mapping[int, float], pending: Array, boldness: float
    ) -> Array:
        if self.known.costs:
            gain = self.growth(x, believer, promise, pending)
        else:
            mean, variance = believer.predict(x)
            gain = log_expected_improvement(mean, variance, max(promise.values()))
        if not self._seconds:
            return gain
        assert self._encoding is not None
        return gain - self._seconds.predict(x, self.known.vectors, self._encoding.parameter)


def log_expected_improvement(mean: Array, variance: Array, best: float) -> Array:
    """The logarithm of the expected improvement over `best` of normal values (m,), also where it underflows: (m,).

    With z = (mean - best) / sd it is log sd + log(pdf(z) + z cdf(z)).
    """
    sd = np.sqrt(variance)
    z = (mean - best) / sd
    log_pdf = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    low = np.minimum(z, -1.0)  # here cdf / pdf = sqrt(pi / 2) erfcx(-z / sqrt 2), which does not underflow
    of_low = log_pdf + np.log1p(low * math.sqrt(math.pi / 2) * erfcx(-low / math.sqrt(2)))
    high = np.maximum(z, -1.0)
    of_high = np.log(np.exp(-0.5 * high * high) / math.sqrt(2 * math.pi) + high * ndtr(high))
    found: Array = np.log(sd) + np.where(z < -1.0, of_low, of_high)
    return found


def sampler(seed: int) -> PerSecond:
    return PerSecond(seed)
