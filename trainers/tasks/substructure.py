"""Classification of the dark-matter substructure in the lens: any number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


@dataclass(frozen=True)
class Task:
    classes: tuple[str, ...]

    @classmethod
    def of(cls, data: Dataset) -> Task:
        return cls(classes=data.classes)

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

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

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Macro one-vs-rest ROC AUC from probabilities, accuracy, and cross-entropy without label smoothing."""
        probabilities = self.predict(outputs)
        labels = range(self.num_outputs)
        auc = [roc_auc_score((targets == k).numpy(), probabilities[:, k].numpy()) for k in labels]
        return {
            "auc": float(sum(auc) / len(auc)),
            "accuracy": float((probabilities.argmax(-1) == targets).double().mean()),
            "loss": float(F.nll_loss(probabilities.clamp_min(torch.finfo(torch.float32).tiny).log(), targets)),
        }
