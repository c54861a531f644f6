"""Whole configurations of a define-by-run space, drawn and changed without an Optuna study.

A space is only known by its sampling function. Running it against a `Draft` gives one configuration: parameters by
name, with their distributions, in the order in which they were asked for. A change of one parameter is the same run
with the others given: what stays active keeps its value, what becomes active is drawn, the rest is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Params = dict[str, Any]
Sample = Callable[[Any], Any]


class Draft:
    """The suggest methods of a trial: values of `given` where they lie in the bounds, the others from `draw`."""

    def __init__(self, draw: Callable[[str, BaseDistribution], Any], given: Mapping[str, Any] | None = None) -> None:
        self.params: Params = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self._draw, self._given = draw, given or {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._suggest(name, CategoricalDistribution(choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._suggest(name, IntDistribution(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._suggest(name, FloatDistribution(low, high, log=log, step=step)))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.params:
            value = self._given[name] if contains(distribution, self._given, name) else self._draw(name, distribution)
            self.params[name], self.distributions[name] = value, distribution
        return self.params[name]


def contains(distribution: BaseDistribution, params: Mapping[str, Any], name: str) -> bool:
    if name not in params:
        return False
    try:
        return bool(distribution._contains(distribution.to_internal_repr(params[name])))
    except ValueError:
        return False


def draft(sample: Sample, rng: np.random.Generator, given: Mapping[str, Any] | None = None) -> Draft:
    """One configuration, uniform over the bounds where it is not given."""
    made = Draft(lambda name, distribution: value_at(distribution, rng.random()), given)
    sample(made)
    return made


def mutate(sample: Sample, rng: np.random.Generator, parent: Draft) -> Draft:
    """`parent` with one parameter changed: another choice, or a step of a number by any of several sizes."""
    free = [name for name, distribution in parent.distributions.items() if not distribution.single()]
    if not free:
        return parent
    name = free[rng.integers(len(free))]
    distribution, value = parent.distributions[name], parent.params[name]
    if isinstance(distribution, CategoricalDistribution):
        chosen = int(distribution.to_internal_repr(value))
        other = int(rng.integers(len(distribution.choices) - 1))
        changed = distribution.choices[other + (other >= chosen)]
    else:
        size = math.exp(rng.uniform(math.log(0.01), math.log(0.3)))
        place = place_of(distribution, value)
        changed = value_at(distribution, float(np.clip(place + size * rng.normal(), 0, 1)))
        if changed == value:  # whole numbers, small step
            changed = neighbour(distribution, value, up=bool(rng.integers(2)))
    return draft(sample, rng, {**parent.params, name: changed})


def cross(sample: Sample, rng: np.random.Generator, one: Draft, other: Draft) -> Draft:
    """Each parameter from either of two configurations."""
    taken = {name: value for name, value in other.params.items() if rng.random() < 0.5}
    return draft(sample, rng, {**other.params, **one.params, **taken})


def place_of(distribution: BaseDistribution, value: Any) -> float:
    """Where a number lies between its bounds, from 0 to 1; in the logarithm where the distribution says so."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    if low == high:
        return 0.0
    if distribution.log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return float((value - low) / (high - low))


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """The value at `place` of a distribution, from 0 to 1: its quantile. Steps and choices have equal shares."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(place * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step = distribution.low, distribution.high, distribution.step
    half = (step or 0) / 2
    if distribution.log:
        a, b = math.log(max(low - half, low / 2)), math.log(high + half)
        value = math.exp(a + place * (b - a))
    else:
        value = low - half + place * (high - low + 2 * half)
    if step:
        value = low + step * round((value - low) / step)
    value = min(max(value, low), high)
    return int(value) if isinstance(distribution, IntDistribution) else float(value)


def neighbour(distribution: BaseDistribution, value: Any, *, up: bool) -> Any:
    """The next value with steps, up or down, turning round at a bound."""
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    step = distribution.step or 0
    beyond = value + step > distribution.high if up else value - step < distribution.low
    return value + step if up != beyond else value - step


def key(params: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Equal for equal configurations."""
    return frozenset(params.items())


def cells(sample: Sample) -> Iterator[Params]:
    """Every configuration of a finite space once, depth first. ValueError at a parameter without steps."""
    given: Params | None = {}
    while given is not None:
        made = Draft(lambda name, distribution: all_values(name, distribution)[0], given)
        sample(made)
        yield made.params
        given = following(made)


def following(cell: Draft) -> Params | None:
    """What the next cell starts with: the last parameter that has another value left takes it."""
    given = dict(cell.params)
    for name in reversed(cell.params):
        values = all_values(name, cell.distributions[name])
        place = values.index(given.pop(name)) + 1
        if place < len(values):
            return {**given, name: values[place]}
    return None


def all_values(name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.low == distribution.high:
        return [distribution.low]
    if not distribution.step:
        raise ValueError(f"{name} is a range without steps: a grid needs choices, whole numbers or a step")
    count = round((distribution.high - distribution.low) / distribution.step)
    return [distribution.low + i * distribution.step for i in range(count + 1)]
