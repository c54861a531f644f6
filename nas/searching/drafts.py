"""Whole configurations of a define-by-run space, drawn and changed without an Optuna study.

A space is only known by its sampling function. Running it against a `Draft` gives one configuration: parameters by
name, with their distributions, in the order in which they were asked for. A change of one parameter is the same run
with the others given: what stays active keeps its value, what becomes active is drawn, the rest is gone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

Params = dict[str, Any]
Sample = Callable[[Any], Any]
Key = frozenset[tuple[str, Any]]
Number = IntDistribution | FloatDistribution


# A search makes dozens of drafts for each proposal, all with the same few distributions; `typed` tells (0, 1) from
# (False, True), which are equal.
@lru_cache(maxsize=4096, typed=True)
def _choices(*choices: Any) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


_integers = lru_cache(maxsize=4096, typed=True)(IntDistribution)
_floats = lru_cache(maxsize=4096, typed=True)(FloatDistribution)


def shared(distribution: BaseDistribution) -> BaseDistribution:
    """An equal distribution, of which there is one only."""
    if isinstance(distribution, CategoricalDistribution):
        return _choices(*distribution.choices)
    assert isinstance(distribution, Number)
    one = _integers if isinstance(distribution, IntDistribution) else _floats
    return one(distribution.low, distribution.high, log=distribution.log, step=distribution.step)


class Draft:
    """The suggest methods of a trial: values of `given` where they lie in the bounds, the others from `draw`.

    Where the bounds are those in `known`, which the values of `given` are from, they are not looked at again.
    `vector` is for who encodes it.
    """

    vector: NDArray[np.float64] | None = None

    def __init__(
        self,
        draw: Callable[[str, BaseDistribution], Any],
        given: Mapping[str, Any] | None = None,
        known: Mapping[str, BaseDistribution] | None = None,
    ) -> None:
        self.params: Params = {}
        self.distributions: dict[str, BaseDistribution] = {}
        self._draw, self._given, self._known = draw, given or {}, known or {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._suggest(name, _choices(*choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self._suggest(name, _integers(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self._suggest(name, _floats(low, high, log=log, step=step)))

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self.params:
            if self._known.get(name) is distribution or contains(distribution, self._given, name):
                value = self._given[name]
            else:
                value = self._draw(name, distribution)
            self.params[name], self.distributions[name] = value, distribution
        return self.params[name]

    @cached_property
    def key(self) -> Key:
        return key(self.params)

    @cached_property
    def free(self) -> list[str]:
        """The parameters that could have another value."""
        return [name for name, distribution in self.distributions.items() if not distribution.single()]


def contains(distribution: BaseDistribution, params: Mapping[str, Any], name: str) -> bool:
    if name not in params:
        return False
    try:
        return bool(distribution._contains(distribution.to_internal_repr(params[name])))
    except ValueError:
        return False


def draft(
    sample: Sample,
    rng: np.random.Generator,
    given: Mapping[str, Any] | None = None,
    known: Mapping[str, BaseDistribution] | None = None,
) -> Draft:
    """One configuration, uniform over the bounds where it is not given; `known` as of `Draft`."""
    made = Draft(lambda name, distribution: value_at(distribution, rng.random()), given, known)
    sample(made)
    return made


def mutate(sample: Sample, rng: np.random.Generator, parent: Draft, changes: int = 1) -> Draft:
    """`parent` with `changes` parameters changed, of which the first may switch off the others."""
    left = list(parent.free)
    if not left:
        return parent
    given = dict(parent.params)
    for _ in range(min(changes, len(left))):
        name = left.pop(rng.integers(len(left)))
        given[name] = changed(rng, parent.distributions[name], parent.params[name])
    return draft(sample, rng, given, parent.distributions)


def changed(rng: np.random.Generator, distribution: BaseDistribution, value: Any) -> Any:
    """Another choice, or a step of a number by any of several sizes."""
    if isinstance(distribution, CategoricalDistribution):
        chosen = int(distribution.to_internal_repr(value))
        other = int(rng.integers(len(distribution.choices) - 1))
        return distribution.choices[other + (other >= chosen)]
    assert isinstance(distribution, Number)
    step = math.exp(rng.uniform(math.log(0.01), math.log(0.3))) * rng.normal()
    place = place_of(distribution, value)
    moved = value_at(distribution, place + step)
    if moved == value and distribution.step:  # too small to come to the next one
        return neighbour(distribution, value, up=bool(rng.integers(2)))
    if moved == value:  # at a bound, and beyond it
        return value_at(distribution, place - step)
    return moved


def cross(sample: Sample, rng: np.random.Generator, one: Draft, other: Draft) -> Draft:
    """Each parameter from either of two configurations."""
    taken = {name: value for name, value in other.params.items() if rng.random() < 0.5}
    return draft(sample, rng, {**other.params, **one.params, **taken})


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """The value at `place` of a distribution, from 0 to 1: its quantile. Steps and choices have equal shares."""
    place = min(max(place, 0.0), 1.0)
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[min(int(place * len(distribution.choices)), len(distribution.choices) - 1)]
    assert isinstance(distribution, Number)
    first, last = ends(distribution)
    value = first + place * (last - first)
    value = math.exp(value) if distribution.log else value
    if distribution.step:
        return stepped(distribution, round((value - distribution.low) / distribution.step))
    return min(max(value, distribution.low), distribution.high)


def place_of(distribution: BaseDistribution, value: Any) -> float:
    """Where a number lies in its distribution, from 0 to 1: what `value_at` takes back to it."""
    assert isinstance(distribution, Number)
    first, last = ends(distribution)
    return ((math.log(value) if distribution.log else value) - first) / (last - first) if last > first else 0.0


def ends(distribution: Number) -> tuple[float, float]:
    """Of a range, in the logarithm where it is asked for so, with the half steps beyond the bounds."""
    low, high, half = distribution.low, distribution.high, (distribution.step or 0) / 2
    return (math.log(low - half), math.log(high + half)) if distribution.log else (low - half, high + half)


def stepped(distribution: Number, steps: int) -> Any:
    """The value so many steps above the lowest, always with the same rounding: equal values must be equal keys."""
    assert distribution.step
    return min(max(distribution.low + steps * distribution.step, distribution.low), distribution.high)


def neighbour(distribution: Number, value: Any, *, up: bool) -> Any:
    """The next value with steps, up or down, turning round at a bound."""
    assert distribution.step
    last = round((distribution.high - distribution.low) / distribution.step)
    here = round((value - distribution.low) / distribution.step)
    return stepped(distribution, here + 1 if here == 0 or (up and here < last) else here - 1)


def key(params: Mapping[str, Any]) -> Key:
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
        return list(dict.fromkeys(distribution.choices))  # of equal choices one
    assert isinstance(distribution, Number)
    if distribution.low == distribution.high:
        return [distribution.low]
    if not distribution.step:
        raise ValueError(f"{name} is a range without steps: a grid needs choices, whole numbers or a step")
    count = round((distribution.high - distribution.low) / distribution.step)
    return [stepped(distribution, steps) for steps in range(count + 1)]
