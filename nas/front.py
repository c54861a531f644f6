"""The front of two objectives: of a value, more is better; of a cost above zero, less is.

A trial dominates another if it costs no more and its value is no lower; of equal ones the older dominates. Areas are in
the plane of the value and the logarithm of the cost: half the cost is worth as much for a small network as for a large
one.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from heapq import heappop, heappush

ROOM = math.log(2)  # areas reach to twice the largest cost, so that the best value counts at the largest cost too


def fronts(values: Mapping[int, float], costs: Mapping[int, float]) -> list[list[int]]:
    """Sort trials by non-domination: the trials that none dominates, those that only these dominate, and so on.

    In each front, costs and values rise. (Jensen 2003, "Reducing the run-time complexity of multiobjective EAs".)
    """
    found: list[list[int]] = []
    tops: list[float] = []  # minus the value of every front's last trial, ascending
    for trial in _by_cost(values, costs):
        place = bisect_right(tops, -values[trial])
        if place == len(found):
            found.append([])
            tops.append(0.0)
        found[place].append(trial)
        tops[place] = -values[trial]
    return found


def ordered(values: Mapping[int, float], costs: Mapping[int, float]) -> list[int]:
    """Return the trials, best first: front by front, and in a front the one next that adds most area to those before.

    Areas lie above the lower quartile of the values: what is cheap, but worse than most, adds nothing.
    """
    if not values:
        return []
    floor = sorted(values.values())[len(values) // 4]
    ceiling = math.log(max(costs[trial] for trial in values)) + ROOM
    return [trial for front in fronts(values, costs) for trial in spread(front, values, costs, floor, ceiling)]


def spread(
    front: Sequence[int], values: Mapping[int, float], costs: Mapping[int, float], floor: float, ceiling: float
) -> list[int]:
    """Order one front by the area that each next trial adds, above `floor` and up to the logarithm `ceiling`."""
    at = [math.log(costs[trial]) for trial in front]
    waiting: list[tuple[float, int, int, int, int]] = []  # the best of each gap: -area, trial, gap from, best, gap to

    def offer(low: int, high: int) -> None:
        """Front[low:high] lies between two trials that have been taken. A trial adds a rectangle between these."""
        if low < high:
            below = max(values[front[low - 1]], floor) if low else floor
            right = at[high] if high < len(front) else ceiling
            area = [max(values[front[i]] - below, 0.0) * (right - at[i]) for i in range(low, high)]
            best = max(range(low, high), key=lambda i: (area[i - low], -front[i]))
            heappush(waiting, (-area[best - low], front[best], low, best, high))

    taken = []
    offer(0, len(front))
    while waiting:
        _, trial, low, best, high = heappop(waiting)
        taken.append(trial)
        offer(low, best)
        offer(best + 1, high)
    return taken


def dominators(values: Mapping[int, float], costs: Mapping[int, float]) -> dict[int, int]:
    """The number of trials that dominate each trial."""
    found: dict[int, int] = {}
    seen: list[float] = []  # minus the values of trials that cost no more
    for trial in _by_cost(values, costs):
        found[trial] = bisect_right(seen, -values[trial])
        insort(seen, -values[trial])
    return found


def _by_cost(values: Mapping[int, float], costs: Mapping[int, float]) -> list[int]:
    return sorted(values, key=lambda trial: (costs[trial], -values[trial], trial))
