"""The values in the report's figures, computed from the results. Nothing here draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.results import Results
from nas.words import stage_mixers


@dataclass(frozen=True)
class Incumbent:
    """The best full-budget value so far: one entry for every trial that improved it, by number."""

    numbers: NDArray[np.int64]
    values: NDArray[np.float64]


def incumbent(results: Results) -> Incumbent:
    numbers: list[int] = []
    values: list[float] = []
    for trial in sorted(results.ranked(), key=lambda t: t.number):
        if not values or (trial.value > values[-1] if results.maximize else trial.value < values[-1]):
            numbers.append(trial.number)
            values.append(trial.value)
    return Incumbent(np.array(numbers, dtype=np.int64), np.array(values))


@dataclass(frozen=True)
class Mixers:
    """Objective at the lowest rung by mixer (rows, best first) and place (columns: anywhere, stage 1, stage 2, ...)."""

    mixers: tuple[str, ...]
    places: tuple[str, ...]
    count: NDArray[np.int64]  # trials in each cell
    median: NDArray[np.float64]  # nan in a cell without trials
    low: NDArray[np.float64]  # first quartile
    high: NDArray[np.float64]  # third quartile


def mixers(results: Results) -> Mixers:
    """Count every trial once per cell, with its value at the lowest rung, even if it was pruned or failed later.

    A stage whose first block has another mixer counts for both.
    """
    rung = results.rungs[0]
    cells: dict[tuple[str, int], list[float]] = {}
    for trial in results.trained:
        stages = trial.config.get("architecture", {}).get("stages", ())
        names = [(name, i) for i, stage in enumerate(stages, 1) for name in stage_mixers(stage)]
        if rung in trial.curve:
            for cell in {(name, 0) for name, _ in names} | set(names):
                cells.setdefault(cell, []).append(trial.curve[rung])
    sign = -1 if results.maximize else 1
    rows = sorted({name for name, _ in cells}, key=lambda name: (sign * float(np.median(cells[name, 0])), name))
    columns = range(max((place for _, place in cells), default=0) + 1)
    values = [[np.array(cells.get((name, place), [np.nan])) for place in columns] for name in rows]
    shape = (len(rows), len(columns))
    low, median, high = (
        np.array([[np.quantile(cell, q) for cell in row] for row in values]).reshape(shape) for q in (0.25, 0.5, 0.75)
    )
    return Mixers(
        mixers=tuple(rows),
        places=("anywhere", *(f"stage {place}" for place in columns[1:])),
        count=np.array([[len(cells.get((n, p), [])) for p in columns] for n in rows], dtype=np.int64).reshape(shape),
        median=median,
        low=low,
        high=high,
    )
