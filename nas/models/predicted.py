"""What a model says of images, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers import tasks

if TYPE_CHECKING:
    from nas.models.export import LensModel


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of N images."""

    classes: tuple[str, ...]
    probabilities: Tensor  # (N, len(classes)) float64
    views: int | None = None  # of each image, whose predictions are combined; None: not known

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(-1)]


@dataclass(frozen=True)
class Measurement:
    """The values of one quantity in N images, or of several."""

    quantity: str  # with its unit; several with commas
    values: Tensor  # (N,) float64, or (N, targets)
    sigma: Tensor | None  # like `values`: standard deviations, if the network gives them
    targets: tuple[str, ...] = ()  # the names of the quantities in the training data


def joined(batches: Sequence[Any]) -> Any:
    """The predictions, or measurements, of several batches as one."""
    first = batches[0]
    if isinstance(first, Prediction):
        return replace(first, probabilities=torch.cat([batch.probabilities for batch in batches]))
    sigma = None if first.sigma is None else torch.cat([batch.sigma for batch in batches])
    return replace(first, values=torch.cat([batch.values for batch in batches]), sigma=sigma)


def rows(predicted: Prediction | Measurement) -> list[dict[str, Any]]:
    """One JSON object for each image."""
    if isinstance(predicted, Prediction):
        return [
            {"class": label, "probabilities": dict(zip(predicted.classes, probabilities, strict=True))}
            for label, probabilities in zip(predicted.labels, predicted.probabilities.tolist(), strict=True)
        ]
    columns = {"value": predicted.values} | ({} if predicted.sigma is None else {"sigma": predicted.sigma})

    def by_target(numbers: Any) -> Any:
        return dict(zip(predicted.targets, numbers, strict=True)) if isinstance(numbers, list) else numbers

    each = zip(*(tensor.tolist() for tensor in columns.values()), strict=True)
    return [dict(zip(columns, map(by_target, numbers), strict=True)) for numbers in each]


def named(model: LensModel, predicted: Tensor, views: int) -> Prediction | Measurement:
    """Probabilities or values (N, ...) as a `Prediction` or a `Measurement`, by the model's task."""
    if model.task.classifies:
        return Prediction(model.classes, predicted, views)
    values, sigma = predicted.tensor_split(2, 1) if model.task.with_sigma else (predicted, None)
    if values.shape[1] == 1:
        values, sigma = values[:, 0], None if sigma is None else sigma[:, 0]
    return Measurement(tasks.quantity(model.task), values, sigma, getattr(model.task, "target", ()))
