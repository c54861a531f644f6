"""What the trials of a search make one believe of configurations that have not been tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import ExtraTreesClassifier

from nas import front
from nas.samplers.surrogate.cokriging import CoKriging
from nas.samplers.surrogate.encoding import Encoding
from nas.samplers.surrogate.feasibility import learn
from nas.samplers.surrogate.known import Known
from nas.searching.drafts import Draft, Params

Array = NDArray[np.float64]
PROMISING = 32  # trials of a rung whose value at the full budget is predicted


@dataclass(frozen=True)
class Outlook:
    """Beliefs at the moment of one proposal. Configurations `pending` (k, columns) have no value yet.

    The model takes its own predictions for them as observed. `promise` holds predictions at the full budget for the
    best trials. `boldness` is the number of standard deviations that an upper bound adds to the mean.
    """

    known: Known
    parameter: NDArray[np.int64]  # of each column
    model: CoKriging
    promise: Mapping[int, float]
    pending: Array
    boldness: float

    def cost(self, x: Array) -> Array:
        """The logarithm of the cost at x (m, columns): (m,)."""
        return self.known.costs.predict(x, self.known.vectors, self.parameter)

    def duration(self, x: Array) -> Array:
        """The logarithm of the seconds of an epoch at x (m, columns): (m,)."""
        return self.known.seconds.predict(x, self.known.vectors, self.parameter)


class Beliefs:
    """The encoding of configurations, and models of their values and of their chance of being feasible.

    Call `encode` after each `Known.read`, before anything else.
    """

    def __init__(self, known: Known) -> None:
        self.known = known
        self.encoding: Encoding | None = None
        self._model: CoKriging | None = None
        self._fitted = -1  # changes of values when the model was fitted
        self._forest: ExtraTreesClassifier | None = None
        self._taught = 0  # trials that the forest has learnt from; 0: learn again
        self._blamed = 0  # infeasible ones that were known then

    def encode(self, candidates: Sequence[Draft], unseen: Sequence[Draft]) -> None:
        """Encode new trials, or all of them again if they or the `unseen` candidates have an unknown parameter.

        The first encoding learns the parameters from all candidates.
        """
        known = self.encoding.distributions if self.encoding else {}
        pending = [n for n in self.known.drafts if n not in self.known.vectors]
        found = {
            name: distribution
            for made in [*(unseen if self.encoding else candidates), *(self.known.drafts[n] for n in pending)]
            for name, distribution in made.distributions.items()
        }
        if self.encoding is None or not found.keys() <= known.keys():
            self.encoding = Encoding(dict(sorted({**found, **known}.items())))
            self._model = CoKriging(self.encoding.parameter)
            self.known.costs.forget_model()
            self.known.seconds.forget_model()
            self._fitted, self._taught = -1, 0
            self.known.vectors, pending = {}, list(self.known.drafts)
            for made in candidates:
                made.vector = None
        vectors = self.encoding(self.known.drafts[n].params for n in pending)
        self.known.vectors.update(zip(pending, vectors, strict=True))

    def vectors(self, candidates: Sequence[Draft]) -> Array:
        """Encode candidates, each once, however long it is kept: (m, columns)."""
        assert self.encoding is not None
        for made in candidates:
            if made.vector is None:
                made.vector = np.array(self.encoding.vector(made.params))
        return np.array([made.vector for made in candidates])

    def encoded(self, params: Params) -> Array:
        """(1, columns)"""
        assert self.encoding is not None
        return self.encoding([params])

    def waiting(self, latest: int) -> Array:
        """Those of the latest trials that run and have no value yet: (k, columns)."""
        assert self.encoding is not None
        running = [self.known.vectors[number] for number in self.known.waiting(latest)]
        return np.array(running).reshape(-1, len(self.encoding.parameter))

    def fit(self) -> None:
        """Fit the model of values, if any has changed."""
        assert self._model is not None
        if self._fitted != self.known.changes:
            self._model.fit(self.known.rungs, self.known.vectors)
            self._fitted = self.known.changes

    def outlook(self, promise: Mapping[int, float], pending: Array, boldness: float) -> Outlook:
        assert self.encoding is not None
        assert self._model is not None
        model = self._model.believing(pending)
        return Outlook(self.known, self.encoding.parameter, model, promise, pending, boldness)

    def promise(self) -> dict[int, float]:
        """The best predictions at the full budget, by trial, each from the last rung that it reached."""
        assert self._model is not None
        promise: dict[int, float] = {}
        for index, level in enumerate(self._model.levels):
            for number in level.numbers.tolist():  # a later rung may have refuted what an earlier one promised
                promise.pop(number, None)
            best = self.best_first(dict(zip(level.numbers.tolist(), level.z.tolist(), strict=True)))[:PROMISING]
            mean, _ = self._model.predict_tried(best, index, np.array([self.known.vectors[number] for number in best]))
            promise.update(zip(best, mean.tolist(), strict=True))
        return promise

    def best_first(self, values: Mapping[int, float]) -> list[int]:
        """Trials by their values; in a search for the front of value and cost, by how near they are to it."""
        if self.known.costs:
            return front.ordered(values, self.known.costs.known)
        return sorted(values, key=lambda number: -values[number])

    def feasibility(self, seed: int) -> ExtraTreesClassifier | None:
        """The forest that predicts which configurations are feasible; None if all trials are of one kind."""
        known = self.known
        if not self._taught or known.blamed > self._blamed or len(known.infeasible) > 1.1 * self._taught:
            self._forest = learn(known.infeasible, known.vectors, seed)
            self._taught, self._blamed = len(known.infeasible), known.blamed
        return self._forest
