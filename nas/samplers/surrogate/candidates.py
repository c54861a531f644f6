"""Looks for the configurations most worth a trial, by what the trials so far make one believe."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from nas.samplers.surrogate.acquisition import Acquisition
from nas.samplers.surrogate.beliefs import Beliefs, Outlook
from nas.samplers.surrogate.feasibility import chances
from nas.samplers.surrogate.known import Layout
from nas.searching.drafts import Draft, Sample, cross, draft, mutate, splice

Array = NDArray[np.float64]
Wanted = Callable[[list[Draft]], list[Draft]]
POOL, FRESH = 128, 8  # random configurations in the pool, and the number replaced in each search
PARENTS = 8
CHILDREN = 16
REFINEMENTS, REFINED, REFINING = 2, 5, 12  # rounds, the number of best candidates in each, and of their mutations
KEPT = 32  # candidates kept for the next search
BOLDNESS = (0.0, 0.5, 1.0, 2.0)
FORBIDDEN = 1e3  # score lost by a candidate with no chance of being feasible if a chance of one is demanded
SURE, LEAST_GAIN = 2.0, 0.01  # standard deviations; normalised values. Who may not gain that much gains nothing
NEW_LAYOUTS = 0.5  # the share of searches for a layout that is not known
ENOUGH_LAYOUTS = 10  # of which so many are looked for; then the share falls
SPLICES = 24  # of random configurations with good ones, among the candidates of these
ELSEWHERE = 0.75  # the share of proposals that are not the best candidate if that gains nothing
LATEST_WAITING = 64  # trials, among which those without a value are looked for


@dataclass(frozen=True)
class Judge:
    """Scores candidates by what is believed at one moment."""

    beliefs: Beliefs
    acquisition: Acquisition
    outlook: Outlook
    forest: ExtraTreesClassifier | None  # None: nothing is known of what is feasible
    demanded: float  # the chance of being feasible below which a candidate is passed over

    def scores(self, candidates: Sequence[Draft]) -> Array:
        """What each is worth, less if it may not be feasible: (m,)."""
        x = self.beliefs.vectors(candidates)
        worth = self.acquisition(self.outlook, x)
        if self.forest is None:
            return worth
        chance = chances(self.forest, x)
        return worth + 2 * np.log(0.01 + chance) - FORBIDDEN * np.maximum(self.demanded - chance, 0)

    def feasible(self, candidates: Sequence[Draft]) -> list[Draft]:
        """Those whose chance of being feasible is as high as demanded."""
        if self.forest is None or not candidates:
            return list(candidates)
        chance = chances(self.forest, self.beliefs.vectors(candidates))
        return [made for made, likely in zip(candidates, chance, strict=True) if likely >= self.demanded]

    def may_gain(self, candidates: Sequence[Draft]) -> NDArray[np.bool_]:
        """Whether each candidate may exceed what the trials promise."""
        mean, variance = self.outlook.model.predict(self.beliefs.vectors(candidates))
        found: NDArray[np.bool_] = mean + SURE * np.sqrt(variance) >= max(self.outlook.promise.values()) + LEAST_GAIN
        return found


class Candidates:
    """Keeps random configurations and runners-up from one search to the next, which so needs fewer new ones."""

    def __init__(self, beliefs: Beliefs, acquisition: Acquisition) -> None:
        self.beliefs, self.acquisition = beliefs, acquisition
        self._pool: list[Draft] = []
        self._kept: list[Draft] = []

    def fill(self, sample: Sample, rng: np.random.Generator) -> None:
        while len(self._pool) < POOL:
            self._pool.append(draft(sample, rng))

    def encode(self) -> None:
        unseen = self._pool[-FRESH:] + self._kept  # since the last time; the rest of the pool was there before
        self.beliefs.encode(self._pool + self._kept, unseen)

    def best(
        self, sample: Sample, rng: np.random.Generator, count: int, seed: int, layout: Layout | None
    ) -> list[Draft]:
        """Return `count` candidates, or none: the best, then the best if that one is assumed to run, and so on.

        Ginsbourger, Le Riche & Carraro 2010, "Kriging is well-suited to parallelize optimization". After thousands of
        trials the next one teaches little, so one search for candidates can serve several proposals.
        """
        beliefs, known = self.beliefs, self.beliefs.known
        self.encode()
        beliefs.fit()
        waiting, forest, promise = beliefs.waiting(LATEST_WAITING), beliefs.feasibility(seed), beliefs.promise()

        def judge_beside(pending: Array) -> Judge:
            outlook = beliefs.outlook(promise, pending, BOLDNESS[rng.integers(len(BOLDNESS))])
            return Judge(beliefs, self.acquisition, outlook, forest, demanded(rng))

        judge = judge_beside(waiting)
        best = {known.drafts[number].key: known.drafts[number] for number in beliefs.best_first(promise)}
        parents = list(best.values())[:PARENTS]  # the finals train one configuration several times
        fresh = [draft(sample, rng) for _ in range(FRESH)]
        self._pool = self._pool[len(fresh) :] + fresh
        made = self._pool + self._kept + [child(sample, rng, parents) for _ in range(CHILDREN)]

        def wanted(candidates: list[Draft]) -> list[Draft]:
            """Remove duplicates, configurations that have been tried, and layouts to avoid."""
            found = known.untried(candidates)
            return [new for new in found if layout(new.params) not in trained] if layout and trained else found

        trained = self._to_avoid(layout, rng) if layout else set()
        if trained:  # what is new in them gets the best training, too
            made += [splice(sample, rng, new, parents[rng.integers(len(parents))]) for new in self._pool[-SPLICES:]]
        candidates = wanted(made)
        if not candidates:
            trained = set()  # there is no other layout
            candidates = wanted(made)
        if not candidates:
            return []
        first, *left = refined(sample, rng, candidates, judge, wanted)[: KEPT + 1]
        chosen = [first]
        while left and len(chosen) < count:
            judge = judge_beside(np.vstack([waiting, beliefs.vectors(chosen)]))
            chosen.append(left.pop(int(np.argmax(judge.scores(left)))))
        self._kept = left
        if known.costs or rng.random() > ELSEWHERE:
            return chosen
        gains = judge.may_gain(chosen)
        others = [] if gains.all() else wanted([child(sample, rng, parents) for _ in range(CHILDREN)])
        others = judge.feasible(others)
        return [made if gain or not others else others.pop() for made, gain in zip(chosen, gains, strict=True)]

    def _to_avoid(self, layout: Layout, rng: np.random.Generator) -> set[Hashable]:
        """The layouts that are known (`Known.layouts`), in some of the searches; none in the others."""
        trained = self.beliefs.known.layouts(layout)
        if rng.random() > NEW_LAYOUTS * min(ENOUGH_LAYOUTS / max(len(trained), 1), 1):
            return set()
        return trained


def child(sample: Sample, rng: np.random.Generator, parents: list[Draft]) -> Draft:
    """A mutation of a good configuration, or of a cross between two."""
    made = parents[rng.integers(len(parents))]
    if rng.random() < 0.2:
        made = cross(sample, rng, made, parents[rng.integers(len(parents))])
    return mutate(sample, rng, made, changes=1 + (rng.random() < 0.5))


def refined(
    sample: Sample, rng: np.random.Generator, candidates: list[Draft], judge: Judge, wanted: Wanted
) -> list[Draft]:
    """Add mutations of the best, which may be better still, and return all of them, the best first."""
    scores = judge.scores(candidates)
    for _ in range(REFINEMENTS):
        best = [candidates[i] for i in np.argsort(-scores, kind="stable")[:REFINED]]
        seen = {candidate.key for candidate in candidates}
        mutants = [
            mutate(sample, rng, best[rng.integers(len(best))], changes=1 + (rng.random() < 0.5))
            for _ in range(REFINING)
        ]
        mutants = [mutant for mutant in wanted(mutants) if mutant.key not in seen]
        if mutants:
            candidates, scores = candidates + mutants, np.concatenate([scores, judge.scores(mutants)])
    return [candidates[i] for i in np.argsort(-scores, kind="stable")]


def demanded(rng: np.random.Generator) -> float:
    """The chance of being feasible that one proposal demands of a candidate."""
    return 0.5 + 0.5 * rng.random()
