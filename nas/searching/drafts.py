"""Draws and changes whole configurations of a define-by-run space, without an Optuna study.

A space is known only by its sampling function. Running it against a `Draft` gives one configuration: parameters by
name, with their distributions, in the order in which they were asked for. To change one parameter, run the function
again with the others given: parameters that stay active keep their values, newly active ones are drawn, and the rest
are dropped.
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

from nas.errors import UserError
from nas.searching.optuna_private import contains
from search_space.bounds import whole

Params = dict[str, Any]
Sample = Callable[[Any], Any]
Key = frozenset[tuple[str, Any]]
Number = IntDistribution | FloatDistribution


# A search makes dozens of drafts for each proposal, all with the same few distributions. `typed` distinguishes (0, 1)
# from (False, True), which are equal.
@lru_cache(maxsize=4096, typed=True)
def _choices(*choices: Any) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


_integers = lru_cache(maxsize=4096, typed=True)(IntDistribution)
_floats = lru_cache(maxsize=4096, typed=True)(FloatDistribution)


def shared(distribution: BaseDistribution) -> BaseDistribution:
    """Return the one instance that all equal distributions share."""
    if isinstance(distribution, CategoricalDistribution):
        return _choices(*distribution.choices)
    assert isinstance(distribution, Number)
    one = _integers if isinstance(distribution, IntDistribution) else _floats
    return one(distribution.low, distribution.high, log=distribution.log, step=distribution.step)


class Draft:
    """The suggest methods of a trial: values come from `given` if they lie within the bounds, otherwise from `draw`.

    A parameter that is not given takes the value of one with more or fewer choices (`origin`): a stage keeps its mixer,
    if it can, when a mutation ties the network's weights.

    `known` holds the distributions that the values in `given` came from; those that are unchanged are not checked
    again. `vector` is a place for whoever encodes the draft.
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
        return self.suggest(name, _choices(*choices))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        return int(self.suggest(name, _integers(low, high, log=log, step=step)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        return float(self.suggest(name, _floats(low, high, log=log, step=step)))

    def suggest(self, name: str, distribution: BaseDistribution, *, alone: bool = False) -> Any:
        """`alone`: no other parameter is one with more or fewer choices, whatever their names."""
        if name not in self.params:
            if self._known.get(name) is distribution:
                value = self._given[name]
            elif (
                (of := name if alone else origin(name, self._given)) is not None
                and of in self._given
                and contains(distribution, self._given[of])
            ):
                value = self._given[of]
            else:
                value = self._draw(name, distribution)
            self.params[name], self.distributions[name] = value, distribution
        return self.params[name]

    @cached_property
    def key(self) -> Key:
        return key(self.params)

    @cached_property
    def free(self) -> list[str]:
        """The parameters that can take another value."""
        return [name for name, distribution in self.distributions.items() if not distribution.single()]


def origin(name: str, given: Mapping[str, Any]) -> str | None:
    """The parameter in `given` whose value `name` takes: itself, the one with all choices, or one with fewer."""
    if name in given:
        return name
    if (of := whole(name)) in given:
        return of
    return next((part for part in given if whole(part) == name), None)


def draft(
    sample: Sample,
    rng: np.random.Generator,
    given: Mapping[str, Any] | None = None,
    known: Mapping[str, BaseDistribution] | None = None,
) -> Draft:
    """Draw one configuration, uniformly within the bounds except for what is given; `known` as in `Draft`."""
    made = Draft(lambda name, distribution: value_at(distribution, rng.random()), given, known)
    sample(made)
    return made


def mutate(sample: Sample, rng: np.random.Generator, parent: Draft, changes: int = 1) -> Draft:
    """Change `changes` parameters of `parent`; one change may switch off another parameter."""
    left = list(parent.free)
    if not left:
        return parent
    given = dict(parent.params)
    for _ in range(min(changes, len(left))):
        name = left.pop(rng.integers(len(left)))
        given[name] = changed(rng, parent.distributions[name], parent.params[name])
    return draft(sample, rng, given, parent.distributions)


def changed(rng: np.random.Generator, distribution: BaseDistribution, value: Any) -> Any:
    """Return another choice, or a number moved by a step of random size."""
    if isinstance(distribution, CategoricalDistribution):
        chosen = int(distribution.to_internal_repr(value))
        other = int(rng.integers(len(distribution.choices) - 1))
        return distribution.choices[other + (other >= chosen)]
    assert isinstance(distribution, Number)
    step = math.exp(rng.uniform(math.log(0.01), math.log(0.3))) * rng.normal()
    place = place_of(distribution, value)
    moved = value_at(distribution, place + step)
    if moved == value and distribution.step:  # too small a step to reach the next value
        return neighbour(distribution, value, up=bool(rng.integers(2)))
    if moved == value:  # already at the bound that the step crosses
        return value_at(distribution, place - step)
    return moved


def cross(sample: Sample, rng: np.random.Generator, one: Draft, other: Draft) -> Draft:
    """Take each parameter from either of two configurations."""
    taken = {name: value for name, value in other.params.items() if rng.random() < 0.5}
    return draft(sample, rng, {**other.params, **one.params, **taken})


def splice(sample: Sample, rng: np.random.Generator, one: Draft, other: Draft) -> Draft:
    """Take the parameters that are asked for first from `one`, up to a random one, and the rest from `other`.

    Each gives one of them at least, if `one` has two. What belongs together is asked for together, so an architecture
    or a training often stays whole.
    """
    names = list(one.params)
    cut = rng.integers(1, len(names)) if len(names) > 1 else len(names)
    taken = {name: one.params[name] for name in names[:cut]}
    return draft(sample, rng, {**one.params, **other.params, **taken})


def value_at(distribution: BaseDistribution, place: float) -> Any:
    """Return the quantile of a distribution at `place`, from 0 to 1. Steps and choices have equal shares."""
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
    """Return where a number lies in its distribution, from 0 to 1: the inverse of `value_at`."""
    assert isinstance(distribution, Number)
    first, last = ends(distribution)
    return ((math.log(value) if distribution.log else value) - first) / (last - first) if last > first else 0.0


def ends(distribution: Number) -> tuple[float, float]:
    """Return the ends of a range, half a step beyond the bounds; their logarithms if the range is logarithmic."""
    low, high, half = distribution.low, distribution.high, (distribution.step or 0) / 2
    return (math.log(low - half), math.log(high + half)) if distribution.log else (low - half, high + half)


def stepped(distribution: Number, steps: int) -> Any:
    """Return the value `steps` steps above the lowest, always rounded alike: equal values must be equal keys."""
    assert distribution.step
    return min(max(distribution.low + steps * distribution.step, distribution.low), distribution.high)


def nearest(distribution: BaseDistribution, value: float) -> Any:
    """Return the value of a range of numbers that is nearest to `value`."""
    assert isinstance(distribution, Number)
    if distribution.step:
        value = stepped(distribution, round((value - distribution.low) / distribution.step))
    value = min(max(value, distribution.low), distribution.high)
    return int(value) if isinstance(distribution, IntDistribution) else value


def neighbour(distribution: Number, value: Any, *, up: bool) -> Any:
    """Return the next value up or down, reversing at a bound."""
    assert distribution.step
    last = round((distribution.high - distribution.low) / distribution.step)
    here = round((value - distribution.low) / distribution.step)
    return stepped(distribution, here + 1 if here == 0 or (up and here < last) else here - 1)


def key(params: Mapping[str, Any]) -> Key:
    """Return a key that is equal for equal configurations."""
    return frozenset(params.items())


def cells(sample: Sample) -> Iterator[Params]:
    """Yield every configuration of a finite space once, depth first. UserError for a parameter without steps."""
    given: Params | None = {}
    while given is not None:
        made = Draft(lambda name, distribution: all_values(name, distribution)[0], given)
        sample(made)
        yield made.params
        given = following(made)


def following(cell: Draft) -> Params | None:
    """Return what the next cell starts with: the last parameter that has another value left takes it."""
    given = dict(cell.params)
    for name in reversed(cell.params):
        values = all_values(name, cell.distributions[name])
        place = values.index(given.pop(name)) + 1
        if place < len(values):
            return {**given, name: values[place]}
    return None


def all_values(name: str, distribution: BaseDistribution) -> list[Any]:
    if isinstance(distribution, CategoricalDistribution):
        return list(dict.fromkeys(distribution.choices))  # without duplicates
    assert isinstance(distribution, Number)
    if distribution.low == distribution.high:
        return [distribution.low]
    if not distribution.step:
        raise UserError(f"{name} is a range without steps; a grid needs choices, whole numbers or a step")
    count = round((distribution.high - distribution.low) / distribution.step)
    return [stepped(distribution, steps) for steps in range(count + 1)]
