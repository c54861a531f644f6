"""`nas.evaluate`: measure an exported model on another data set. It needs no study."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import UserError, mendable
from nas.models.export import LensModel, checked, opened
from nas.models.inference import predictions
from nas.models.training_images import among
from nas.sources import source_of
from trainers import metrics
from trainers.data import Dataset, Folder, Source, Split, joined, load, source_from_dict
from trainers.data.folder.fit import in_words
from trainers.data.folder.names import canonical
from trainers.errors import TrainingError
from trainers.estimate import estimates, intervals
from trainers.evaluate import SYMMETRIES, as_floats, metrics_of_views, resampling
from trainers.regression import Regression, given
from trainers.tasks import Task

SPLITS = ("all", "train", "val", "test")


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on a data set."""

    data: str
    images: int
    trained_on: int  # images of the data that the model was trained on: left out, unless the caller asked for them
    views: int  # whose predictions are combined
    metrics: dict[str, float]  # upright; for some, also over the eight symmetries of the square
    interval: dict[str, tuple[float, float]]  # 95%, over the images; none where no resample of them differs


@mendable
def evaluate(
    model: LensModel | str | Path,
    data: Any,
    split: str = "all",
    *,
    views: int | None = None,
    group: str | None = None,
    skip_bad: bool = False,
    hdu: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    mapping: str | Mapping[str, str] | None = None,
    with_training_images: bool = False,
) -> Evaluation:
    """Measure the model, or that in a folder, on a data set that it was not trained on, or on one split of it.

    `data` is anything that `nas.search` takes, or a `trainers.data.Dataset`. A folder may hold test images alone, and
    some of the model's classes: metrics that need the others are left out. Images that the model was trained on, also
    turned or mirrored, are counted and left out, unless `with_training_images`. `group` and `skip_bad` are as in
    `nas.search`, `views`, `hdu` and `key` as in `nas.predict`. `classes` names the classes that are the numbers 0, 1,
    ... in the data (None: as in training). `mapping` says which class of the model each class of the data is, such as
    "0=no_sub,1=cdm"; several may be one. UserError if the model does not fit the data.
    """
    model = opened(model)
    views = model.views if views is None else checked(views)
    data = dataset_for(model, data, skip_bad=skip_bad, group=group, hdu=hdu, key=key, classes=classes)
    data = data if mapping is None else renamed(data, mapping, model.classes)
    check_data(model, data)
    task = model.task
    if isinstance(task, Regression):
        task = replace(task, class_mse=())  # of the training images, which are others
        task.check_logarithms(data)
    images = wanted(model, data, split)
    if not len(images):
        of, why = "", ""
        if isinstance(task, Regression):
            of, why = f" with {' and '.join(task.target)}", f"{given(data)}; "
        raise UserError(f"{data.name} has no image{of} in split {split!r}; {why}give another split or data set")
    overlap = among(images.images, model.trained_on)
    if not with_training_images:
        if overlap.all():
            raise UserError(
                f"the model was trained on all {len(images)} images of {data.name}; give it others, or measure it on "
                "these all the same (with_training_images)"
            )
        images = images.where(~overlap)
    truth = task.targets(images).cpu()
    if views == 1:
        predicted = torch.stack([predictions(model, images.images, views=1, symmetry=k) for k in SYMMETRIES])
    else:  # the same under every symmetry
        predicted = predictions(model, images.images, views=views)[None]
    (estimated,) = estimates(
        lambda some, true: as_floats(task.metrics(torch.from_numpy(some), torch.from_numpy(true))),
        [[predicted[0].numpy()]],
        truth.numpy(),
        **resampling(task, images),
    )
    found = {name: v for name, v in metrics_of_views(predicted, truth, task).items() if not math.isnan(v)}
    if views == 1:  # the model calibrates what eight views say together by another factor than each view
        found = {name: v for name, v in found.items() if not name.endswith("_d4_views")}
    interval = intervals(estimated) | rate_intervals(predicted[0], images, task)
    interval = {name: (low, high) for name, (low, high) in interval.items() if name in found and low < high}
    return Evaluation(data.name, len(images), int(overlap.sum()), views, found, interval)


def dataset_for(model: LensModel, data: Any, **options: Any) -> Dataset:
    """The data set that `data` means, with the options of `source_of`; or itself, which takes none of them."""
    if isinstance(data, Dataset):
        for name, value in options.items():
            if value is not None and value is not False:
                raise UserError(f"{name} is {value!r}, but the data is a Dataset, which is read already; omit it")
        return data
    return load(source_for(model, data, **options), progress=False, partial=True)


def wanted(model: LensModel, data: Dataset, split: str) -> Split:
    """The images of one split, or of all, that the model's task has targets for, labelled by the model's classes."""
    if split not in SPLITS:
        raise UserError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    parts = [getattr(data, name) for name in (SPLITS[1:] if split == "all" else (split,))]
    return model.task.select(_with_classes_of(model, data, reduce(joined, parts)))


