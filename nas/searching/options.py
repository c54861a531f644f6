"""Options of a call, named as on the command line, that replace a study's own values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.checks import check_number
from nas.errors import UserError
from nas.searching.settings import apply, split_off_options
from nas.sources import source_of
from search_space import Backbone, BackboneSpace, build_model
from search_space.bounds import values
from studies import StudySpec
from studies.spec import objectives
from trainers import metrics, tasks
from trainers.regression import Regression

LOWEST = {
    "trials": 1, "epochs": 1, "min_epochs": 1, "seeds": 1, "seed": 0, "images": 1, "image_size": 1, "data_seed": 0,
    "max_parameters": 1, "max_macs": 1, "max_seconds": 0.001,
}  # fmt: skip
WORDS = ("task", "objective", "balance", "sampler", "scheduler")


def adapt(
    spec: StudySpec,
    *,
    trials: int | None = None,
    task: tasks.Named | None = None,
    target: str | Sequence[str] | None = None,
    unit: str | None = None,
    log: bool = False,
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
    max_seconds: float | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    finals: float | None = None,
    folds: int | None = None,
    checkpoint: Mapping[str, str] | str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    **reading: Any,
) -> StudySpec:
    """Replace values of `spec` by the options that are not None. UserError if an option is invalid or has no effect.

    `reading` are the `options` of `source_of`.
    """
    options = {
        "trials": trials, "epochs": epochs, "task": task, "objective": objective, "sampler": sampler,
        "scheduler": scheduler, "seed": seed, "seeds": seeds, "finals": finals, "folds": folds,
        "max_parameters": max_parameters, "max_macs": max_macs, "max_seconds": max_seconds,
    }  # fmt: skip
    changes: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    named, settings = split_off_options(settings or {})
    for name in named.keys() & changes.keys():
        raise UserError(
            f"{name} is set to {named[name]!r}, and the option says {changes[name]!r}; leave out one of the two"
        )
    changes |= named
    others = {"images": images, "image_size": image_size, "data_seed": data_seed, "balance": balance}
    _check({**changes, **{name: value for name, value in others.items() if value is not None}})
    spec = apply(spec, settings)
    if checkpoint:
        if "space.names" in settings:
            raise UserError("checkpoint names the networks, and so does space.names; leave out one of the two")
        spec = starting_from(spec, checkpoint)
    if target is not None or unit is not None or log:
        measures = isinstance(tasks.of_name(spec.task), Regression)
        changes["task"] = measuring(changes.get("task", spec.task if measures else "regression"), target, unit, log)
    changes |= _judged_by(spec, changes, settings)
    if balance is not None:
        if "training.balance" in settings:
            raise UserError("balance is set twice, as an option and as training.balance; leave out one of the two")
        changes["training"] = replace(spec.training, balance=(balance,))
        changes["first"] = tuple({k: v for k, v in given.items() if k != "balance"} for given in spec.first)
    if "epochs" in changes:
        above = int(max(values(spec.training.warmup_epochs))) + 1
        scaled = max(round(changes["epochs"] * spec.min_epochs / spec.epochs), above)
        changes = {"min_epochs": min(scaled, changes["epochs"]), **changes}
    if "seeds" in changes:
        if spec.seeds == 1:
            raise UserError(f"seeds is for grids that train every cell several times; {spec.name} has one seed")
        changes = {"trials": spec.trials // spec.seeds * changes["seeds"], **changes}
    source = source_of(spec.data if data is None else data, image_size, images, data_seed, **reading)
    adapted = replace(spec, **changes, data=source)
    for name in ("finals", "folds"):
        if changes.get(name) and adapted.sampler == "grid":
            raise UserError(f"{name} is {changes[name]}, but {spec.name} is a grid, which has no finals; leave it out")
    if not tasks.of_name(adapted.task).classifies:
        for name in {"training.label_smoothing", "training.zoom"} & settings.keys():
            if any(values(settings[name])):
                raise UserError(f"{name} has no effect: numbers are measured, not classes; leave it out")
    if changes.get("folds") and not adapted.finals:
        raise UserError(
            f"folds is {adapted.folds}, but only the finals use folds, and finals is 0; leave out one of the two"
        )
    return adapted


def _check(options: Mapping[str, Any]) -> None:
    """UserError for a number that is too low or none, and for a name that is no text."""
    for name, value in options.items():
        if name in LOWEST:
            check_number(name, value, LOWEST[name], whole=name != "max_seconds")
        if name in WORDS and not isinstance(value, str | Regression if name == "task" else str):
            raise UserError(f"{name} is {value!r}; expected text")


def _judged_by(spec: StudySpec, changes: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, str]:
    """The objective, direction and question that go with another task or objective."""
    task, objective = changes.get("task", spec.task), changes.get("objective")
    if task == spec.task and objective is None:
        return {}
    of_task = tasks.of_name(task)
    if objective is None:
        objective = ",".join(filter(None, (of_task.objective, spec.cost)))
    found = {"objective": objective}
    if "direction" not in settings:
        found["direction"] = metrics.direction(objectives(objective)[0], of_task)
    if task != spec.task:
        found["question"] = f"{spec.question} (task {task})"
    return found


def starting_from(spec: StudySpec, checkpoint: Mapping[str, str] | str | Sequence[str]) -> StudySpec:
    """The study of the named networks alone, with their weights from files: {"resnet18": FILE} or "resnet18=FILE"."""
    if not isinstance(spec.space, BackboneSpace):
        raise UserError(
            f"checkpoint is for studies of existing networks, such as `pretrained`; {spec.name} designs its own"
        )
    if not isinstance(checkpoint, Mapping):
        pairs = [text.partition("=") for text in ([checkpoint] if isinstance(checkpoint, str) else checkpoint)]
        if bad := ["".join(pair) for pair in pairs if not all(pair)]:
            raise UserError(f"checkpoint {bad[0]!r}: expected NAME=FILE, such as resnet18=resnet18.safetensors")
        checkpoint = {name: path for name, _, path in pairs}
    files = {name: str(Path(path).absolute()) for name, path in checkpoint.items()}
    for name, path in files.items():
        if not Path(path).is_file():
            raise UserError(
                f"checkpoint {path!r} of {name!r} is not a file: give the path of a .safetensors or .pth file"
            )
        # Refuses what does not fit.
        build_model(Backbone(name, checkpoint=path), in_chans=3, image_size=64, num_outputs=2)
    space = replace(spec.space, names=tuple(files), checkpoints=files)
    trials = spec.trials * len(files) // len(spec.space.names)  # the same for each network
    return replace(spec, space=space, trials=max(trials, 1), first=())


def fetch(spec: StudySpec) -> None:
    """Download the published weights that the study starts from, once, here, instead of in each worker.

    ArchitectureError where they cannot be had.
    """
    if isinstance(spec.space, BackboneSpace) and True in values(spec.space.pretrained):
        for name in spec.space.names:
            if name not in spec.space.checkpoints:
                build_model(Backbone(name, pretrained=True), in_chans=3, image_size=64, num_outputs=2)


def measuring(task: tasks.Named, target: str | Sequence[str] | None, unit: str | None, log: bool) -> Regression:
    """The task with what it measures. UserError if it is no regression, or measures something by its name."""
    asked = tasks.of_name(task)
    if not isinstance(asked, Regression) or (isinstance(task, str) and asked.target):
        raise UserError(
            f"target, unit and log say what the task regression or regression_sigma measures; task {str(task)!r} is "
            "another: ask for one of these two (task)"
        )
    names: Any = asked.target if target is None else target
    if isinstance(names, Iterable) and not isinstance(names, str):
        names = tuple(names)
    if not names:
        raise UserError("unit and log belong to a target: name the numbers to measure (target)")
    return replace(asked, target=names, unit=asked.unit if unit is None else unit, log=asked.log or log)
