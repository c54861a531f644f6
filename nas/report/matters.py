"""What matters: how much each hyperparameter changes the objective, in which direction, and how certain that is.

One method: Bayesian linear regression (MacKay 1992, Neural Computation 4, 415) of the objective at the lowest rung,
where all trials are comparable, on the levels of all hyperparameters at once. So a difference between two levels is one
between trials that are alike in everything else, as far as effects add up. Every effect has the same normal prior
around zero; its width and that of the noise are those under which the values are most probable. With few trials or much
noise, effects shrink to zero and their intervals widen, instead of showing the luckiest of forty hyperparameters. A
number has up to three levels with about as many trials each, or its own values if these are few: what is best in the
middle is seen too.

The best and the worst of several levels differ by chance. So the interval is that of the range of so many means
(Tukey's studentised range). It holds for one hyperparameter; which of all are decided is corrected by Holm's method.

Optuna's importances, which the dashboard shows, look at trials trained in full only, have no direction, and always sum
to one, also when nothing matters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from nas.report.effects import CONFIDENCE, holm
from nas.results import Results
from nas.trials import Trial
from nas.words import level

FEWEST = 10  # trials to learn from
FEWEST_OF_LEVEL = 3  # trials of a level that is compared
THIRDS = 3
FOLDS = 5
MANY = 2000  # trials: a fifth of them measures R² well


@dataclass(frozen=True)
class MainEffect:
    """The change of the objective from the worst to the best level of one hyperparameter."""

    name: str
    worse: str  # a level in words
    better: str
    mean: float  # value at `better` minus value at `worse`
    half: float  # of the width of its 95% interval
    trials: tuple[int, int]  # at the worse level, and at the better one
    p: float  # of no difference between any levels, after Holm's correction for all hyperparameters

    @property
    def decided(self) -> bool:
        """Whether zero is excluded, also after the correction."""
        return self.p < 1 - CONFIDENCE


@dataclass(frozen=True)
class MainEffects:
    """What matters: by falling certainty, those first whose effect differs most from zero."""

    each: tuple[MainEffect, ...]
    trials: int
    explained: float  # share of the variance of unseen trials; at most 0: nothing was learnt


def main_effects(results: Results) -> MainEffects | None:
    """Return None if fewer than 10 trials reached the lowest rung, or if all values or all parameters are equal."""
    rung = results.rungs[0]
    trials = [t for t in results.trained if rung in t.curve]
    values = np.array([t.curve[rung] for t in trials])
    if len(trials) < FEWEST or np.ptp(values) == 0:
        return None
    names = sorted({name for t in trials for name in t.params})
    levels = {name: several for name in names if len(several := _levels(trials, name)) > 1}
    if not levels:
        return None
    columns = np.concatenate([_indicators(trials, each) for each in levels.values()], axis=1)
    coefficients, covariance = posterior(columns, values)
    ends = np.cumsum([len(each) for each in levels.values()])
    found = []
    for (name, each), end in zip(levels.items(), ends, strict=True):
        if effect := _effect(name, each, coefficients, covariance, end - len(each), results.maximize):
            found.append(effect)
    found = [replace(e, p=p) for e, p in zip(found, holm([e.p for e in found]), strict=True)]
    found.sort(key=lambda e: (-abs(e.mean) / e.half, e.name))
    return MainEffects(tuple(found), len(trials), _explained(columns, values))


@dataclass(frozen=True)
class _Level:
    words: str
    trials: frozenset[int]  # positions


def _levels(trials: Sequence[Trial], name: str) -> list[_Level]:
    """The levels of a hyperparameter among the trials, in the order of the bounds."""
    having = [(i, t.params[name]) for i, t in enumerate(trials) if name in t.params]
    distribution = next(t.distributions[name] for t in trials if name in t.params)
    order = {v: distribution.to_internal_repr(v) for _, v in having}
    distinct = sorted(order, key=lambda v: order[v])
    if isinstance(distribution, CategoricalDistribution) or len(distinct) <= THIRDS + 1:
        groups = [[v] for v in distinct]
    else:
        groups = _thirds(distinct, Counter(v for _, v in having))
    found = []
    for group in groups:
        of_group = set(group)  # thousands of different numbers
        found.append(_Level(_words(group, name), frozenset(i for i, v in having if v in of_group)))
    return found


def _thirds(distinct: Sequence[Any], trials: Mapping[Any, int]) -> list[list[Any]]:
    """Neighbouring values in up to three groups, cut where the numbers of trials come nearest to thirds."""
    before = np.cumsum([0, *(trials[v] for v in distinct)])
    cuts = {int(np.abs(before - before[-1] * k / THIRDS).argmin()) for k in range(THIRDS + 1)}
    return [list(distinct[low:high]) for low, high in pairwise(sorted(cuts))]


def _words(values: Sequence[Any], name: str) -> str:
    if len(values) == 1:
        return level([(name, values[0])])
    return f"{values[0]:.3g} to {values[-1]:.3g}"


def _indicators(trials: Sequence[Trial], levels: Sequence[_Level]) -> NDArray[np.float64]:
    """(N, levels): 1 where a trial has a level. A trial without the hyperparameter has none, at no advantage."""
    columns = np.zeros((len(trials), len(levels)))
    for k, each in enumerate(levels):
        columns[list(each.trials), k] = 1.0
    has = columns.sum(1) > 0
    columns[has] -= columns[has].mean(0)
    return columns


def posterior(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The posterior mean (P,) and covariance (P, P) of the coefficients of columns x (N, P) for values y (N,)."""
    from sklearn.linear_model import BayesianRidge

    scale = y.std()
    model = BayesianRidge(max_iter=1000).fit(x, (y - y.mean()) / scale)
    return model.coef_ * scale, model.sigma_ * scale**2


def _effect(
    name: str, levels: Sequence[_Level], coefficients: NDArray[np.float64], covariance: NDArray[np.float64], start: int,
    maximize: bool,
) -> MainEffect | None:  # fmt: skip
    """The best against the worst of the levels with enough trials."""
    from scipy.stats import studentized_range

    able = [k for k, each in enumerate(levels) if len(each.trials) >= FEWEST_OF_LEVEL]
    if len(able) < 2:
        return None
    able.sort(key=lambda k: coefficients[start + k], reverse=maximize)
    best, worst = able[0], able[-1]
    a, b = start + best, start + worst
    variance = covariance[a, a] + covariance[b, b] - 2 * covariance[a, b]
    mean, sd = float(coefficients[a] - coefficients[b]), max(float(variance) ** 0.5, 1e-12)
    half = float(studentized_range.ppf(CONFIDENCE, len(able), np.inf)) / 2**0.5 * sd
    p = float(studentized_range.sf(abs(mean) / sd * 2**0.5, len(able), np.inf))
    trials = len(levels[worst].trials), len(levels[best].trials)
    return MainEffect(name, levels[worst].words, levels[best].words, mean, half, trials, p)


def _explained(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """R² of each fifth of the trials, predicted from the others; of many trials, of one fifth."""
    fold = np.random.default_rng(0).permutation(len(y)) % FOLDS
    predicted = np.empty(len(y))
    folds = FOLDS if len(y) < MANY else 1
    for k in range(folds):
        rest = fold != k
        mean = x[rest].mean(0)
        if np.ptp(y[rest]) == 0:
            predicted[~rest] = y[rest][0]
            continue
        coefficients, _ = posterior(x[rest], y[rest])
        predicted[~rest] = y[rest].mean() + (x[~rest] - mean) @ coefficients
    y, predicted = y[fold < folds], predicted[fold < folds]
    return float(1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum())