def rate_intervals(predicted: Tensor, images: Split, task: Task) -> dict[str, tuple[float, float]]:
    """95% intervals of the true positive rates (`metrics.TPR`), by the bootstrap over the images; none for numbers.

    They are too narrow if fewer than 1 / rate images lack the class: then not one false positive is allowed.
    """
    if not task.classifies:
        return {}
    truth = task.targets(images).cpu()
    if len(truth.unique()) < len(task.classes):
        return {}
    positive = getattr(task, "positive", None)
    (drawn,) = metrics.bootstrap(
        lambda some, true: metrics.true_positive_rates(some, true, task.classes, positive),
        [predicted.numpy()], truth.numpy(), **resampling(task, images),
    )  # fmt: skip
    return {name: metrics.interval(values) for name, values in drawn.items()}


def source_for(
    model: LensModel,
    data: Any,
    images: int | None = None,
    data_seed: int | None = None,
    **options: Any,
) -> Source:
    """The source that `data` means, read as the model's own images were; the options are as in `source_of`."""
    source = source_of(data, model.image_size, images, data_seed, **options)
    if isinstance(source, Folder):
        own = model.reading
        names = {name: getattr(source, name) or getattr(own, name) for name in ("hdu", "key", "classes")}
        return replace(source, **names, clip=own.clip, fit=own.fit)
    if model.reading.clip:
        low, high = model.reading.clip
        raise UserError(
            f"the model's images are clipped at the percentiles {low:g} and {high:g}; give a folder of images"
        )
    if model.reading.fit:
        raise UserError(f"the model's images are {in_words(model.reading.fit)} pixels; give a folder of images")
    return source


def own_source(model: LensModel) -> Source | None:
    """Where the images that the model was trained on come from, if they are simulated or in a folder that exists.

    A model for the Hub knows only the folder's name, and any folder may have it.
    """
    record = model.config.get("data", {}).get("source", {})
    if record.get("kind") not in ("folder", "simulated") or not os.path.isabs(record.get("path", "/")):
        return None
    try:
        source = source_from_dict(record)
    except (TrainingError, TypeError, KeyError):  # of an earlier version
        return None
    return None if isinstance(source, Folder) and not Path(source.path).exists() else source


def renamed(data: Dataset, mapping: str | Mapping[str, str], classes: Sequence[str]) -> Dataset:
    """The data with its classes called as `mapping` says. UserError unless it names classes of both sides."""
    if isinstance(mapping, str):
        parts = [pair.partition("=") for pair in mapping.split(",")]
        pairs = [(name.strip(), to.strip()) for name, _, to in parts]
    elif isinstance(mapping, Mapping) and all(isinstance(name, str) for pair in mapping.items() for name in pair):
        pairs = list(mapping.items())
    else:
        raise UserError(f"mapping is {mapping!r}; expected names of classes, such as {{'0': 'no_sub', '1': 'cdm'}}")
    names: dict[str, str] = {}
    for name, to in pairs:
        ours = [known for known in (name, canonical(name)) if known in data.classes]
        theirs = [known for known in (to, canonical(to)) if known in classes]
        if not ours or not theirs:
            raise UserError(
                f"mapping has {name}={to}; expected a class of {data.name} ({', '.join(data.classes) or 'none'}), and "
                f"one of the model ({', '.join(classes) or 'none'}), such as 0=no_sub,1=cdm"
            )
        if names.setdefault(ours[0], theirs[0]) != theirs[0]:
            raise UserError(f"mapping says that {ours[0]} is {names[ours[0]]} and {theirs[0]}; give it once")
    return replace(data, classes=tuple(names.get(name, name) for name in data.classes))


def check_data(model: LensModel, data: Dataset) -> None:
    """Raise UserError unless the data set has classes of the model's, its channels and its size."""
    check_kind(model, data.name, data.classes, data.in_chans)
    if data.image_size != model.image_size:
        size = f"{data.name} has images of {data.image_size} pixels, but the model was trained on {model.image_size}"
        raise UserError(f"{size}; load them with image_size={model.image_size}, or give the folder itself")
    if wrong := model.other_channels(data.channels):
        raise UserError(f"{data.name} {wrong}")


def check_kind(model: LensModel, name: str, classes: Sequence[str], in_chans: int) -> None:
    """Raise UserError unless the data called `name` have classes of the model's and as many channels."""
    if model.classes and not set(classes) <= set(model.classes):
        raise UserError(
            f"{name} has the classes {', '.join(classes) or 'none'}; the model distinguishes {', '.join(model.classes)}"
        )
    if in_chans != model.in_chans:
        raise UserError(f"{name} has {in_chans} channels, but the model was trained on {model.in_chans}")


def _with_classes_of(model: LensModel, data: Dataset, split: Split) -> Split:
    """The split with its labels as indices into the model's classes, which the data set may have in another order."""
    if not model.classes or data.classes == model.classes:
        return split
    index = torch.tensor([model.classes.index(name) for name in data.classes])
    return replace(split, labels=index[split.labels])
