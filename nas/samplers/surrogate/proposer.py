"""Proposes whole configurations by a model of all rungs, for numeric, categorical and conditional spaces.

The first trials are random; with given trials, half of them keep a part of one. After them, `CoKriging` scores random
configurations, mutations of good ones (one or two changes) and crosses between good ones by its upper confidence bound.
The boldness of the bound is drawn for each proposal, so workers get different ones. The best candidates are refined by
further mutations, and the best of all is proposed. The next best are candidates again in the next proposal, which
therefore needs fewer new ones. Half of the proposals have a layout (the mixers of a network) that has not been trained
in full, where the space has such: with the training of a good configuration, a new architecture has a fair trial. No
configuration is proposed twice. Where proposals turn out to be copies of earlier trials, with the same values, the
neighbourhood of the best is exhausted: as many proposals are random as are copies. It is also exhausted if the model is
sure that the best candidate gains nothing, as happens without noise; three in four proposals are then mutations of good
configurations, whatever the model thinks of them.

In a search for the front of value and cost, candidates are scored by the area that they are expected to add to it
(`trade_off.py`), and the good ones are those on the front.

`feasibility.py` learns from trials that were infeasible or failed, also before there is a model of values. A
configuration with an 80 % chance of being feasible is a candidate in 60 % of the proposals, one with less than 50 % in
none, however good it looks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial
from sklearn.ensemble import ExtraTreesClassifier
from threadpoolctl import ThreadpoolController

from nas import front
from nas.samplers.surrogate.cokriging import CoKriging
from nas.samplers.surrogate.encoding import Encoding
from nas.samplers.surrogate.feasibility import chances, learn
from nas.samplers.surrogate.known import Known
from nas.samplers.surrogate.trade_off import expected_improvement
from nas.searching.drafts import Draft, Params, Sample, cells, cross, draft, key, mutate, splice

Array = NDArray[np.float64]
RANDOM_TRIALS = 14
NEAR_GIVEN = 0.5  # the share of the first trials that keep something of a given one
POOL, FRESH = 128, 8  # random configurations in the pool, and the number replaced in each proposal
PARENTS = 8
CHILDREN = 16
REFINEMENTS, REFINED, REFINING = 2, 5, 12  # rounds, the number of best candidates in each, and of their mutations
KEPT = 32  # candidates kept for the next proposal
BATCH_EVERY, BATCH = 1000, 8  # one search for candidates makes one more proposal per so many trials, up to so many
BOLDNESS = (0.0, 0.5, 1.0, 2.0)
LEAST_GROWTH = 1e-12  # of the area under the front, whose logarithm is taken
FORBIDDEN = 1e3  # score lost by a candidate with no chance of being feasible if a chance of one is demanded
SURE, LEAST_GAIN = 2.0, 0.01  # standard deviations; normalised values. Who may not gain that much gains nothing
NEW_LAYOUTS = 0.5  # the share of proposals whose layout has not been trained in full
ENOUGH_LAYOUTS = 10  # of which so many are looked for; then the share falls
SPLICES = 24  # of random configurations with good ones, among the candidates of these
ELSEWHERE = 0.75  # the share of proposals that are not the best candidate if that gains nothing
LATEST_WAITING = 64  # trials, among which those without a value are looked for
LATEST = 32  # trials; the share of copies among them is that of random proposals
EARLY_DRAWS = 50  # among which a feasible one is looked for before there is a model
TRIES = 200  # random draws before a space is suspected to be exhausted


class Sampler(RandomSampler):
    """The engine calls `propose`. Parameters that a given configuration leaves out are sampled at random."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.seed = seed
        self.layout: Callable[[Params], Hashable] | None = None  # of a configuration, where the space has such
        self.known = Known()
        self._pool: list[Draft] = []
        self._kept: list[Draft] = []
        self._ready: list[Draft] = []  # proposals left over from the last search for candidates
        self._encoding: Encoding | None = None
        self._model: CoKriging | None = None
        self._fitted = -1  # changes of values when the model was fitted
        self._forest: ExtraTreesClassifier | None = None
        self._taught = 0  # trials that the forest has learnt from; 0: learn again
        self._blamed = 0  # infeasible ones that were known then

    def propose(
        self, trials: Sequence[FrozenTrial], sample: Sample, rungs: Sequence[int], sign: float
    ) -> Params | None:
        """Return the parameters of the next trial, or None if every configuration of a finite space has been tried.

        `trials` are as the sampler should see them, paused ones PRUNED. `sign` * value is higher for better trials.
        """
        rng = np.random.default_rng([self.seed, len(trials)])
        self.read(trials, rungs, sign)
        while len(self._pool) < POOL:
            self._pool.append(draft(sample, rng))
        if len(self.known.rungs[0]) < RANDOM_TRIALS:
            return self._early_and_feasible(sample, rng)
        latest = list(self.known.copies.values())[-LATEST:]
        if any(latest) and rng.random() < sum(latest) / len(latest):
            return self._new_random(sample, rng)
        self._ready = self.known.untried(self._ready)
        if not self._ready:
            with threadpools().limit(limits=1):  # the cores belong to the workers
                self._ready = self._best(sample, rng, min(1 + len(trials) // BATCH_EVERY, BATCH))
        return self._ready.pop(0).params if self._ready else self._new_random(sample, rng)

    def read(self, trials: Sequence[FrozenTrial], rungs: Sequence[int], sign: float) -> list[FrozenTrial]:
        """Read and return the new and changed trials."""
        return self.known.read(trials, rungs, sign)

    def forget_candidates(self) -> None:
        """Discard all candidates, because the space that they were drawn from has changed."""
        self._pool, self._kept, self._ready = [], [], []

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
        self._encode()
        forest = self._feasibility()
        if forest is None:  # nothing has been feasible yet
            return self._early(sample, rng)
        assert self._encoding is not None
        likeliest, highest, demanded = None, -1.0, _demanded(rng)
        for _ in range(EARLY_DRAWS):
            params = self._early(sample, rng)
            if params is None:
                break
            chance = float(chances(forest, self._encoding([params]))[0])
            if chance > highest:
                likeliest, highest = params, chance
            if chance >= demanded:
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

    def _best(self, sample: Sample, rng: np.random.Generator, count: int) -> list[Draft]:
        """Return `count` candidates, or none: the best, then the best if that one is assumed to run, and so on.

        Ginsbourger, Le Riche & Carraro 2010, "Kriging is well-suited to parallelize optimization". After thousands of
        trials the next one teaches little, so one search for candidates can serve several proposals.
        """
        self._encode()
        assert self._encoding is not None
        assert self._model is not None
        model, encoding = self._model, self._encoding
        if self._fitted != self.known.changes:
            model.fit(self.known.rungs, self.known.vectors)
            self._fitted = self.known.changes
        running = [self.known.vectors[number] for number in self.known.waiting(LATEST_WAITING)]
        waiting = np.array(running).reshape(-1, len(encoding.parameter))
        pending = waiting
        feasible, believer = self._feasibility(), model.believing(waiting)
        boldness, demanded = BOLDNESS[rng.integers(len(BOLDNESS))], _demanded(rng)
        promise = self._promise()

        def score(candidates: list[Draft]) -> Array:
            x = np.array([self._vector(candidate) for candidate in candidates])
            worth = self.worth(x, believer, promise, pending, boldness)
            if feasible is not None:
                chance = chances(feasible, x)
                worth = worth + 2 * np.log(0.01 + chance) - FORBIDDEN * np.maximum(demanded - chance, 0)
            return worth

        parents = [self.known.drafts[number] for number in self._sorted(promise)[:PARENTS]]

        def child() -> Draft:
            made = parents[rng.integers(len(parents))]
            if rng.random() < 0.2:
                made = cross(sample, rng, made, parents[rng.integers(len(parents))])
            return mutate(sample, rng, made, changes=1 + (rng.random() < 0.5))

        fresh = [draft(sample, rng) for _ in range(FRESH)]
        self._pool = self._pool[len(fresh) :] + fresh
        made = self._pool + self._kept + [child() for _ in range(CHILDREN)]
        trained: set[Hashable] = set()
        if layout := self.layout:
            trained = self.known.layouts(layout)
            if rng.random() > NEW_LAYOUTS * min(ENOUGH_LAYOUTS / max(len(trained), 1), 1):
                trained = set()
        if trained:  # what is new in them gets the best training, too
            made += [splice(sample, rng, new, parents[rng.integers(len(parents))]) for new in self._pool[-SPLICES:]]

        def wanted(candidates: list[Draft]) -> list[Draft]:
            found = self.known.untried(candidates)
            return [made for made in found if layout(made.params) not in trained] if layout and trained else found

        candidates = wanted(made)
        if not candidates:
            trained = set()  # there is no other layout
            candidates = wanted(made)
        if not candidates:
            return []
        scores = score(candidates)
        for _ in range(REFINEMENTS):
            best = [candidates[i] for i in np.argsort(-scores, kind="stable")[:REFINED]]
            known = {candidate.key for candidate in candidates}
            mutants = [
                mutate(sample, rng, best[rng.integers(len(best))], changes=1 + (rng.random() < 0.5))
                for _ in range(REFINING)
            ]
            mutants = [mutant for mutant in wanted(mutants) if mutant.key not in known]
            if mutants:
                candidates, scores = candidates + mutants, np.concatenate([scores, score(mutants)])
        first, *left = [candidates[i] for i in np.argsort(-scores, kind="stable")[: KEPT + 1]]
        chosen = [first]
        while left and len(chosen) < count:
            pending = np.vstack([waiting, *map(self._vector, chosen)])
            believer = model.believing(pending)
            boldness, demanded = BOLDNESS[rng.integers(len(BOLDNESS))], _demanded(rng)
            chosen.append(left.pop(int(np.argmax(score(left)))))
        self._kept = left
        if self.known.costs or rng.random() > ELSEWHERE:
            return chosen
        mean, variance = believer.predict(np.array([self._vector(candidate) for candidate in chosen]))
        gains = mean + SURE * np.sqrt(variance) >= max(promise.values()) + LEAST_GAIN
        others = [] if gains.all() else wanted([child() for _ in range(CHILDREN)])
        if others and feasible is not None:
            chance = chances(feasible, np.array([self._vector(other) for other in others]))
            others = [other for other, likely in zip(others, chance, strict=True) if likely >= demanded]
        return [made if gain or not others else others.pop() for made, gain in zip(chosen, gains, strict=True)]

    def _vector(self, candidate: Draft) -> Array:
        """Encode a candidate once, however long it stays in the pool."""
        assert self._encoding is not None
        if candidate.vector is None:
            candidate.vector = np.array(self._encoding.vector(candidate.params))
        return candidate.vector

    def worth(
        self, x: Array, believer: CoKriging, promise: Mapping[int, float], pending: Array, boldness: float
    ) -> Array:
        """How much a trial of each of the configurations x (m, columns) is wanted, on any scale: (m,)."""
        if self.known.costs:
            return self.growth(x, believer, promise, pending)
        mean, variance = believer.predict(x)
        return mean + boldness * np.sqrt(variance)

    def growth(self, x: Array, believer: CoKriging, promise: Mapping[int, float], pending: Array) -> Array:
        """The logarithm of the area that configurations x (m, columns) are expected to add to the front.

        It is the front of what the best trials promise and `pending` (k, columns), which lack values, are believed to
        reach. It begins at the lowest value at the highest rung.
        """
        assert self._encoding is not None
        cost = self.known.costs.predict(np.vstack([x, pending]), self.known.vectors, self._encoding.parameter)
        mean, variance = believer.predict(np.vstack([x, pending]))
        known, m = np.log([self.known.costs.known[trial] for trial in promise]), len(x)
        values = np.concatenate([list(promise.values()), mean[m:]])
        costs = np.concatenate([known, cost[m:]])
        on_it = front.fronts(dict(enumerate(values.tolist())), dict(enumerate(costs.tolist())))[0]
        steps = np.stack([costs[on_it], values[on_it]], 1)
        floor, ceiling = believer.levels[-1].z.min(), known.max() + front.ROOM
        return np.log(expected_improvement(mean[:m], variance[:m], cost[:m], steps, floor, ceiling) + LEAST_GROWTH)

    def _sorted(self, values: Mapping[int, float]) -> list[int]:
        """Trials by their values, the best first."""
        if self.known.costs:
            return front.ordered(values, self.known.costs.known)
        return sorted(values, key=lambda number: -values[number])

    def _promise(self) -> dict[int, float]:
        """The best predictions at the full budget, by trial, each from the last rung that it reached."""
        assert self._model is not None
        levels = self._model.levels
        promise: dict[int, float] = {}
        for index, level in enumerate(levels):
            best = self._sorted(dict(zip(level.numbers.tolist(), level.z.tolist(), strict=True)))[: 4 * PARENTS]
            mean, _ = self._model.predict_tried(best, index, np.array([self.known.vectors[number] for number in best]))
            promise.update(zip(best, mean.tolist(), strict=True))
        return promise

    def _encode(self) -> None:
        """Encode new trials, or all of them again if an unknown parameter appears."""
        known = self._encoding.distributions if self._encoding else {}
        pending = [n for n in self.known.drafts if n not in self.known.vectors]
        fresh = self._pool[-FRESH:] + self._kept if self._encoding else self._pool
        found = {
            name: distribution
            for made in [*fresh, *(self.known.drafts[n] for n in pending)]
            for name, distribution in made.distributions.items()
        }
        if self._encoding is None or not found.keys() <= known.keys():
            self._encoding = Encoding(dict(sorted({**found, **known}.items())))
            self._model = CoKriging(self._encoding.parameter)
            self.known.costs.forget_model()
            self._fitted, self._taught = -1, 0
            self.known.vectors, pending = {}, list(self.known.drafts)
            for made in self._pool + self._kept:
                made.vector = None
        vectors = self._encoding(self.known.drafts[n].params for n in pending)
        self.known.vectors.update(zip(pending, vectors, strict=True))

    def _feasibility(self) -> ExtraTreesClassifier | None:
        known = self.known
        if not self._taught or known.blamed > self._blamed or len(known.infeasible) > 1.1 * self._taught:
            self._forest = learn(known.infeasible, known.vectors, self.seed)
            self._taught, self._blamed = len(known.infeasible), known.blamed
        return self._forest


def _demanded(rng: np.random.Generator) -> float:
    """The chance of being feasible below which a candidate is passed over in one proposal."""
    return 0.5 + 0.5 * rng.random()


@cache
def threadpools() -> ThreadpoolController:
    """Find the thread pools once, because that takes milliseconds."""
    return ThreadpoolController()


def sampler(seed: int) -> Sampler:
    return Sampler(seed)
