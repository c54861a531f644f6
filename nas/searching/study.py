"""The study in its database: create it, find it again, and check that it is the one asked for."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning

from nas import samplers, schedulers
from nas.errors import UserError
from nas.files import whole_file
from nas.own_code import own_code
from nas.reading import IMAGES, WARM_START
from nas.samplers.surrogate import Sampler
from nas.searching.jobs import Admission
from nas.searching.ledger import Ledger
from nas.searching.reading import ReadingStorage
from nas.searching.server import Guard, is_remote
from nas.searching.storage import holds_studies, open_reading, open_storage, place
from nas.searching.warm_start import WarmStart
from nas.searching.writing import StudyStorage
from search_space import BackboneSpace, cost, from_dict
from search_space.bounds import values
from search_space.space import layout
from studies import StudySpec
from trainers import metrics, tasks
from trainers.data import Dataset, Split, source_from_dict, source_to_dict
from trainers.evaluate import as_floats

SAMPLED = 32  # images of each split that enter the digest


def describe(spec: StudySpec) -> dict[str, Any]:
    """The spec as JSON returns it, with tuples as lists, and the rungs of its scheduler."""
    record: dict[str, Any] = json.loads(json.dumps({**spec.to_dict(), "rungs": schedulers.of_study(spec).rungs}))
    return record


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """Add to the record of an earlier version the fields that it lacks, with their defaults, as it was searched."""
    defaults = describe(StudySpec(name="-", question=""))
    data = source_to_dict(source_from_dict(record["data"])) if "data" in record else defaults["data"]
    training = {**defaults["training"], **record.get("training", {})}
    space = record.get("space", defaults["space"])
    if "stages" in space:
        space = {**defaults["space"], **space}
    elif "checkpoints" in space:
        space = {**json.loads(json.dumps(asdict(BackboneSpace()))), **space}
    return {**defaults, **record, "space": space, "training": training, "data": json.loads(json.dumps(data))}


def stored_study(path: Path, spec: StudySpec) -> optuna.Study | None:
    """The study that `spec` describes in the database at `path`; None if there is none. UserError if it differs."""
    if not holds_studies(path):
        return None
    storage, names = open_reading(path)
    if is_remote(path):
        names = [name for name in names if name == spec.name and _described(storage, name)]
    if not names:
        return None
    if spec.name not in names:
        raise UserError(f"{path} holds the study {names[0]!r}, not {spec.name!r}; give this one a --name of its own")
    study = optuna.load_study(study_name=spec.name, storage=storage)
    described, before = describe(spec), completed(study.user_attrs.get("spec", {}))
    if differing := sorted(key for key in {*described, *before} if described.get(key) != before.get(key)):
        key = differing[0]
        raise UserError(
            f"{place(path)} was searched with other {', '.join(differing)} ({key} was {before.get(key)!r}, is now "
            f"{described.get(key)!r}); resume with the same, or {_elsewhere(path)}"
        )
    return study


def _elsewhere(path: Path) -> str:
    """How a search gets a study of its own. On a server, a study has the name of its spec."""
    if is_remote(path):
        return "give this search a database of its own (--storage), or copy the study to a file with another name"
    return "give this search a --name of its own"


def _described(storage: ReadingStorage, name: str) -> bool:
    """Whether a study on a server is more than its name: a search may have been killed just after making that."""
    number = storage.get_study_id_from_name(name)
    return "spec" in storage.get_study_user_attrs(number) or storage.get_n_trials(number) > 0


def open_ledger(
    path: Path, spec: StudySpec, warm: WarmStart | None = None, guard: Guard = lambda writer: None
) -> Ledger:
    """Open the study in the database at `path`, or create it. UserError if it is not the one that `spec` describes.

    guard: of `only_driver`.
    """
    if not path.exists():  # made beside its place: half a database could be neither resumed nor begun anew
        with whole_file(path) as scratch:
            begun = open_storage(scratch)
            _ledger(begun, spec, warm)
            begun.remove_session()
            begun.engine.dispose()
    stored_study(path, spec)  # to refuse another
    storage = open_storage(path)
    guard(storage.engine)
    return _ledger(storage, spec, warm)


def _ledger(storage: StudyStorage, spec: StudySpec, warm: WarmStart | None) -> Ledger:
    begun = spec.name in storage.study_names()
    known = storage.get_n_trials(storage.get_study_id_from_name(spec.name)) if begun else 0
    sampler = samplers.create(spec.sampler, spec.seed + known)  # a resumed search must not repeat its proposals
    if isinstance(sampler, Sampler):
        sampler.layout = layout
    ledger = Ledger(storage, spec.name, direction=spec.direction, sampler=sampler, cost=spec.cost)
    origin = {WARM_START: warm.to_dict()} if warm else {}
    more = {"question": spec.question, "baselines": spec.baselines}
    for name, value in {**origin, "spec": describe(spec), **more}.items():
        ledger.study.set_user_attr(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        ledger.study.set_metric_names(spec.objective.split(","))  # the titles of the dashboard's axes
    return ledger


def describe_images(data: Dataset, task: tasks.Task) -> dict[str, Any]:
    """Classes, the number of images that the task uses, and a hash of labels, the task's numbers and some images.

    They change when other images take the same place, or the numbers to be measured are corrected. "validated" counts
    the objects of each class among the validation images, which say how certain a value is.
    """
    digest = hashlib.sha256()
    for split in (data.train, data.val, data.test):
        digest.update(split.labels.numpy().tobytes())
        if not task.classifies:
            digest.update(task.targets(task.select(split)).cpu().numpy().tobytes())
        digest.update(split.images[:: max(len(split) // SAMPLED, 1)].numpy().tobytes())
    counts = [len(task.select(split)) for split in (data.train, data.val, data.test)]
    found = {"classes": list(data.classes), "counts": counts, "digest": digest.hexdigest()[:20]}
    return found | ({"validated": objects_of(task.select(data.val), len(data.classes))} if task.classifies else {})


def objects_of(split: Split, classes: int) -> list[int]:
    """The number of different objects of each class."""
    shown = torch.arange(len(split)) if split.objects is None else split.objects.cpu()
    return [len(shown[split.labels.cpu() == k].unique()) for k in range(classes)]


def check_same_images(study: optuna.Study, data: Dataset, task: tasks.Task) -> None:
    """UserError if the study was begun with other images or numbers: its values and new ones cannot be compared."""
    if changed := other_images(study.user_attrs.get(IMAGES), data, task):
        raise UserError(
            f"the images or their numbers have changed since the study {study.study_name!r} was begun: {changed}; give "
            "this search a --name of its own"
        )


def code_of(spec: StudySpec) -> dict[str, str]:
    """The `own_code` of a study."""
    first = [name for name in values(getattr(spec.space, "first", ())) if name != "same"]
    return own_code([*getattr(spec.space, "mixers", ()), *first], spec.task)


def other_images(before: Mapping[str, Any] | None, data: Dataset, task: tasks.Task) -> str:
    """How `data` differs from the images that a study recorded; empty if it does not, or nothing was recorded."""
    now = describe_images(data, task)
    if before is None or all(before[name] == now[name] for name in ("classes", "digest")):  # counts follow from these
        return ""
    return f"there were {_in_words(before)}, now there are {_in_words(now)}"


def _in_words(images: Mapping[str, Any]) -> str:
    counts = "/".join(map(str, images["counts"]))
    return f"{counts} images of {', '.join(images['classes'])} (digest {images['digest'][:8]})"


def task_of(spec: StudySpec, data: Dataset) -> tasks.Task:
    """The study's task on the data. UserError unless the data fits it and it has the study's objective."""
    task = task_with(spec.metric, spec.task, data)
    for name, split in (("train", data.train), ("val", data.val), ("test", data.test)) if task.classifies else ():
        for number in set(range(len(data.classes))) - set(split.labels.unique().tolist()):
            raise UserError(
                f"{data.name} has too few images of the class {data.classes[number]!r} to train, validate and test "
                f"(none for {name}); leave that class out, or measure numbers (--target)"
            )
    if (sensible := metrics.direction(spec.metric, task)) != spec.direction:
        raise UserError(f"the study would {spec.direction} {spec.metric}; expected to {sensible} it")
    if not task.classifies and values(spec.training.balance) != ("none",):
        raise UserError(f"task {str(spec.task)!r} has no classes to balance; expected balance none")
    return task


def task_with(objective: str, name: tasks.Named, data: Dataset) -> tasks.Task:
    """The task of this name on the data. UserError unless the data fits it and it has the objective there."""
    task = tasks.create(name, data)
    val = task.select(data.val)
    targets = task.targets(val)
    if targets.ndim != (1 if task.classifies else 2):
        expected = "one class for each image, (images,)" if task.classifies else "numbers (images, targets)"
        raise UserError(f"task {str(name)!r} has targets of shape {tuple(targets.shape)}; expected {expected}")
    known = metrics_on(val, task)
    if metrics.base(objective) not in known or objective.startswith("turned_"):
        endings = " or ".join(metrics.SYMMETRIC)
        raise UserError(
            f"task {str(name)!r} has no metric {objective!r}; known: {', '.join(known)}, and each with {endings}"
        )
    return task


def metrics_on(split: Split, task: tasks.Task) -> list[str]:
    """The names of all metrics that the task has on a selected split."""
    predicted, truth = task.predict(torch.zeros(len(split), task.num_outputs)), task.targets(split)
    return list(as_floats({**task.metrics(predicted, truth), **task.metrics_in_full(predicted, truth)}))


def admission(spec: StudySpec, data: Dataset) -> Callable[[dict[str, Any]], Admission]:
    """A function that counts the parameters and multiply-accumulates of a configuration, and compares them with the
    limits.
    """
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
