"""Uniform over the bounds, whatever was found: what a sampler that learns is to be measured against."""

from __future__ import annotations

from optuna.samplers import RandomSampler


def sampler(seed: int) -> RandomSampler:
    return RandomSampler(seed=seed)
