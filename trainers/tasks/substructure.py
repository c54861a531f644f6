"""Classification of the dark-matter substructure in the lens, into any number of classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import metrics
from trainers.errors import TrainingError

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


@dataclass(frozen=True)
class Task:
    """Predicts class probabilities."""

    classes: tuple[str, ...]

    classifies: ClassVar[bool] = True
    objective: ClassVar[str] = "auc"
    with_sigma: ClassVar[bool] = False

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task on this data set. TrainingError if it has fewer than two classes."""
        if len(data.classes) < 2:
            raise TrainingError(
                f"{data.name} has no classes; expected a folder for each, or a task that measures numbers"
            )
        return cls(classes=data.classes)

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

    @property
    def positive(self) -> str | None:
        """The class that is searched for, if there is one."""
        return None

    def select(self, split: Split) -> Split:
        return split

    def targets(self, split: Split) -> Tensor:
        return split.labels

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        if weights is None:
            return F.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing)
        each = F.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing, reduction="none")
        return (weights * each).mean()

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, classes)."""
        return outputs.double().softmax(-1)

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """The mean probability."""
        return torch.stack(list(predictions)).mean(0)

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        return metrics.classification(np.asarray(predicted), np.asarray(targets))

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        return metrics.classification_in_full(
            np.asarray(predicted), np.asarray(targets), self.classes, positive=self.positive
        )
