"""Which of many trials a figure draws: ten thousand points open slowly, and ten thousand curves are a solid block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nas.results import Results
from nas.trials import Trial
from nas.words import count

CURVES, POINTS = 200, 500
BEST = 50  # of the trials trained in full, which are always among the points


def curves(results: Results) -> list[Trial]:
    """The trials whose learning curves are drawn."""
    return _spread([t for t in results.trained if t.curve], CURVES)


def points(results: Results) -> set[int]:
    """The trials that are drawn as points, by number: all that reached a rung, or the best and some of the others."""
    reached = [t for t in results.trained if t.rung]
    best = results.ranked()[:BEST] if len(reached) > POINTS else []
    return {t.number for t in (*best, *_spread(reached, POINTS))}


def said(drawn: int, most: int, best: int) -> str:
    """What the caption of a figure adds if only some of the trials are drawn, besides so many of the best ones."""
    if drawn <= most:
        return ""
    also = ", and the best" + f" {best:,}" * (best > 1) if best else ""
    return f" Of {count(drawn, 'trial')}, {most:,} are drawn, evenly spaced by number{also}."


def _spread(trials: Sequence[Trial], most: int) -> list[Trial]:
    chosen = np.linspace(0, len(trials) - 1, min(most, len(trials))).round().astype(int)
    return [trials[i] for i in chosen]
