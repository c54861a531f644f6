"""Which configurations of a search are trained again, and what replaces the search's own training of them."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nas.errors import UserError
from nas.results import Results
from nas.searching.study import task_with
from nas.trials import Trial
from search_space import cost, from_dict
from search_space.errors import ArchitectureError
from trainers.config import TrainConfig
from trainers.data import Dataset
from trainers.errors import TrainingError


@dataclass(frozen=True)
class Choice:
    """What is trained again: one trial of each configuration, with `overridden` in its training."""

    trials: tuple[Trial, ...]
    named: bool  # by the caller, instead of the best of the search
    overridden: Mapping[str, Any]  # options of every training that replace the search's own: epochs, sparsity, rewind
    validation: Mapping[int, float]  # trial -> the value of its configuration, if it was trained in full
    finals: bool = False  # whether the search ranks configurations by trainings with fresh seeds, not by these values


def choose(
    results: Results, top_k: int, trials: Sequence[int] = (), *, epochs: int | None = None,
    sparsity: float | None = None, rewind: int | None = None,
) -> Choice:  # fmt: skip
    """Choose the configurations of `trials`, or else the `top_k` best.

    UserError if there are no such trials, or these options do not suit their training.
    """
    overridden = overrides(results.rungs[-1], epochs, sparsity, rewind)
    results = overriding(results, overridden)
    chosen = named(results, trials) if trials else best(results, top_k)
    for trial in chosen if overridden else ():
        try:
            TrainConfig.from_dict(trial.config["training"])
        except TrainingError as error:
            raise UserError(f"trial {trial.number}: {error}") from error
    validation = {trial.number: cell.value for cell in results.cells() for trial in cell.trials}
    return Choice(tuple(chosen), bool(trials), overridden, validation, bool(results.finalists()))


def best(results: Results, k: int) -> list[Trial]:
    """One trial of each of the `k` best configurations at full budget: the first seed in a grid, else the best.

    After a search for a front, they are the best value and those that add most to the area under the front.
    """
    if results.cost and results.best is not None:
        chosen: dict[str, Trial] = {}
        for trial in (results.best, *results.by_front()):
            chosen.setdefault(trial.without_seed, trial)
        return named(results, [trial.number for trial in list(chosen.values())[:k]])
    return [cell.trials[0] for cell in results.cells()[:k]]


def named(results: Results, numbers: Sequence[int]) -> list[Trial]:
    """The trials of these numbers in whatever state; of one configuration only the first.

    They are ordered as by `best`; then come those that were never trained in full, in the order of `numbers`. UserError
    if there is no such trial, or it has no configuration.
    """
    trials = [results.trial(number) for number in numbers]
    if bare := [trial.number for trial in trials if not trial.config]:
        raise UserError(f"trial {bare[0]} of the study {results.name!r} has no configuration: it has not begun")
    cells = results.cells()
    place = {trial.number: i for i, cell in enumerate(cells) for trial in cell.trials}
    found: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda t: place.get(t.number, len(cells))):
        found.setdefault(trial.without_seed, trial)
    return list(found.values())


def fitted(choice: Choice, results: Results, data: Dataset) -> Choice:
    """The choice with what its networks cost on these images.

    UserError if the data does not suit the task and its objective, or a network cannot be built for them here.
    """
    task = task_with(results.objective, results.task, data)
    shape = {"in_chans": data.in_chans, "image_size": data.image_size, "num_outputs": task.num_outputs}
    trials = []
    for trial in choice.trials:
        try:
            counted = cost(from_dict(trial.config["architecture"]), **shape)
        except ArchitectureError as error:
            size = f"{data.in_chans} x {data.image_size} x {data.image_size}"
            raise UserError(f"trial {trial.number} cannot be built for images of {size}: {error}") from error
        trials.append(replace(trial, parameters=counted.parameters, macs=counted.macs))
    return replace(choice, trials=tuple(trials))


def overrides(budget: int, epochs: int | None, sparsity: float | None, rewind: int | None) -> dict[str, Any]:
    """The options that these replace in trainings of `budget` epochs.

    Schedules follow `epochs`. Warm-up, running mean and `rewind` are in epochs and stay.
    """
    if rewind is not None and not sparsity:
        raise UserError(f"rewind is {rewind}, but only pruned networks are rewound: give sparsity above 0 as well")
    found: dict[str, Any] = {} if epochs in (None, budget) else {"epochs": operator.index(epochs)}
    if sparsity is not None:
        given = {"sparsity": sparsity} if rewind is None else {"sparsity": sparsity, "rewind": rewind}
        config = TrainConfig.from_dict({"epochs": budget, "warmup_epochs": 0, **found, **given})
        found |= {"sparsity": config.sparsity, "rewind": config.rewind}
    return found


def overriding(results: Results, training: Mapping[str, Any]) -> Results:
    """The study with these values in the training of every trial. Trials that differed only in them become equal.

    A trial that has not begun has no training.
    """
    if not training:
        return results
    trials = [
        replace(t, config={**t.config, "training": {**t.config.get("training", {}), **training}}) if t.config else t
        for t in results.trials
    ]
    return replace(results, trials=tuple(trials))
