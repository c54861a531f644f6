"""Samples uniformly within the bounds and ignores all results: the baseline for samplers that learn."""

from __future__ import annotations

from optuna.samplers import RandomSampler


def sampler(seed: int) -> RandomSampler:
    return RandomSampler(seed=seed)
