"""Every cell of a finite space once, in random order; a space with conditional parameters has its cells too.

A study over it has as many trials as cells: what is asked beyond them repeats a cell.
"""

from __future__ import annotations

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BruteForceSampler


def sampler(seed: int) -> BruteForceSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return BruteForceSampler(seed=seed)
