"""Predicts the value of a configuration at the full budget from the values at all rungs.

Recursive co-kriging (Kennedy & O'Hagan 2000; Le Gratiet & Garnier 2014, arXiv 1210.0686): the value at a rung is a
multiple of the value at the rung below plus a difference, which has its own Gaussian process. Every trial at a rung
has passed all rungs below it, so the processes can be fitted one by one. Predictions for an untried configuration
start at the lowest rung; those for a trial start from its own value at the last rung that it reached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas.samplers.surrogate.gaussian_process import GaussianProcess

Array = NDArray[np.float64]
FEWEST = 4  # values needed at the lowest rung
FEWEST_DIFFERENCES = 5  # with fewer, the difference is a constant with an uncertainty
MOST = 200  # values of a rung that a process is fitted to
STEPS = 10  # of the optimiser per fit, starting from the previous hyperparameters
PRIOR_SLOPE, PRIOR_PAIRS = 0.7, 3.0  # slope of standardised values on those of the rung below; its weight in pairs


@dataclass
class _Level:
    numbers: NDArray[np.int64]  # the trials that have a value here, ascending
    z: Array  # their normalised values
    slope: float = 1.0  # value = offset + slope * value below + difference
    offset: float = 0.0
    spread: float = 1.0  # variance of the difference if it has no process
    process: GaussianProcess | None = None

    def values(self, numbers: NDArray[np.int64] | Sequence[int]) -> Array:
        return self.z[np.searchsorted(self.numbers, numbers)]


class CoKriging:
    def __init__(self, parameter: NDArray[np.int64]) -> None:
        self.parameter = parameter
        self.levels: list[_Level] = []
        self._processes: dict[int, GaussianProcess] = {}
        self._optimised: dict[int, int] = {}  # level -> number of values when its hyperparameters were fitted

    def fit(self, rungs: Sequence[Mapping[int, float]], vectors: Mapping[int, Array]) -> None:
        """Fit every rung. `rungs`, lowest first: trial -> value, higher is better. `vectors`: trial -> (columns,)."""
        self.levels = []
        for index, found in enumerate(rungs):
            if len(found) < (FEWEST if index == 0 else 2):
                break
            numbers = np.fromiter(found.keys(), np.int64, len(found))
            order = np.argsort(numbers)
            z = normalised(np.fromiter(found.values(), np.float64, len(found))[order])
            level = _Level(numbers[order], z)
            target = z
            if index:
                below = self.levels[-1].values(level.numbers)
                centre, width = below.mean(), below.std() + 1e-9
                x = (below - centre) / width
                slope = (x @ z + PRIOR_PAIRS * PRIOR_SLOPE) / (x @ x + PRIOR_PAIRS)
                level.slope, level.offset = slope / width, -slope * centre / width
                target = z - level.offset - level.slope * below
            level.spread = max(float(target.var()), 0.3)
            if index == 0 or len(numbers) >= FEWEST_DIFFERENCES:
                kept = subset(z, MOST)
                x = np.array([vectors[number] for number in level.numbers[kept].tolist()])
                # Only promoted trials have a difference. A linear trend among them would promise gains far from them,
                # where no trial is promoted that could refute it.
                process = self._processes.setdefault(index, GaussianProcess(self.parameter, linear=index == 0))
                before = self._optimised.get(index, 0)
                grown = len(numbers) >= before + min(0.15 * before, max(25, 0.05 * before))
                if grown:
                    self._optimised[index] = len(numbers)
                level.process = process.fit(x, target[kept], steps=STEPS if grown else 0)
            self.levels.append(level)

    def believing(self, running: Array) -> CoKriging:
        """Return a copy that takes the predicted means at `running` (k, columns), which lacks values, as observed."""
        believer, lowest = copy(self), self.levels[0]
        assert lowest.process is not None
        if len(running):
            believer.levels = [replace(lowest, process=lowest.process.believing(running)), *self.levels[1:]]
        return believer

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Predict mean and variance at the highest rung with values, for x (m, columns)."""
        lowest = self.levels[0].process
        assert lowest is not None
        return self._up(*lowest.predict(x), x, 1)

    def predict_tried(self, numbers: Sequence[int], level: int, x: Array) -> tuple[Array, Array]:
        """The same for trials that reached `level`, starting from their own values there."""
        values = self.levels[level].values(numbers)
        return self._up(values, np.zeros(len(values)), x, level + 1)

    def _up(self, mean: Array, variance: Array, x: Array, start: int) -> tuple[Array, Array]:
        for level in self.levels[start:]:
            difference, spread = level.process.predict(x) if level.process else (0.0, level.spread)
            mean = level.offset + level.slope * mean + difference
            variance = level.slope**2 * variance + spread
        return mean, variance


def normalised(values: Array) -> Array:
    """Compress values below the median, then standardise: how bad a bad trial is says nothing about good ones."""
    usual = np.abs(np.quantile(values, [0.5, 0.9])).max()
    values = np.ldexp(values, -np.frexp(usual)[1])  # in any unit; exact
    middle = np.median(values)
    unit = np.quantile(values, 0.9) - middle if len(values) >= 5 else values.std()
    u = (values - middle) / (unit if unit > 1e-12 else 1.0)
    u = np.where(u < 0, -np.log1p(np.maximum(-u, 0)), u)
    z: Array = (u - u.mean()) / (u.std() + 1e-9)
    return z


def subset(z: Array, most: int) -> NDArray[np.int64]:
    """Return the indices to fit to: the best `most` / 2 by rank, and as many spread evenly over the others."""
    if len(z) <= most:
        return np.arange(len(z))
    order = np.argsort(-z, kind="stable")
    best, rest = order[: most // 2], np.sort(order[most // 2 :])
    return np.concatenate([best, rest[np.linspace(0, len(rest) - 1, most - most // 2).astype(int)]])
