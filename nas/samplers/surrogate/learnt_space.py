"""Learns a define-by-run space from whole configurations: its parameters, their order, ranges and conditions.

`LearntSpace` can then stand in for the function that asks for the parameters: called with a `Draft`, it asks for those
that the function would probably ask for. Each parameter has a decision tree over the parameters asked for before it.
The tree is grown again only when a configuration contradicts it. A wrong tree is harmless: the parameters of a proposal
that are not asked for are ignored, and what is missing is drawn at random.

Values are in Optuna's internal terms: a choice is its index, so choices may be anything.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from nas.searching.drafts import Number, Params, shared

LATEST = 300  # configurations that the conditions are learnt from
Interval = tuple[str, float, float]  # a parameter that is active with a value between two, inclusive


@dataclass(frozen=True)
class Split:
    """`inside` applies if `name` is active with a value from `low` to `high`, otherwise `outside`."""

    name: str
    low: float
    high: float
    inside: Split | bool
    outside: Split | bool


class LearntSpace:
    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}  # in the order of asking; the widest range of each
        self.fixed: Params = {}  # values that are not for the caller to choose
        self._examples: deque[Params] = deque(maxlen=LATEST)
        self._followers: dict[str | None, dict[str, None]] = {None: {}}  # asked for right after each; None is the start
        self._active: dict[str, Split | bool] = {}

    def __call__(self, trial: Any) -> None:
        for name, distribution in self.distributions.items():
            if not holds(self._active[name], trial.params):
                continue
            if name in self.fixed:
                trial.params[name] = self.fixed[name]
                trial.distributions[name] = shared(CategoricalDistribution((self.fixed[name],)))
            else:
                trial.suggest(name, distribution, alone=True)  # a dot in a user's name means nothing

    def learn(self, params: Params, distributions: Mapping[str, BaseDistribution]) -> bool:
        """Learn from a configuration, given in the order of asking. Return whether the space has changed."""
        self._examples.append(params)
        before = dict(self.distributions)
        ordered = self._ordered(list(params))
        for name, distribution in distributions.items():
            known = self.distributions.get(name)
            self.distributions[name] = distribution if known is None else widest(known, distribution)
        if ordered is None:
            wrong = [name for name, active in self._active.items() if holds(active, params) != (name in params)]
        else:
            self.distributions = {name: self.distributions[name] for name in ordered}
            wrong = ordered
        if wrong:
            trees = Trees(self.distributions, self._examples)
            self._active.update({name: trees.grow(name) for name in wrong})
        return bool(wrong) or self.distributions != before

    def _ordered(self, names: list[str]) -> list[str] | None:
        """Return all parameters in the order of asking if `names` changes it: depth first, in reverse postorder."""
        new = False
        for name, follower in zip([None, *names], names, strict=False):
            new |= follower not in self._followers[name]
            self._followers[name][follower] = None
            self._followers.setdefault(follower, {})
        if not new:
            return None
        finished: list[str] = []
        seen: set[str] = set()
        path: list[tuple[str | None, Iterator[str]]] = [(None, iter(self._followers[None]))]
        while path:
            name, followers = path[-1]
            following = next((follower for follower in followers if follower not in seen), None)
            if following is None:
                path.pop()
                if name is not None:
                    finished.append(name)
            else:
                seen.add(following)
                path.append((following, iter(self._followers[following])))
        return finished[::-1]


def holds(tree: Split | bool, params: Mapping[str, Any]) -> bool:
    while isinstance(tree, Split):
        value = params.get(tree.name)
        tree = tree.inside if value is not None and tree.low <= value <= tree.high else tree.outside
    return tree


def widest(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """Return the range that covers two ranges of one parameter. Choices cannot change within a study."""
    if one == other or isinstance(other, CategoricalDistribution):
        return one
    assert isinstance(one, Number)
    assert isinstance(other, Number)
    low, high = min(one.low, other.low), max(one.high, other.high)
    step = one.step if one.step == other.step and _on_one_grid(one, other) else None
    if isinstance(other, IntDistribution):
        return shared(IntDistribution(int(low), int(high), log=other.log, step=int(step or 1)))
    return shared(FloatDistribution(low, high, log=other.log, step=step))


def _on_one_grid(one: Number, other: Number) -> bool:
    steps = (other.low - one.low) / (one.step or 1)
    return math.isclose(steps, round(steps), abs_tol=1e-9)


class Trees:
    """Grows a decision tree for each parameter. It asks first whether others are active and about values with steps.

    Ranges without steps are asked only if nothing else distinguishes: any of dozens orders a few examples by chance.
    Among equally good questions the last is taken, because conditions stand near what hangs on them.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution], examples: Iterable[Params]) -> None:
        self._names = {name: index for index, name in enumerate(distributions)}
        self._continuous = [_is_continuous(distribution) for distribution in distributions.values()]
        rows = list(examples)
        self._values = np.full((len(rows), len(self._names)), np.nan)
        for row, params in enumerate(rows):
            self._values[row, [self._names[name] for name in params]] = list(params.values())
        self._questions: list[Interval] = []
        self._before: list[int] = []  # the number of questions about the parameters before each
        for name, distribution in distributions.items():
            self._before.append(len(self._questions))
            self._questions += self._about(name, isinstance(distribution, CategoricalDistribution))
        self._answers = self._answered(self._questions)

    def grow(self, name: str) -> Split | bool:
        column = self._names[name]
        return self._grown(column, ~np.isnan(self._values[:, column]), np.arange(len(self._values)))

    def _grown(self, column: int, active: NDArray[np.bool_], rows: NDArray[np.int64]) -> Split | bool:
        here = active[rows]
        if here.all() or not here.any():
            return bool(here[0])
        asked = self._before[column]
        questions, answers = self._questions[:asked], self._answers[:, :asked]
        best = best_split(answers[rows], here)
        if best is None:
            earlier = [name for name, index in self._names.items() if index < column and self._continuous[index]]
            questions = [question for name in earlier for question in self._thresholds(name, rows)]
            answers = self._answered(questions)
            best = best_split(answers[rows], here)
        if best is None:
            return bool(here[-1])  # nothing distinguishes; the latest is right if the function was edited
        inside = answers[rows, best]
        return Split(
            *questions[best], self._grown(column, active, rows[inside]), self._grown(column, active, rows[~inside])
        )

    def _about(self, name: str, is_choice: bool) -> list[Interval]:
        column = self._values[:, self._names[name]]
        values = np.unique(column[~np.isnan(column)])
        found: list[Interval] = []
        if is_choice:
            found = [(name, value, value) for value in values.tolist()]
        elif not self._continuous[self._names[name]]:
            found = self._thresholds(name, np.arange(len(column)))
        return [*found, (name, -math.inf, math.inf)]

    def _thresholds(self, name: str, rows: NDArray[np.int64]) -> list[Interval]:
        column = self._values[rows, self._names[name]]
        values = np.unique(column[~np.isnan(column)])
        middles = ((values[1:] + values[:-1]) / 2).tolist()
        return [(name, *ends) for middle in middles for ends in ((-math.inf, middle), (middle, math.inf))]

    def _answered(self, questions: list[Interval]) -> NDArray[np.bool_]:
        """Return (examples, questions); an inactive parameter, nan, lies in no interval."""
        columns = [self._names[name] for name, _, _ in questions]
        low, high = (np.array([question[i] for question in questions]) for i in (1, 2))
        values = self._values[:, columns]
        answers: NDArray[np.bool_] = (values >= low) & (values <= high)
        return answers


def _is_continuous(distribution: BaseDistribution) -> bool:
    return isinstance(distribution, FloatDistribution) and distribution.step is None


def best_split(answers: NDArray[np.bool_], active: NDArray[np.bool_]) -> int | None:
    """Return which of the questions (examples, questions) lowers the Gini impurity of `active` most; None if none."""
    if not answers.shape[1]:
        return None
    total, hits = len(active), int(active.sum())
    inside = answers.sum(0)
    hits_inside = active.astype(np.int64) @ answers
    loss = sum(k * (n - k) / np.maximum(n, 1) for n, k in ((inside, hits_inside), (total - inside, hits - hits_inside)))
    best = len(loss) - 1 - int(np.argmin(loss[::-1]))
    return best if loss[best] < hits * (total - hits) / total - 1e-9 else None
