"""How much each hyperparameter matters, judged at the lowest rung, where all trials are comparable.

Optuna's own evaluators see COMPLETE trials only. Here those are the few that won every rung, and they do not show why
the others lost. So a random forest learns the rank of every trial at the lowest rung from its parameters. A parameter's
importance is half the R² that the forest loses on unseen trials when the parameter is shuffled (Breiman 2001, section
10). If effects add up, this half is the share of the variance that goes with the parameter (Gregorutti et al. 2017,
arXiv 1310.5726). It is rather low, because a forest of few trials flattens every effect. The R² on unseen trials also
shows when nothing was learnt, which a normalised importance never does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import CategoricalDistribution

from nas.results import Results, Trial

FEWEST = 10  # trials to learn from
FOLDS = 5
TREES = 100


@dataclass(frozen=True)
class Importance:
    """The share of the variance of rank that goes with each hyperparameter, by falling importance."""

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]  # standard deviation over repeated cross-validations
    present: NDArray[np.int64]  # trials that have the parameter
    trials: int
    explained: float  # R² of the rank on held-out trials; at most 0: nothing was learnt


def importance(results: Results, *, repeats: int = 5, seed: int = 0) -> Importance | None:
    """Return None if fewer than 10 trials reached the lowest rung, or if all values or all parameters are equal."""
    trials = [t for t in results.trained if results.rungs[0] in t.curve]
    values = np.array([t.curve[results.rungs[0]] for t in trials])
    if len(trials) < FEWEST or np.ptp(values) == 0:
        return None
    columns = {
        name: c for name in sorted({n for t in trials for n in t.params}) if np.ptp(c := encode(trials, name), 0).any()
    }
    if not columns:
        return None
    from scipy.stats import rankdata

    ranks = rankdata(values) / len(values)
    runs = [_once(columns, trials, ranks, np.random.default_rng(seed + r)) for r in range(repeats)]
    losses = np.array([loss for loss, _ in runs])
    order = np.argsort(-losses.mean(0), kind="stable")
    names = list(columns)
    return Importance(
        names=tuple(names[i] for i in order),
        mean=losses.mean(0)[order],
        spread=losses.std(0)[order],
        present=np.array([sum(names[i] in t.params for t in trials) for i in order]),
        trials=len(trials),
        explained=float(np.mean([explained for _, explained in runs])),
    )


def encode(trials: Sequence[Trial], name: str) -> NDArray[np.float64]:
    """(N, C): one column for a number (its logarithm if searched on a log scale), one per choice of a categorical.

    A trial without the parameter gets a number below all others, which a tree splits off in one step; no choice is set.
    """
    distribution = next(t.distributions[name] for t in trials if name in t.params)
    if isinstance(distribution, CategoricalDistribution):
        return np.array(
            [[float(name in t.params and t.params[name] == c) for c in distribution.choices] for t in trials]
        )
    column = np.array([float(t.params.get(name, np.nan)) for t in trials])
    if getattr(distribution, "log", False):
        column = np.log(column)
    absent = np.nanmin(column) - max(np.nanmax(column) - np.nanmin(column), 1.0)
    return np.nan_to_num(column, nan=absent)[:, None]


def _once(
    columns: dict[str, NDArray[np.float64]],
    trials: Sequence[Trial],
    ranks: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], float]:
    """Run one cross-validation; return (half the R² lost by shuffling each parameter, R²)."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.model_selection import KFold

    features = np.concatenate(list(columns.values()), axis=1)
    ends = np.cumsum([column.shape[1] for column in columns.values()])
    present = [np.array([name in t.params for t in trials]) for name in columns]
    shuffled = []  # only among the trials that have the parameter: whether they do is up to its parent
    for column, has in zip(columns.values(), present, strict=True):
        order = np.arange(len(column))
        order[has] = rng.permutation(order[has])
        shuffled.append(column[order])

    error, cost = 0.0, np.zeros(len(columns))  # squared error summed over the held-out trials, and its rises
    for train, test in KFold(FOLDS, shuffle=True, random_state=int(rng.integers(2**31))).split(features):
        forest = RandomForestRegressor(
            TREES, max_features=1 / 3, min_samples_leaf=2, max_samples=min(len(train), 500),
            random_state=int(rng.integers(2**31)),
        ).fit(features[train], ranks[train])  # fmt: skip
        changed = [test[has[test]] for has in present]  # predictions for the other trials stay the same
        versions = [features[test], *(features[rows] for rows in changed)]
        for version, rows, column, end in zip(versions[1:], changed, shuffled, ends, strict=True):
            version[:, end - column.shape[1] : end] = column[rows]
        predicted = np.split(forest.predict(np.concatenate(versions)), np.cumsum([len(v) for v in versions])[:-1])
        errors = np.zeros(len(trials))
        errors[test] = (predicted[0] - ranks[test]) ** 2
        error += errors.sum()
        for k, rows in enumerate(changed):
            cost[k] += ((predicted[k + 1] - ranks[rows]) ** 2 - errors[rows]).sum()
    total = ((ranks - ranks.mean()) ** 2).sum()
    return cost / total / 2, float(1 - error / total)
