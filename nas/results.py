"""What the report is drawn from: plain values taken from an Optuna study, which only `read` sees. Nothing draws."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from nas.words import describe_architecture

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


@dataclass(frozen=True)
class Trial:
    """One trial that was trained. Values are compared only at rungs, which all trials have in common."""

    number: int
    state: str  # "complete" | "pruned" | "failed" | "open": still running, or paused
    curve: Mapping[int, float]  # epoch -> objective, finite values only
    rung: int  # highest rung it has a value for; 0: none
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    config: Mapping[str, Any]
    parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    error: str = ""
    turned: float | None = None  # the objective at full budget on the validation images turned by 90 degrees

    @property
    def value(self) -> float:
        """The objective at `rung`."""
        return self.curve[self.rung]

    @property
    def epochs(self) -> int:
        return max(self.curve, default=0)

    @property
    def description(self) -> str:
        return describe_architecture(self.config.get("architecture", {}))


@dataclass(frozen=True)
class Cell:
    """The trials of one configuration that were trained in full; the first stands for it."""

    trials: tuple[Trial, ...]  # in a grid by seed, so that the first is not the luckiest; elsewhere from best to worst
    value: float  # by which configurations are ranked: in a grid the mean of the trials, elsewhere that of the best


@dataclass(frozen=True)
class Search:
    """A study as the report sees it."""

    name: str
    question: str
    spec: Mapping[str, Any]
    maximize: bool
    rungs: tuple[int, ...]  # epochs at which trials are compared; the last is the full budget
    trials: tuple[Trial, ...]
    skipped: int  # configurations above the study's limits, which were never trained

    @property
    def objective(self) -> str:
        return str(self.spec["objective"])

    def counts(self) -> dict[str, int]:
        return {state: sum(t.state == state for t in self.trials) for state in ("complete", "pruned", "failed", "open")}

    def ranked(self) -> list[Trial]:
        """The COMPLETE trials at full budget from best to worst; of equals the older comes first."""
        full = [t for t in self.trials if t.state == "complete" and t.rung == self.rungs[-1]]
        return sorted(full, key=lambda t: (-t.value if self.maximize else t.value, t.number))

    @property
    def grid(self) -> bool:
        return self.spec.get("sampler") == "grid"

    def cells(self) -> list[Cell]:
        """The configurations trained in full, whatever the seed, from best to worst.

        In a grid, those that lack a seed come after those that have all: what is left of a configuration when its
        failures are taken away flatters it.
        """
        found: dict[str, list[Trial]] = {}
        for trial in self.ranked():
            configuration = {name: value for name, value in trial.config.items() if name != "seed"}
            found.setdefault(json.dumps(configuration, sort_keys=True), []).append(trial)
        if not self.grid:
            return [Cell(tuple(trials), trials[0].value) for trials in found.values()]
        by_seed = [tuple(sorted(trials, key=lambda t: t.config.get("seed", 0))) for trials in found.values()]
        cells = [Cell(trials, fmean(t.value for t in trials)) for trials in by_seed]
        seeds, sign = self.spec.get("seeds", 1), -1 if self.maximize else 1
        return sorted(cells, key=lambda c: (len(c.trials) < seeds, sign * c.value, c.trials[0].number))


def read(study: optuna.Study) -> Search:
    """The study as plain values. ValueError for a study that nas.run did not make."""
    spec = study.user_attrs.get("spec")
    if spec is None:
        raise ValueError(f"study {study.study_name!r} has no 'spec': only studies made by nas.run can be reported on")
    rungs = tuple(spec["rungs"])
    stored = study.get_trials(deepcopy=False)
    return Search(
        name=study.study_name,
        question=study.user_attrs.get("question", ""),
        spec=spec,
        maximize=spec["direction"] == "maximize",
        rungs=rungs,
        trials=tuple(_trial(t, rungs, spec["objective"]) for t in stored if "skipped" not in t.user_attrs),
        skipped=sum("skipped" in t.user_attrs for t in stored),
    )


def _trial(trial: optuna.trial.FrozenTrial, rungs: Sequence[int], objective: str) -> Trial:
    known = trial.user_attrs
    full = [epoch for epoch in known.get("history", ()) if epoch["epoch"] == rungs[-1]]
    turned = full[0].get(f"turned_{objective}") if full else None
    curve = {epoch: v for epoch, v in sorted(trial.intermediate_values.items()) if math.isfinite(v)}
    return Trial(
        number=trial.number,
        state=STATES.get(trial.state, "open"),
        curve=curve,
        rung=max((rung for rung in rungs if rung in curve), default=0),
        params=trial.params,
        distributions=trial.distributions,
        config=known.get("config", {}),
        parameters=known.get("parameters"),
        macs=known.get("macs"),
        seconds=known.get("seconds"),
        peak_memory_mb=known.get("peak_memory_mb"),
        error=known.get("error", ""),
        turned=turned if turned is not None and math.isfinite(turned) else None,
    )


@dataclass(frozen=True)
class Incumbent:
    """The best full-budget value so far, by trial number: one entry for every trial that improved on it."""

    numbers: NDArray[np.int64]
    values: NDArray[np.float64]


def incumbent(search: Search) -> Incumbent:
    numbers: list[int] = []
    values: list[float] = []
    for trial in sorted(search.ranked(), key=lambda t: t.number):
        if not values or (trial.value > values[-1] if search.maximize else trial.value < values[-1]):
            numbers.append(trial.number)
            values.append(trial.value)
    return Incumbent(np.array(numbers, dtype=np.int64), np.array(values))


@dataclass(frozen=True)
class Mixers:
    """Objective at the lowest rung by mixer (rows, best first) and place (columns: anywhere, stage 1, stage 2, ...)."""

    mixers: tuple[str, ...]
    places: tuple[str, ...]
    count: NDArray[np.int64]  # trials in each cell
    median: NDArray[np.float64]  # nan where there is none
    low: NDArray[np.float64]  # quartiles
    high: NDArray[np.float64]


def mixers(search: Search) -> Mixers:
    """Every trial counts once in a cell, with its value at the lowest rung, whatever became of it later."""
    rung = search.rungs[0]
    cells: dict[tuple[str, int], list[float]] = {}
    for trial in search.trials:
        names = [stage["mixer"] for stage in trial.config.get("architecture", {}).get("stages", ())]
        if rung in trial.curve:
            for cell in {(name, 0) for name in names} | {(name, i) for i, name in enumerate(names, 1)}:
                cells.setdefault(cell, []).append(trial.curve[rung])
    sign = -1 if search.maximize else 1
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


def pareto(search: Search, cost: str = "parameters") -> list[Trial]:
    """The full-budget trials that no other one beats at the same or lower cost, by rising cost."""
    front: list[Trial] = []
    known = [trial for trial in search.ranked() if getattr(trial, cost) is not None]
    for trial in sorted(known, key=lambda t: getattr(t, cost)):  # stable: of equal cost the best comes first
        if not front or (trial.value > front[-1].value if search.maximize else trial.value < front[-1].value):
            front.append(trial)
    return front
