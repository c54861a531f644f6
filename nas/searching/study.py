"""The study in its database: create it, find it again, and check that it is the one asked for."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning

from nas import samplers, schedulers
from nas.errors import UserError
from nas.searching import warm_start
from nas.searching.engine import Admission
from nas.searching.ledger import Ledger
from nas.searching.storage import open_existing, open_storage
from nas.searching.warm_start import WarmStart
from search_space import cost, from_dict
from search_space.bounds import values
from studies import StudySpec
from trainers import metrics, tasks
from trainers.data import Dataset


def describe(spec: StudySpec) -> dict[str, Any]:
    """The spec as JSON returns it, with tuples as lists, and the rungs of its scheduler."""
    record: dict[str, Any] = json.loads(json.dumps({**spec.to_dict(), "rungs": schedulers.of_study(spec).rungs}))
    return record


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """Add to the record of an earlier version the fields that it lacks, with their defaults, as it was searched."""
    defaults = describe(StudySpec(name="-", question=""))
    return {**defaults, **record, "training": {**defaults["training"], **record.get("training", {})}}


def stored_study(path: Path, spec: StudySpec) -> optuna.Study | None:
    """The study that `spec` describes in the database at `path`; None if there is none. UserError if it differs."""
    if not path.exists():
        return None
    storage, names = open_existing(path)
    if not names:
        return None
    if spec.name not in names:
        raise UserError(f"{path} holds the study {names[0]!r}, not {spec.name!r}; give this one a --name of its own")
    study = optuna.load_study(study_name=spec.name, storage=storage)
    described, before = describe(spec), completed(study.user_attrs.get("spec", {}))
    if differing := sorted(key for key in {*described, *before} if described.get(key) != before.get(key)):
        key = differing[0]
        raise UserError(
            f"{path} was searched with other {', '.join(differing)} ({key} was {before.get(key)!r}, is now "
            f"{described.get(key)!r}); resume with the same, or give this search a --name of its own"
        )
    return study


def open_ledger(path: Path, spec: StudySpec, warm: WarmStart | None = None) -> Ledger:
    """Open the study in the database at `path`, or create it. UserError if it is not the one that `spec` describes."""
    study = stored_study(path, spec)
    known = len(study.get_trials(deepcopy=False)) if study else 0
    sampler = samplers.create(spec.sampler, spec.seed + known)  # a resumed search must not repeat its proposals
    ledger = Ledger(open_storage(path), spec.name, direction=spec.direction, sampler=sampler)
    origin = {warm_start.ATTRIBUTE: warm.to_dict()} if warm else {}  # before "spec", which makes the study resumable
    for name, value in {**origin, "spec": describe(spec), "question": spec.question}.items():
        ledger.study.set_user_attr(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        ledger.study.set_metric_names([spec.objective])  # the titles of the dashboard's axes
    return ledger


def check_task(spec: StudySpec, data: Dataset) -> None:
    """Raise UserError unless the data fits the study's task and the task has the study's objective."""
    task = tasks.create(spec.task, data)
    val = task.select(data.val)
    known = task.metrics_in_full(task.predict(torch.zeros(len(val), task.num_outputs)), task.targets(val))
    if metrics.base(spec.objective) not in known or spec.objective.startswith("turned_"):
        endings = " or ".join(metrics.SYMMETRIC)
        raise UserError(
            f"task {spec.task!r} has no metric {spec.objective!r}; known: {', '.join(known)}, and each with {endings}"
        )
    if (sensible := metrics.direction(spec.objective, task)) != spec.direction:
        raise UserError(f"the study would {spec.direction} {spec.objective}; expected to {sensible} it")
    if not task.classifies and values(spec.training.balance) != ("none",):
        raise UserError(f"task {spec.task!r} has no classes to balance; expected balance none")


def admission(spec: StudySpec, data: Dataset) -> Callable[[dict[str, Any]], Admission]:
    """A function that counts the parameters and multiply-accumulates of a configuration and compares the limits."""
    shape = {
        "in_chans": data.in_chans,
        "image_size": data.image_size,
        "num_outputs": tasks.create(spec.task, data).num_outputs,
    }

    def admit(config: dict[str, Any]) -> Admission:
        counted = cost(from_dict(config["architecture"]), **shape)
        return Admission(
            attributes={"parameters": counted.parameters, "macs": counted.macs},
            excess={
                "parameters": counted.parameters / spec.max_parameters - 1,
                "macs": counted.macs / spec.max_macs - 1,
            },
        )

    return admit
