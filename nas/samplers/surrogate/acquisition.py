"""How much each candidate is worth a trial: functions of an `Outlook` and candidates x (m, columns), to (m,)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nas import front
from nas.samplers.surrogate.beliefs import Outlook
from nas.samplers.surrogate.trade_off import expected_improvement

Array = NDArray[np.float64]
Acquisition = Callable[[Outlook, Array], Array]
LEAST_GROWTH = 1e-12  # of the area under the front, whose logarithm is taken


def upper_bound_or_growth(outlook: Outlook, x: Array) -> Array:
    """The upper confidence bound of the value; in a search for the front of value and cost, its growth."""
    if outlook.known.costs:
        return growth(outlook, x)
    mean, variance = outlook.model.predict(x)
    return mean + outlook.boldness * np.sqrt(variance)


def growth(outlook: Outlook, x: Array) -> Array:
    """The logarithm of the area that candidates are expected to add to the front.

    The front is that of what the best trials promise and of what the pending ones are believed to reach. It begins at
    the lowest value at the highest rung.
    """
    both = np.vstack([x, outlook.pending])
    cost, (mean, variance) = outlook.cost(both), outlook.model.predict(both)
    known, m = np.log([outlook.known.costs.known[trial] for trial in outlook.promise]), len(x)
    values = np.concatenate([list(outlook.promise.values()), mean[m:]])
    costs = np.concatenate([known, cost[m:]])
    on_it = front.fronts(dict(enumerate(values.tolist())), dict(enumerate(costs.tolist())))[0]
    steps = np.stack([costs[on_it], values[on_it]], 1)
    floor, ceiling = outlook.model.levels[-1].z.min(), known.max() + front.ROOM
    return np.log(expected_improvement(mean[:m], variance[:m], cost[:m], steps, floor, ceiling) + LEAST_GROWTH)
