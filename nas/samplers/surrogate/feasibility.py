"""Predicts which configurations can be trained, from those that were infeasible or failed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

Array = NDArray[np.float64]
LATEST = 400  # trials to learn from


def learn(infeasible: Mapping[int, bool], vectors: Mapping[int, Array], seed: int) -> ExtraTreesClassifier | None:
    """Fit a forest to the latest trials, by trial number; vectors (columns,). None if all are of one kind."""
    known = [number for number in list(infeasible)[-LATEST:] if number in vectors]
    feasible = [not infeasible[number] for number in known]
    if len(set(feasible)) < 2:
        return None
    forest = ExtraTreesClassifier(30, min_samples_leaf=2, random_state=seed, n_jobs=1)
    return forest.fit(np.array([vectors[number] for number in known]), feasible)


def chances(forest: ExtraTreesClassifier, x: Array) -> Array:
    """Predict the chance of being feasible at x (m, columns): predict_proba without worker pool and per-tree checks."""
    x = x.astype(np.float32)
    return np.mean([tree.tree_.predict(x)[:, 1] for tree in forest.estimators_], axis=0)
