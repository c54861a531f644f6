"""Proposes whole configurations by a model of all rungs, for numeric, categorical and conditional spaces.

The first trials are random; with given trials, half of them keep a part of one. After them, `CoKriging` scores random
configurations, mutations of good ones (one or two changes) and crosses between good ones by its upper confidence bound
(`candidates.py`). The boldness of the bound is drawn for each proposal, so workers get different ones. The best
candidates are refined by further mutations, and the best of all is proposed. The next best are candidates again in the
next proposal, which therefore needs fewer new ones. Half of the proposals have a layout (the mixers of a network) that
has neither been trained in full nor been seen three times, where the space has such: with the training of a good
configuration, a new architecture has a fair trial. No configuration is proposed twice. Where proposals turn out to be
copies of earlier trials, with the same values, the neighbourhood of the best is exhausted: as many proposals are random
as are copies. It is also exhausted if the model is sure that the best candidate gains nothing, as happens without
noise; three in four proposals are then mutations of good configurations, whatever the model thinks of them.

In a search for the front of value and cost, candidates are scored by the area that they are expected to add to it
(`trade_off.py`), and the good ones are those on the front.

`feasibility.py` learns from trials that were infeasible or failed, also before there is a model of values. A
configuration with an 80 % chance of being feasible is a candidate in 60 % of the proposals, one with less than 50 % in
none, however good it looks. Before there is a model, half of the proposals disregard that, as long as all that was
infeasible was so before any training.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from threadpoolctl import ThreadpoolController

from nas.samplers.surrogate.acquisition import Acquisition, upper_bound_or_growth
from nas.samplers.surrogate.beliefs import Beliefs
from nas.samplers.surrogate.candidates import Candidates, demanded
from nas.samplers.surrogate.feasibility import chances
from nas.samplers.surrogate.known import Known, Layout
from nas.searching.drafts import Draft, Params, Sample, cells, draft, key, mutate, splice

RANDOM_TRIALS = 14
NEAR_GIVEN = 0.5  # the share of the first trials that keep something of a given one
BATCH_EVERY, BATCH = 1000, 8  # one search for candidates makes one more proposal per so many trials, up to so many
LATEST = 32  # trials; the share of copies among them is that of random proposals
EARLY_DRAWS = 50  # among which a feasible one is looked for before there is a model
EXPLORING = 0.5  # the share of early proposals that disregard what seems infeasible, where that costs no training
TRIES = 200  # random draws before a space is suspected to be exhausted


class Sampler(RandomSampler):
    """The engine calls `propose`. Parameters that a given configuration leaves out are sampled at random."""

    def __init__(self, seed: int, acquisition: Acquisition = upper_bound_or_growth) -> None:
        super().__init__(seed=seed)
        self.seed = seed
        self.layout: Layout | None = None  # of a configuration, where the space has such
        self.known = Known()
        self._beliefs = Beliefs(self.known)
        self._acquisition = acquisition
        self._candidates = Candidates(self._beliefs, acquisition)
        self._ready: list[Draft] = []  # proposals left over from the last search for candidates

    def propose(
        self, trials: Sequence[FrozenTrial], sample: Sample, rungs: Sequence[int], sign: float
    ) -> Params | None:
        """Return the parameters of the next trial, or None if every configuration of a finite space has been tried.

        `trials` are as the sampler should see them, paused ones PRUNED. `sign` * value is higher for better trials.
        """
        rng = np.random.default_rng([self.seed, len(trials)])
        self.known.read(trials, rungs, sign)
        self._candidates.fill(sample, rng)
        if len(self.known.rungs[0]) < RANDOM_TRIALS:
            return self._early_and_feasible(sample, rng)
        latest = list(self.known.copies.values())[-LATEST:]
        if any(latest) and rng.random() < sum(latest) / len(latest):
            return self._new_random(sample, rng)
        self._ready = self.known.untried(self._ready)
        if not self._ready:
            count = min(1 + len(trials) // BATCH_EVERY, BATCH)
            with threadpools().limit(limits=1):  # the cores belong to the workers
                self._ready = self._candidates.best(sample, rng, count, self.seed, self.layout)
        return self._ready.pop(0).params if self._ready else self._new_random(sample, rng)

    def forget_candidates(self) -> None:
        """Discard all candidates, because the space that they were drawn from has changed."""
        self._candidates = Candidates(self._beliefs, self._acquisition)
        self._ready = []

    def _early(self, sample: Sample, rng: np.random.Generator) -> Params | None:
        """A random configuration, a mutation of a given one, or a part of a given one and a part of a random one."""
        feasible = [number for number in self.known.given if not self.known.infeasible.get(number)]
        if feasible and rng.random() < NEAR_GIVEN:
            given, drawn = self.known.drafts[feasible[rng.integers(len(feasible))]], draft(sample, rng)
            made = (
                mutate(sample, rng, given, changes=1 + int(rng.integers(3))),
                splice(sample, rng, given, drawn),  # a good architecture, another training
                splice(sample, rng, drawn, given),  # and the reverse
            )[rng.integers(3)]
            if made.key not in self.known.tried:
                return made.params
        return self._new_random(sample, rng)

    def _early_and_feasible(self, sample: Sample, rng: np.random.Generator) -> Params | None:
        """The first of some early proposals that is likely to be feasible, or the likeliest of them."""
        if not any(self.known.infeasible.values()):
            return self._early(sample, rng)
        # A few networks above a limit teach a forest to avoid whatever else they shared.
        if not self.known.costly and rng.random() < EXPLORING:
            return self._early(sample, rng)
        self._candidates.encode()
        forest = self._beliefs.feasibility(self.seed)
        if forest is None:  # nothing has been feasible yet
            return self._early(sample, rng)
        likeliest, highest, least = None, -1.0, demanded(rng)
        for _ in range(EARLY_DRAWS):
            params = self._early(sample, rng)
            if params is None:
                break
            chance = float(chances(forest, self._beliefs.encoded(params))[0])
            if chance > highest:
                likeliest, highest = params, chance
            if chance >= least:
                break
        return likeliest

    def _new_random(self, sample: Sample, rng: np.random.Generator) -> Params | None:
        for _ in range(TRIES):
            made = draft(sample, rng)
            if made.key not in self.known.tried:
                return made.params
        try:
            return next((params for params in cells(sample) if key(params) not in self.known.tried), None)
        except ValueError:  # the space is not finite
            return draft(sample, rng).params


@cache
def threadpools() -> ThreadpoolController:
    """Find the thread pools once, because that takes milliseconds."""
    return ThreadpoolController()


def sampler(seed: int) -> Sampler:
    return Sampler(seed)
