"""The default sampler for a search that is short of time: it proposes what gains most for each second of training.

A candidate's worth is its expected improvement over the best that the trials promise, divided by the time that an epoch
of it is predicted to take (Snoek, Larochelle & Adams 2012, section 3.2). In a search for the front of value and cost,
it is the growth of the front, divided likewise. The time of an epoch is learnt from all trials that have stopped.
Whether that finds better networks in a given time depends on the space; `benchmarks/README.md` has measurements.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, ndtr

from nas.samplers.surrogate.acquisition import growth
from nas.samplers.surrogate.beliefs import Outlook
from nas.samplers.surrogate.proposer import Sampler

Array = NDArray[np.float64]


def per_second(outlook: Outlook, x: Array) -> Array:
    """The logarithm of what a trial of candidates x (m, columns) is expected to gain in a second: (m,)."""
    gain = improvement(outlook, x)
    return gain - outlook.duration(x) if outlook.known.seconds else gain


def improvement(outlook: Outlook, x: Array) -> Array:
    """The logarithm of the expected improvement, or growth of the front, at x (m, columns): (m,)."""
    if outlook.known.costs:
        return growth(outlook, x)
    mean, variance = outlook.model.predict(x)
    return log_expected_improvement(mean, variance, max(outlook.promise.values()))


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


def sampler(seed: int) -> Sampler:
    return Sampler(seed, per_second)
