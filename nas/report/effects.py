"""The effect of each factor of a grid: differences between trainings alike in everything else, seed included.

The effect of a level is the mean of its differences to a reference level over all such pairs, with the confidence
interval of the paired t-test. Whatever a pair shares, such as an easy seed or a good learning rate, cancels. An effect
that varies from cell to cell widens the interval beyond the spread of the seeds. The test assumes independent pairs.
All trainings see the same images, so the interval says nothing about other images. An interval holds for one difference
alone; whether a difference is real is judged by its p-value, corrected for all differences of the grid (Holm 1979,
Scandinavian Journal of Statistics 6, 65).

Some parameters exist only at some levels of a factor, such as the variants of a mixer. If that leaves a level without a
pair, these parameters are joined to the factor: a level is then a mixer with its variant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nas.results import Results
from nas.trials import Trial

CONFIDENCE = 0.95
Level = tuple[tuple[str, Any], ...]  # (parameter, value) for each parameter of a factor that a trial has


@dataclass(frozen=True)
class Difference:
    """The mean of paired differences and its 95% confidence interval, in units of the objective."""

    mean: float
    half: float | None  # of the interval's width; None for a single pair
    pairs: int
    p: float | None = None  # of the paired t-test, two-sided; None for a single pair

    @property
    def differs(self) -> bool:
        """Whether the mean differs from zero by this p-value."""
        return self.p is not None and self.p <= 1 - CONFIDENCE

    @classmethod
    def of(cls, differences: Sequence[float]) -> Difference | None:
        from scipy.stats import t

        n = len(differences)
        if not n:
            return None
        mean = float(np.mean(differences))
        if n == 1:
            return cls(mean, None, n)
        error = float(np.std(differences, ddof=1) / math.sqrt(n))
        p = 2 * float(t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
        return cls(mean, float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * error, n, p)


@dataclass(frozen=True)
class Effect:
    """One level minus the reference, on upright and on turned validation images; None without a pair."""

    level: Level
    upright: Difference | None
    turned: Difference | None


@dataclass(frozen=True)
class Factor:
    names: tuple[str, ...]  # the parameter, and those joined to it
    reference: Level  # the first level, in the order of the bounds, that has a finished training
    effects: tuple[Effect, ...]  # of the other levels, in the same order


def effects(results: Results) -> list[Factor]:
    """Every factor with at least one pair, by name, with p-values corrected for all differences of all factors.

    Unfinished and failed trainings are discarded.
    """
    factors = [_factor(name, results.trained, results.ranked()) for name in results.parameters]
    return corrected([factor for factor in factors if factor is not None and any(e.upright for e in factor.effects)])


def corrected(factors: Sequence[Factor]) -> list[Factor]:
    """The factors with the p-values of all their differences, upright and turned, corrected as one family."""
    tested = [
        d.p for f in factors for e in f.effects for d in (e.upright, e.turned) if d is not None and d.p is not None
    ]
    adjusted = dict(zip(tested, holm(tested), strict=True))  # equal ones stay equal

    def adjust(difference: Difference | None) -> Difference | None:
        if difference is None or difference.p is None:
            return difference
        return replace(difference, p=adjusted[difference.p])

    return [
        replace(f, effects=tuple(Effect(e.level, adjust(e.upright), adjust(e.turned)) for e in f.effects))
        for f in factors
    ]


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted by Holm's step-down method.

    Where no effect exists, one or more of them is at most a with a probability of at most a, however they depend.
    """
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1)).clip(max=1.0)
    return [float(value) for value in adjusted]


def _factor(name: str, trials: Sequence[Trial], finished: Sequence[Trial]) -> Factor | None:
    alone = _compare((name,), trials, finished)
    joined = _only_at_some_levels(name, trials)
    if alone is None or not joined or all(effect.upright for effect in alone.effects):
        return alone
    return _compare((name, *joined), trials, finished)


def _only_at_some_levels(name: str, trials: Sequence[Trial]) -> list[str]:
    """Parameters that exist at some levels of the parameter `name`, but not at all of them."""
    with_name = [t for t in trials if name in t.params]
    levels = {t.params[name] for t in with_name}
    others = sorted({other for t in with_name for other in t.params})
    return [other for other in others if {t.params[name] for t in with_name if other in t.params} != levels]


def _compare(names: tuple[str, ...], trials: Iterable[Trial], finished: Sequence[Trial]) -> Factor | None:
    """Compare each level of the factor `names` with the first; None if no training with the factor has finished."""
    order = {level_of(t, names): _place(t, names) for t in trials if names[0] in t.params}
    levels = sorted(order, key=lambda level: order[level])
    alike: dict[frozenset[tuple[str, Any]], dict[Level, Trial]] = {}  # trials that differ in the factor alone
    for trial in finished:
        if names[0] in trial.params:
            rest = frozenset((name, value) for name, value in trial.params.items() if name not in names)
            alike.setdefault(rest, {})[level_of(trial, names)] = trial
    reference = next((level for level in levels if any(level in group for group in alike.values())), None)
    if reference is None:
        return None
    compared = []
    for level in levels:
        pairs = [(group[level], group[reference]) for group in alike.values() if level in group and reference in group]
        upright = [a.value - b.value for a, b in pairs]
        turned = [a.turned - b.turned for a, b in pairs if a.turned is not None and b.turned is not None]
        if level != reference:
            compared.append(Effect(level, Difference.of(upright), Difference.of(turned)))
    return Factor(names, reference, tuple(compared))


def level_of(trial: Trial, names: Sequence[str]) -> Level:
    return tuple((name, trial.params[name]) for name in names if name in trial.params)


def _place(trial: Trial, names: Sequence[str]) -> tuple[float, ...]:
    """The place of a level in the order of the bounds: choices as listed, numbers by size, absent parameters first."""
    return tuple(
        float(trial.distributions[name].to_internal_repr(trial.params[name])) if name in trial.params else -math.inf
        for name in names
    )
