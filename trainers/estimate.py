"""A metric's mean over networks that differ only by seed, and how certain it is: over images and seeds together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from trainers import metrics
from trainers.metrics import Metric, bootstrap

Array = NDArray[Any]

RESAMPLES = 200  # enough for a standard error (Efron & Tibshirani 1993, section 6.4)


@dataclass(frozen=True)
class Estimate:
    """The mean of one metric over a method's seeds, or the difference of two such means (`a - b`)."""

    value: float
    resampled: Array  # (RESAMPLES,) the same on resamples of the images
    seeds: tuple[tuple[float, int], ...]
    """Of each method with several seeds: the variance of their mean on these images, and its degrees of freedom."""
    shared: float
    """The variance that seeds and images have in common: of the noise of each network on each image."""
    unseen: float = 0.0
    """The variance over images that no resample shows: `of_three`."""

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference, paired over the images: both must come from one call of `estimates`."""
        resampled = self.resampled - other.resampled
        seeds, shared = self.seeds + other.seeds, self.shared + other.shared
        return Estimate(self.value - other.value, resampled, seeds, shared, self.unseen + other.unseen)

    def interval(self) -> tuple[float, float]:
        """The 95% confidence interval over images and seeds; over images only if no method has several seeds.

        Images and seeds are crossed random effects. The bootstrap gives the variance over images and the seeds' sample
        variance that over seeds; what both contain counts once. Their sum, which is never taken to be less than the
        variance over images, has the degrees of freedom of Satterthwaite (1946), so a few seeds that disagree give a
        wide interval. Resampling three seeds would show two thirds of their variance and nothing of what a fourth might
        do. Coverage, measured in tests/test_estimate.py: 93 to 97% for three or five seeds that vary as much as the
        images; 89% for three that vary twice as much.
        """
        error, freedom = self._error()
        half = float(student.ppf(0.975, freedom)) * error
        return self.value - half, self.value + half

    def p_value(self) -> float:
        """Of the two-sided test that the value is zero, with the standard error and freedom of `interval`."""
        error, freedom = self._error()
        return float(2 * student.sf(abs(self.value) / error, freedom)) if error else float(self.value == 0)

    def _error(self) -> tuple[float, float]:
        """The standard error and its degrees of freedom."""
        over_images = float(self.resampled.var(ddof=1)) + self.unseen
        over_seeds = sum(variance for variance, _ in self.seeds)
        variance = max(over_images - self.shared, 0.0) + over_seeds
        variance = max(variance, over_images)
        uncertain = sum(part**2 / freedom for part, freedom in self.seeds)
        return variance**0.5, variance**2 / uncertain if uncertain else np.inf


def limited(metric: str, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval without values that the metric cannot have, such as an AUC above 1."""
    low, high = interval
    name = metrics.base(metric)
    of_target = [known for known in metrics.OF_ONE_TARGET if name.startswith(f"{known}_")]
    name = max(of_target, key=len) if of_target and name not in metrics.HIGHER_IS_BETTER else name
    up_to_one = name in metrics.HIGHER_IS_BETTER or name.startswith(metrics.OF_ONE_CLASS)
    from_zero = name not in ("r2", "r2_within", "nll", "mcc") and (up_to_one or name in metrics.LOWER_IS_BETTER)
    return max(low, 0.0) if from_zero else low, min(high, 1.0) if up_to_one else high


def intervals(found: Mapping[str, Estimate]) -> dict[str, tuple[float, float]]:
    """The 95% interval of every metric but those that no resample of so few images changes."""
    all_of_them = {name: limited(name, estimate.interval()) for name, estimate in found.items()}
    return {name: (low, high) for name, (low, high) in all_of_them.items() if high - low > 1e-12 * abs(high)}


def estimates(
    metric: Metric, methods: Sequence[Sequence[Array]], truth: Array, *, strata: Array | None = None,
    objects: Array | None = None,
) -> list[dict[str, Estimate]]:  # fmt: skip
    """Estimate every metric of several methods, each given as the predictions (N, ...) of its networks, one a seed.

    A deterministic method has one. All methods share the resamples of the images, drawn as in `metrics.bootstrap`, so
    differences of their estimates are paired; their seeds are independent.
    """
    networks = [predicted for method in methods for predicted in method]
    resampled = iter(bootstrap(metric, networks, truth, strata=strata, objects=objects, n=RESAMPLES))
    fewest = _fewest(np.zeros(len(truth)) if strata is None else strata, objects)
    return [
        _estimate([metric(p, truth) for p in method], [next(resampled) for _ in method], fewest) for method in methods
    ]


def _fewest(strata: Array, objects: Array | None) -> int:
    """The number of images, or of objects, in the smallest stratum."""
    objects = np.arange(len(strata)) if objects is None else objects
    return min(len(np.unique(objects[strata == s])) for s in np.unique(strata))


def of_three(metric: str, resampled: Array, images: int) -> float:
    """The variance of a share that is the same on every resample, as a perfect score is; 0 for any other metric.

    With it, half a 95% interval is 3 / images (the rule of three, Hanley & Lippman-Hand 1983).
    """
    low, high = (-1, 1) if metrics.base(metric) == "mcc" else limited(metric, (-math.inf, math.inf))
    if math.isinf(low) or math.isinf(high) or np.ptp(resampled) > 1e-12:
        return 0.0
    return ((high - low) * 3 / 1.96 / images) ** 2


def _estimate(
    values: Sequence[Mapping[str, float]], resampled: Sequence[Mapping[str, Array]], fewest: int
) -> dict[str, Estimate]:
    """The estimates of one method from its networks' metrics, on the images and on resamples of them."""
    count, found = len(values), {}
    for name in values[0]:
        each = np.array([v[name] for v in values])
        drawn = np.array([r[name] for r in resampled])
        mean = drawn.mean(0)
        unseen = of_three(name, mean, fewest)
        if count == 1:
            found[name] = Estimate(float(each[0]), mean, (), 0.0, unseen)
            continue
        over_seeds = float(each.var(ddof=1)) / count
        shared = float(drawn.var(1, ddof=1).mean() - mean.var(ddof=1)) / (count - 1)  # as in an analysis of variance
        found[name] = Estimate(float(each.mean()), mean, ((over_seeds, count - 1),), max(shared, 0.0), unseen)
    return found
