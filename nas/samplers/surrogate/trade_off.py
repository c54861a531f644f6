"""Expected hypervolume improvement over the front of value and cost, where only the value is uncertain.

The front is a staircase over the logarithm of the cost. A candidate improves the area under it, from its own cost on,
wherever it reaches above a step. Its cost is known, so what it gains on average is a sum over the steps: the width of
the step times the expected improvement over its height. (With two uncertain objectives: Emmerich, Deutz & Klinkenberg
2011, "Hypervolume-based expected improvement".) The cost of a candidate is predicted from those of all trials, because
building a network takes longer than proposing one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from nas.samplers.surrogate.gaussian_process import GaussianProcess

Array = NDArray[np.float64]
LATEST = 200  # trials that the model of the cost is fitted to: near the latest, the next are proposed
STEPS = 10  # of its optimiser, whenever a seventh more trials are known


class Costs:
    """A positive number of every trial, its cost or seconds, and a model of the logarithm for other configurations."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}
        self._process: GaussianProcess | None = None
        self._fitted = self._optimised = 0

    def __bool__(self) -> bool:
        return bool(self.known)

    def add(self, trial: int, cost: float) -> None:
        self.known[trial] = cost

    def forget_model(self) -> None:
        """Begin anew, because configurations are encoded differently from now on."""
        self._process, self._fitted, self._optimised = None, 0, 0

    def predict(self, x: Array, vectors: Mapping[int, Array], parameter: NDArray[np.int64]) -> Array:
        """Predict the logarithm of the cost at x (m, columns): (m,). `vectors`: trial -> (columns,)."""
        if self._process is None:
            self._process = GaussianProcess(parameter)
        if self._fitted != len(self.known):
            latest = list(self.known)[-LATEST:]
            grown = len(self.known) > 1.15 * self._optimised
            self._process.fit(
                np.array([vectors[trial] for trial in latest]),
                np.log([self.known[trial] for trial in latest]),
                steps=STEPS if grown else 0,
            )
            self._fitted = len(self.known)
            self._optimised = self._fitted if grown else self._optimised
        return self._process.predict(x)[0]


def expected_improvement(
    mean: Array, variance: Array, cost: Array, steps: Array, floor: float, ceiling: float
) -> Array:
    """Return the area that each of m candidates is expected to add to a front: (m,).

    mean, variance, cost: of the candidates (m,). steps (k, 2): cost and value of the front, both rising. The area lies
    above the value `floor` and below the cost `ceiling`; costs on any scale.
    """
    edges = np.concatenate([[-np.inf], steps[:, 0], [np.inf]])
    heights = np.maximum(np.concatenate([[floor], steps[:, 1]]), floor)
    widths = np.diff(np.clip(edges, np.minimum(cost, ceiling)[:, None], ceiling))  # of each step, right of a candidate
    sd = np.sqrt(variance)[:, None]
    z = (mean[:, None] - heights) / sd
    gain: Array = (widths * sd * (z * ndtr(z) + np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi))).sum(1)
    return np.maximum(gain, 0.0)
