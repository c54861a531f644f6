"""How good the best configurations of a search are over seeds, from their values in the search and with fresh seeds.

The best value of many is the luckiest. What a configuration reaches on average over seeds is estimated with a prior
(the other good configurations) and the noise between seeds, both learnt from the search itself; an estimate with a
prior, unlike the value itself, does not suffer from having been picked as the highest (Efron 2011, "Tweedie's formula
and selection bias").
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

MOST_SEEDS = 5  # fresh ones for one configuration
CLEAR, CLEAR_SEEDS = 3.0, 3  # a leader by so many standard deviations, with so many fresh seeds, ends the finals
PRIOR_SEEDS = 2  # the guess of the noise counts as much as this many pairs of seeds


@dataclass(frozen=True)
class Finalist:
    """One configuration. Its mean over seeds is estimated as `mean` with standard deviation `sd`."""

    trial: int
    searched: float  # the value in the search
    fresh: tuple[float, ...]  # the values with fresh seeds
    mean: float
    sd: float
    bound: float  # mean - sd, or mean + sd if smaller is better: the finalist whose bound is best wins


def estimate(
    searched: Mapping[int, float],
    fresh: Mapping[int, Sequence[float]],
    *,
    maximize: bool = True,
    pending: Mapping[int, int] | None = None,
    given: Collection[int] = (),
) -> list[Finalist]:
    """Every configuration of `searched`, the best bound first.

    searched: the value of each configuration that the search trained in full, by trial; at least one.
    fresh: values of some of them with other seeds. pending: trainings that will add such values; until then they
    only lower `sd`. given: those that the search did not propose. No value of this search has led to them, so theirs
    are not shrunk towards the values of those that it drew.

    The model is value = mean + noise, both normal. The centre and spread of the prior are the median of `searched` and
    the values above it: those far below, which hardly learnt, tell nothing of the best. The noise begins as a guess,
    half of the variance, and the means are taken to differ by half as much as seeds, at least.
    """
    pending, sign = pending or {}, 1.0 if maximize else -1.0
    values = {trial: sign * np.array([value, *fresh.get(trial, ())]) for trial, value in searched.items()}
    first = np.array([v[0] for v in values.values()])
    centre = float(np.median(first))
    spread = float(((first[first >= centre] - centre) ** 2).mean())
    squares = sum(float(((v - v.mean()) ** 2).sum()) for v in values.values())
    degrees = sum(len(v) - 1 for v in values.values())
    noise = max((PRIOR_SEEDS * spread / 2 + squares) / (PRIOR_SEEDS + degrees), 1e-12)
    between = max(spread - noise, noise / 4)
    found = []
    for trial, v in values.items():
        prior = 0.0 if trial in given else 1 / between
        mean = (centre * prior + v.sum() / noise) / (prior + len(v) / noise)
        sd = (prior + (len(v) + pending.get(trial, 0)) / noise) ** -0.5
        found.append(
            Finalist(
                trial,
                searched[trial],
                tuple(fresh.get(trial, ())),
                float(sign * mean),
                sd,
                bound=float(sign * (mean - sd)),
            )
        )
    return sorted(found, key=lambda f: (-sign * f.bound, f.trial))


def next_to_train(finalists: Sequence[Finalist], sign: float, seeds: Mapping[int, int]) -> int | None:
    """The trial to train again, of two or more finalists; None if the winner is clear, or nobody can challenge it.

    It is the leader or its strongest challenger, whichever is less certain (top-two sampling, Russo 2016). A clear
    leader gets a few seeds to confirm it. `seeds`: the fresh ones of each trial so far.
    """
    leader = max(finalists, key=lambda f: (sign * f.mean, -f.trial))
    left = [f for f in finalists if seeds.get(f.trial, 0) < MOST_SEEDS]
    ahead = {f.trial: sign * (leader.mean - f.mean) / float(np.hypot(leader.sd, f.sd)) for f in left if f is not leader}
    if not ahead:
        return None
    challenger = min(ahead, key=lambda trial: (ahead[trial], trial))
    if ahead[challenger] > CLEAR:
        return leader.trial if seeds.get(leader.trial, 0) < CLEAR_SEEDS else None
    return max((f for f in left if f.trial in (leader.trial, challenger)), key=lambda f: f.sd).trial
