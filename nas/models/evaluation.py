"""`nas.evaluate`: measure an exported network on another data set. It needs no study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas.errors import UserError, mendable
from nas.models.export import LensModel
from nas.sources import source_of
from trainers import metrics
from trainers.data import Dataset, Split, joined, load
from trainers.evaluate import SYMMETRIES, metrics_of_views, predictions

SPLITS = ("all", "train", "val", "test")


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a model on a data set."""

    data: str
    images: int
    metrics: dict[str, float]  # upright; for some, also the mean and the worst over the eight symmetries
    interval: dict[str, tuple[float, float]]  # 95%, from a bootstrap over the images


@mendable
def evaluate(model: LensModel, data: Any, split: str = "all") -> Evaluation:
    """Measure the model on a data set that it was not trained on, or on one split of it.

    `data` is anything that `nas.search` takes, or a `trainers.data.Dataset`. UserError if the model does not fit it.
    """
    if not isinstance(data, Dataset):
        data = load(source_of(data, model.image_size, skip_bad=False, images=None), progress=False)
    check_data(model, data)
    task = model.task
    if split not in SPLITS:
        raise UserError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    parts = [getattr(data, name) for name in (SPLITS[1:] if split == "all" else (split,))]
    images = task.select(_with_classes_of(model, data, _joined(parts)))
    if not len(images):
        raise UserError(f"{data.name} has no image with a target in split {split!r}; give another split or data set")
    truth = task.targets(images).cpu()
    device = next(model.parameters()).device
    views = torch.stack(
        [
            predictions(model, images, task, normalisation=model.normalisation, device=device, symmetry=k)
            for k in SYMMETRIES
        ]
    )
    (drawn,) = metrics.bootstrap(
        lambda predicted, true: task.metrics(torch.from_numpy(predicted), torch.from_numpy(true)),
        [views[0].numpy()],
        truth.numpy(),
        strata=truth.numpy() if task.classifies else None,
    )
    interval = {name: metrics.interval(values) for name, values in drawn.items()}
    return Evaluation(data.name, len(images), metrics_of_views(views, truth, task), interval)


def check_data(model: LensModel, data: Dataset) -> None:
    """Raise UserError unless the data set has the model's classes and channels."""
    if model.classes and set(data.classes) != set(model.classes):
        raise UserError(
            f"{data.name} has the classes {', '.join(data.classes) or 'none'}; the model distinguishes "
            f"{', '.join(model.classes)}"
        )
    if data.in_chans != model.in_chans:
        raise UserError(f"{data.name} has {data.in_chans} channels, but the model was trained on {model.in_chans}")


def _with_classes_of(model: LensModel, data: Dataset, split: Split) -> Split:
    """The split with its labels as indices into the model's classes, which the data set may have in another order."""
    if not model.classes or data.classes == model.classes:
        return split
    index = torch.tensor([model.classes.index(name) for name in data.classes])
    return replace(split, labels=index[split.labels])


def _joined(splits: Sequence[Split]) -> Split:
    whole, *more = splits
    for split in more:
        whole = joined(whole, split)
    return whole
