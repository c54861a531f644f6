"""The proposer as a sampler of Optuna, for any objective."""

from __future__ import annotations

import threading
import zlib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from nas.samplers.surrogate.learnt_space import LearntSpace
from nas.samplers.surrogate.proposer import Sampler
from nas.samplers.surrogate.reading import Ladder, as_proposed, internal, retried, whole
from nas.searching.drafts import Params, draft, key, nearest, place_of, shared, value_at
from nas.searching.optuna_private import contains

LATEST, UNSTEADY = 10, 4  # a number that had so many ranges in its latest trials depends on other parameters
MODELLED, DRAWN = 2, 20  # attempts to propose something new, where values are known only once they are asked for


class SurrogateSampler(BaseSampler):
    """Proposes whole configurations by a model of all rungs; for numeric, categorical and conditional spaces.

    It works with any objective of one value:

        study = optuna.create_study(sampler=SurrogateSampler(seed=1), pruner=optuna.pruners.SuccessiveHalvingPruner())
        study.optimize(objective, n_trials=200, n_jobs=4)

    *Space.* Which parameters appear under which values is learnt from the finished trials (`LearntSpace`). Parameters
    of a trial that the proposal lacks are drawn at random. Of a number whose range changes from trial to trial, such as
    `suggest_int("k", 1, n)`, the model learns the place in the range. Where a range changes now and then, a proposed
    number outside the range asked for, or between its steps, becomes the nearest value of it.

    *Pruning.* The model uses intermediate values at the last step of the longest complete trial, a third of it, a
    ninth, and so on down to the lowest step at which a trial was pruned (`Ladder`); five steps at most. The value of a
    complete trial is the one that its objective returned.

    *Constraints* are those of `trial.set_constraint`: above zero is infeasible. Trials that failed, returned an
    infinite value or were pruned before any report count as infeasible too. The sampler learns where they lie.

    *Enqueued trials* are taken as likely to be good: until there is a model, half of the proposals keep a part of one.
    What an enqueued trial leaves open, or a `PartialFixedSampler`, is proposed to suit what it fixes.

    A trial's random numbers depend on `seed` and the trial's number, so processes that share a storage may share a
    seed. Everything else is learnt again from the study: the sampler can be pickled, and can continue any study.
    ValueError for a study with several objectives.
    """

    _space: LearntSpace
    _ladder: Ladder
    _proposer: Sampler

    def __init__(self, seed: int | None = None) -> None:
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self._lock = threading.Lock()  # threads of `optimize(n_jobs=...)` share the sampler
        self._study: str | None = None
        self._start()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.seed,)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        with self._lock:
            self._read(study)
            found = self._space.distributions.items()
            return {name: self._choices.get(name, of) for name, of in found if name not in self._relative}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        with self._lock:
            self._read(study)
            if not self._space.distributions:
                return {}
            fixed = self._fixed(study, trial)
            if fixed != self._space.fixed:
                self._space.fixed = fixed
                self._proposer.forget_candidates()
            sign = 1.0 if study.direction == StudyDirection.MAXIMIZE else -1.0
            proposed = self._propose(trial.number, sign)
            self._placed[trial.number] = {n: place for n, place in proposed.items() if n in self._relative}
            self._proposed[trial.number] = {
                name: search_space[name].to_external_repr(value)
                for name, value in proposed.items()
                if name in search_space and name not in self._relative  # it may have become so since the space was read
            }
            return dict(self._proposed[trial.number])

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        refuse_several_objectives(study)
        with self._lock:
            proposed, placed = self._proposed.get(trial.number, {}), self._placed.get(trial.number, {})
        if param_name in placed and not isinstance(param_distribution, CategoricalDistribution):
            return value_at(param_distribution, placed[param_name])
        if param_name in proposed and not isinstance(param_distribution, CategoricalDistribution):
            return nearest(param_distribution, proposed[param_name])
        rng = np.random.default_rng([self.seed, trial.number, zlib.crc32(param_name.encode())])
        return value_at(param_distribution, rng.random())

    def _propose(self, number: int, sign: float) -> Params:
        trials = [self._trials[number] for number in sorted(self._trials)]
        first: Params = {}
        for attempt in range(MODELLED):
            again = [attempt] if attempt else []
            self._proposer.seed = int(np.random.SeedSequence([self.seed, number, *again]).generate_state(1)[0])
            proposed = dict(self._proposer.propose(trials, self._space, range(len(self._ladder.rungs)), sign) or {})
            if not self._repeats(proposed):
                return proposed
            first = first or proposed
            self._proposer.known.tried.add(key(proposed))
        rng = np.random.default_rng([self.seed, number])
        drawn = (draft(self._space, rng).params for _ in range(DRAWN))
        tried = self._proposer.known.tried
        return next((params for params in drawn if key(params) not in tried and not self._repeats(params)), first)

    def _repeats(self, proposed: Params) -> bool:
        """Whether other places in ranges with steps would give the values of an earlier trial once more."""
        placed = self._relative & proposed.keys()
        rest = {name: value for name, value in proposed.items() if name not in placed}
        return bool(placed) and any(
            trial.params.keys() == proposed.keys()
            and all(trial.params[name] == value for name, value in rest.items())
            and all(self._value(number, name, proposed[name]) == self._found[number].params[name] for name in placed)
            for number, trial in self._trials.items()
        )

    def _value(self, number: int, name: str, place: float) -> Any:
        """The value at a place in the range that trial `number` had."""
        return value_at(self._found[number].distributions[name], place)

    def _fixed(self, study: Study, trial: FrozenTrial) -> Params:
        """What an enqueued trial or a `PartialFixedSampler` around this sampler decides, in internal terms."""
        given = {**getattr(study.sampler, "_fixed_params", {}), **trial.system_attrs.get("fixed_params", {})}
        found = {}
        for name, value in given.items():
            if name in self._relative:
                found[name] = min(max(place_of(self._ranges[name][-1], value), 0.0), 1.0)
                continue
            distribution = self._choices.get(name, self._space.distributions.get(name))
            if distribution is not None and contains(distribution, value):
                found[name] = (
                    int(distribution.to_internal_repr(value)) if name in self._choices else nearest(distribution, value)
                )
        return found

    def _read(self, study: Study) -> None:
        """Read the new and changed trials. A storage replaces the object of a finished trial that changes."""
        refuse_several_objectives(study)
        trials = study.get_trials(deepcopy=False)
        ends = (next(ended(found), None) for found in (self._found.values(), reversed(self._found.values())))
        same = all(began(trial.number, trials) == trial.datetime_start for trial in ends if trial)
        if study.study_name != self._study or not same:  # another study, perhaps of the same name
            self._start()
            self._study = study.study_name
        news = [t for t in trials if t is not self._found.get(t.number) or not t.state.is_finished()]
        rungs, ranges, relative = self._ladder.rungs, dict(self._space.distributions), len(self._relative)
        changed = [self._learn(trial) for trial in news if trial.state.is_finished()]
        self._found |= {trial.number: trial for trial in news}
        for trial in news:
            if trial.state.is_finished():
                self._proposed.pop(trial.number, None)
                self._placed.pop(trial.number, None)
        again = {number for trial in news for number in retried(trial)} - self._retried
        self._retried |= again
        if len(self._relative) > relative:
            self._space = LearntSpace()
            for trial in filter(whole, ended(self._found.values())):
                self._space.learn(*internal(trial, self._relative))
        widened = any(self._space.distributions[name] is not found for name, found in ranges.items())
        if widened or rungs != self._ladder.rungs:  # all that the proposer knows is on another scale
            self._proposer, news = Sampler(self.seed), list(self._found.values())
        elif any(changed):
            self._proposer.forget_candidates()
        news += [self._found[number] for number in sorted(again & self._found.keys())]
        known, ladder = self._space.distributions, self._ladder
        self._trials |= {t.number: as_proposed(t, known, ladder, self._retried, self._relative) for t in news}

    def _start(self) -> None:
        self._proposed: dict[int, dict[str, Any]] = {}  # to the trials that run
        self._placed: dict[int, dict[str, float]] = {}  # and of numbers with a range of their own, the place in it
        self._relative: set[str] = set()  # these numbers
        self._ranges: defaultdict[str, deque[BaseDistribution]] = defaultdict(lambda: deque(maxlen=LATEST))
        self._retried: set[int] = set()  # trials that failed and were begun anew as others
        self._found: dict[int, FrozenTrial] = {}  # by number, as the study has them
        self._trials: dict[int, FrozenTrial] = {}  # and as the proposer takes them
        self._choices: dict[str, CategoricalDistribution] = {}
        self._space, self._ladder, self._proposer = LearntSpace(), Ladder(), Sampler(self.seed)

    def _learn(self, trial: FrozenTrial) -> bool:
        """Learn rungs and space from a finished trial. Return whether the space has changed."""
        self._ladder.extend(trial)
        known = self._found.get(trial.number)
        if not whole(trial) or (known and known.state.is_finished()):
            return False
        for name, distribution in trial.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                self._choices[name] = distribution
                continue
            self._ranges[name].append(shared(distribution))
            if len(set(map(id, self._ranges[name]))) >= UNSTEADY:
                self._relative.add(name)
        return self._space.learn(*internal(trial, self._relative))


def ended(trials: Iterable[FrozenTrial]) -> Iterator[FrozenTrial]:
    return (trial for trial in trials if trial.state.is_finished())


def began(number: int, trials: Sequence[FrozenTrial]) -> datetime | None:
    return trials[number].datetime_start if number < len(trials) else None


def refuse_several_objectives(study: Study) -> None:
    if len(study.directions) > 1:
        raise ValueError(f"SurrogateSampler optimises one objective, and this study has {len(study.directions)}")
