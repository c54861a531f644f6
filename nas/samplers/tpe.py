"""The tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011). It models each parameter separately."""

from __future__ import annotations

from optuna.samplers import TPESampler


def sampler(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=False)
