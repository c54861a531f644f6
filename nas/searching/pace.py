"""How long a training will take, from its first epochs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

FIRST = 2.0  # times the limit that a first epoch alone must foretell: it also pays for what is done once


def excess(seconds: Sequence[float], epochs: int, limit: float) -> float:
    """By what share a training of `epochs` epochs will exceed `limit` seconds; 0 or less if it will not, or may not.

    seconds: of each epoch so far, at least one. Those to come are expected to take the median of all but the first.
    """
    later = seconds[1:]
    if not later:
        foretold = seconds[0] * epochs / limit
        return foretold - 1 if foretold > FIRST else 0.0
    return (sum(seconds) + median(later) * (epochs - len(seconds))) / limit - 1
