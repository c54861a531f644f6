"""Encodes configurations of a conditional mixed space as vectors.

A categorical parameter becomes one column per choice. A number becomes its position between the bounds (between their
logarithms if its range is logarithmic). Every parameter has one more column that says whether it is active; an
inactive number lies in the middle. Configurations that differ in a choice, or in whether a parameter is active, are
then one apart in that parameter (a little more if an active number lies off the middle). Two numbers are at most one
apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from nas.searching.drafts import Number

Array = NDArray[np.float64]
ONE_APART = 0.5**0.5  # two different one-hot vectors of this height are one apart


class Encoding:
    """`parameter[column]` is the parameter that a column belongs to, by its place in `distributions`."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = dict(distributions)
        self._first: dict[str, int] = {}  # first column of each parameter
        self._choices: dict[str, dict[Any, int]] = {}  # column of each choice
        self._ranges: dict[str, tuple[bool, float, float]] = {}  # of each number: whether logarithmic, lowest, extent
        inactive: list[float] = []
        parameter: list[int] = []
        for index, (name, distribution) in enumerate(self.distributions.items()):
            self._first[name] = len(inactive)
            if isinstance(distribution, CategoricalDistribution):
                columns = [ONE_APART, *[0.0] * len(distribution.choices)]
                self._choices[name] = {value: len(inactive) + 1 + i for i, value in enumerate(distribution.choices)}
            else:
                assert isinstance(distribution, Number)
                columns = [1.0, 0.5]
                low, high = distribution.low, distribution.high
                if distribution.log:
                    low, high = math.log(low), math.log(high)
                self._ranges[name] = distribution.log, low, (high - low) or 1.0
            inactive += columns
            parameter += [index] * len(columns)
        self._inactive, self.parameter = inactive, np.array(parameter)

    def __call__(self, configurations: Iterable[Mapping[str, Any]]) -> Array:
        """Return (configurations, columns). Parameters unknown to the encoding are ignored."""
        return np.array([self.vector(params) for params in configurations]).reshape(-1, len(self._inactive))

    def vector(self, params: Mapping[str, Any]) -> list[float]:
        vector = self._inactive.copy()
        for name, value in params.items():
            first = self._first.get(name)
            if first is None:
                continue
            vector[first] = 0.0
            if name in self._ranges:
                log, low, extent = self._ranges[name]
                vector[first + 1] = ((math.log(value) if log else value) - low) / extent
            else:
                vector[self._choices[name][value]] = ONE_APART
        return vector
