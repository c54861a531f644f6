"""Measuring one number from an image, with or without its uncertainty: what such tasks share.

The mean and standard deviation of the training images standardise the network's target, because a raw axion mass of
1e-23 has no gradient. Images without the target are discarded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import metrics
from trainers.errors import TrainingError

if TYPE_CHECKING:
    from trainers.data import Dataset, Split

BETA = 0.5
LOG_VARIANCE = 10.0  # the largest of standardised targets, in either direction


@dataclass(frozen=True)
class Regression:
    """A task that measures one number. A subclass names its `target`, `quantity` and `unit`."""

    mean: float  # of the training targets, in their own unit
    sd: float
    sigma_scale: float = 1.0  # the factor on predicted standard deviations
    class_mse: float | None = None  # mean squared error of the classes' mean targets; None: fewer than two classes

    target: ClassVar[str]  # its name in `Split.targets`
    quantity: ClassVar[str]
    unit: ClassVar[str]
    with_sigma: ClassVar[bool] = False
    classifies: ClassVar[bool] = False
    classes: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[str] = "mae"

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task on this data set. TrainingError if a split knows the target for fewer than 2 images."""
        for name in ("train", "val", "test"):
            known = int(torch.isfinite(_values(getattr(data, name), cls.target)).sum())
            if known < 2:
                raise TrainingError(
                    f"{data.name} gives {cls.target} for {known} images to {name}; expected 2 or more: this task needs "
                    "data that give it with the image, such as simulated lenses"
                )
        values = _values(data.train, cls.target)
        finite = torch.isfinite(values)
        values, labels = values[finite], data.train.labels[finite]
        return cls(float(values.mean()), float(values.std()) or 1.0, class_mse=_class_mse(values, labels))

    @property
    def num_outputs(self) -> int:
        return 2 if self.with_sigma else 1

    def select(self, split: Split) -> Split:
        return split.where(torch.isfinite(_values(split, self.target)))

    def targets(self, split: Split) -> Tensor:
        return _values(split, self.target)

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """Huber loss of the standardised error; with standard deviations, beta-NLL (arXiv 2203.09168, equation 5)."""
        outputs, y = outputs.float(), ((targets - self.mean) / self.sd).float()
        if self.with_sigma:
            log_variance = outputs[:, 1].clamp(-LOG_VARIANCE, LOG_VARIANCE)
            each = 0.5 * (log_variance + (outputs[:, 0] - y) ** 2 * torch.exp(-log_variance))
            each = each * torch.exp(BETA * log_variance).detach()
        else:
            each = F.huber_loss(outputs[:, 0], y, reduction="none")
        return (each if weights is None else weights * each).mean()

    def predict(self, outputs: Tensor) -> Tensor:
        """Values (B, 1) in the target's unit, or (B, 2) with their standard deviations."""
        outputs = outputs.double()
        value = self.mean + self.sd * outputs[:, :1]
        if not self.with_sigma:
            return value
        sigma = self.sigma_scale * self.sd * torch.exp(0.5 * outputs[:, 1:].clamp(-LOG_VARIANCE, LOG_VARIANCE))
        return torch.cat([value, sigma], 1)

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """The mean and standard deviation of the mixture (Lakshminarayanan et al. 2017, section 2.4), (..., 1 or 2)."""
        stacked = torch.stack(list(predictions))
        value = stacked[..., :1].mean(0)
        if not self.with_sigma:
            return value
        variance = (stacked[..., 1:] ** 2 + (stacked[..., :1] - value) ** 2).mean(0)
        return torch.cat([value, variance.sqrt()], -1)

    def calibrated(self, predicted: Tensor, targets: Tensor) -> Self:
        """The task with standard deviations scaled so that these held-out errors have unit z (arXiv 2006.13092)."""
        z = (predicted[:, 0] - targets) / predicted[:, 1]
        return replace(self, sigma_scale=self.sigma_scale * float((z**2).mean().sqrt()))

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        return metrics.regression(np.asarray(predicted), np.asarray(targets))

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """`metrics`, and where classes differ in the number, what a network adds to knowing the class.

        r2_class_means is the R2 of answering with the mean of the image's class, on the training images; r2_within is
        the fraction that the network explains of what those means leave.
        """
        found = self.metrics(predicted, targets)
        if self.class_mse:
            found["r2_class_means"] = 1 - self.class_mse / self.sd**2
            found["r2_within"] = 1 - found["rmse"] ** 2 / self.class_mse
        return found


def _class_mse(values: Tensor, labels: Tensor) -> float | None:
    groups = [values[labels == label] for label in labels.unique()]
    if len(groups) < 2:
        return None
    return float(sum(((group - group.mean()) ** 2).sum() for group in groups) / len(values))


def _values(split: Split, target: str) -> Tensor:
    return split.targets[target] if target in split.targets else torch.full((len(split),), float("nan"))
