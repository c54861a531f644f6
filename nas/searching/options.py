"""Options of a call, named as on the command line, that replace a study's own values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from nas.checks import check_number
from nas.errors import UserError
from nas.searching.settings import apply
from nas.sources import source_of
from studies import StudySpec
from trainers import metrics, tasks


def adapt(
    spec: StudySpec,
    *,
    trials: int | None = None,
    task: str | None = None,
    objective: str | None = None,
    balance: str | None = None,
    sampler: str | None = None,
    scheduler: str | None = None,
    data: Any = None,
    image_size: int | None = None,
    images: int | None = None,
    data_seed: int | None = None,
    epochs: int | None = None,
    max_parameters: int | None = None,
    max_macs: int | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    finals: float | None = None,
    folds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    **reading: Any,
) -> StudySpec:
    """Replace values of `spec` by the options that are not None. UserError if an option is invalid or has no effect.

    `reading` are the `options` of `source_of`.
    """
    spec = apply(spec, settings or {})
    words = {"task": task, "objective": objective, "balance": balance, "sampler": sampler, "scheduler": scheduler}
    for name, word in words.items():
        if word is not None and not isinstance(word, str):
            raise UserError(f"{name} is {word!r}; expected text")
    counted = {"trials": trials, "epochs": epochs, "images": images, "image_size": image_size, "seeds": seeds}
    for name, value in {**counted, "max_parameters": max_parameters, "max_macs": max_macs}.items():
        check_number(name, value, 1, whole=True)
    for name, value in {"seed": seed, "data_seed": data_seed}.items():
        check_number(name, value, 0, whole=True)
    same_name = {
        "trials": trials, "max_parameters": max_parameters, "max_macs": max_macs, "seed": seed, "task": task,
        "sampler": sampler, "scheduler": scheduler, "finals": finals, "folds": folds,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in same_name.items() if value is not None}
    if task not in (None, spec.task) or objective is not None:
        of_task = tasks.of_name(task or spec.task)
        objective = of_task.objective if objective is None else objective
        changes |= {"objective": objective, "direction": metrics.direction(objective, of_task)}
    if task not in (None, spec.task):
        changes["question"] = f"{spec.question} (task {task})"
    if balance is not None:
        changes["training"] = replace(spec.training, balance=(balance,))
        changes["first"] = tuple({k: v for k, v in given.items() if k != "balance"} for given in spec.first)
    if epochs is not None:
        scaled = max(round(epochs * spec.min_epochs / spec.epochs), 1)
        changes |= {"epochs": epochs, "min_epochs": scaled}
    if seeds is not None:
        if spec.seeds == 1:
            raise UserError(f"seeds is for grids that train every cell several times; {spec.name} has one seed")
        changes = {"trials": spec.trials // spec.seeds * seeds, **changes, "seeds": seeds}
    given = spec.data if data is None else data
    changes["data"] = source_of(given, image_size, images, data_seed, **reading)
    return replace(spec, **changes)
