"""The tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011), each parameter by itself."""

from __future__ import annotations

from optuna.samplers import TPESampler


def sampler(seed: int) -> TPESampler:
    return TPESampler(seed=seed, multivariate=False)
