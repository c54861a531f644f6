"""The study in its database: made, found again, and held against what is asked of it."""

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
    """The spec as it comes back from JSON, tuples as lists, with the rungs of its scheduler."""
    record: dict[str, Any] = json.loads(json.dumps({**spec.to_dict(), "rungs": schedulers.of_study(spec).rungs}))
    return record


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """The record of an earlier version, with the fields that have come since: it was searched with their defaults."""
    defaults = describe(StudySpec(name="-", question=""))
    return {**defaults, **record, "training": {**defaults["training"], **record.get("training", {})}}


def stored_study(path: Path, spec: StudySpec) -> optuna.Study | None:
    """The very study that `spec` describes in the database at `path`, None for none yet; UserError for another."""
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
    """The study in the database at `path`: a new one, or the very one that `spec` describes, else UserError."""
    study = stored_study(path, spec)
    seen = len(study.get_trials(deepcopy=False)) if study else 0
    sampler = samplers.load(spec.sampler, spec.seed + seen)  # + seen: never the same start twice
    ledger = Ledger(open_storage(path), spec.name, direction=spec.direction, sampler=sampler)
    begun = {warm_start.ATTRIBUTE: warm.to_dict()} if warm else {}  # written before what makes the study resumable
    for name, value in {**begun, "spec": describe(spec), "question": spec.question}.items():
        ledger.study.set_user_attr(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        ledger.study.set_metric_names([spec.objective])  # what the dashboard writes on its axes
    return ledger


def check_task(spec: StudySpec, data: Dataset) -> None:
    """UserError unless the data has what the study's task needs, and the task the metric that the study is after."""
    task = tasks.load(spec.task, data)
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
    """Counts parameters and multiply-accumulates of a configuration and holds them against the study's limits."""
    shape = {
        "in_chans": data.in_chans,
        "image_size": data.image_size,
        "num_outputs": tasks.load(spec.task, data).num_outputs,
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
