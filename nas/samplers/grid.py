"""Visits every cell of a finite space once, in random order. The space may have conditional parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from nas.errors import UserError
from nas.searching.drafts import Params, Sample, cells, key

MOST = 10_000


def check(sample: Sample) -> None:
    """UserError if the space has a range without steps, which has no cells, or more cells than anybody can train."""
    if sum(1 for _ in islice(cells(sample), MOST + 1)) > MOST:
        raise UserError(f"a grid has at most {MOST:,} cells, and this space has more: narrow it, or let it be sampled")


class Sampler(RandomSampler):
    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._rng_of_cells = np.random.default_rng(seed)
        self._left: list[Params] | None = None

    def propose(
        self, trials: Sequence[FrozenTrial], sample: Sample, rungs: Sequence[int], sign: float
    ) -> Params | None:
        """Return an untried cell, or None if all have been tried. UserError for a range without steps."""
        if self._left is None:
            found = list(cells(sample))
            self._left = [found[i] for i in self._rng_of_cells.permutation(len(found))]
        tried = {key(trial.params) for trial in trials}
        while self._left:
            if key(cell := self._left.pop()) not in tried:
                return cell
        return None


def sampler(seed: int) -> Sampler:
    return Sampler(seed)
