"""What a network's outputs mean. A task is a module here: `trainers/tasks/<name>.py` with a class `Task`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


class Task(Protocol):
    """What `fit`, `evaluate` and the study need to know of a task."""

    classes: tuple[str, ...]
    num_outputs: int

    def targets(self, split: Split) -> Tensor:
        """What is to be predicted of each image of a split, (N,)."""

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """Mean training loss of outputs (B, num_outputs), each image's times its weight (B,) where these are given."""

    def predict(self, outputs: Tensor) -> Tensor:
        """What a user reads: probabilities (B, classes), or values in physical units (B,)."""

    def metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric of a whole split, by name."""


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str, data: Dataset) -> Task:
    """The task called `name` on this data set; ValueError where there is no such task or the data cannot serve it."""
    if name not in known():
        raise ValueError(f"unknown task {name!r}; known: {', '.join(known())}")
    return importlib.import_module(f"trainers.tasks.{name}").Task.of(data)
