"""What a network's outputs mean. A task is a module here: `trainers/tasks/<name>.py` with a class `Task`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from trainers.regression import Regression

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


class Task(Protocol):
    """What `fit`, `evaluate` and the study need to know of a task. A frozen dataclass, so that a model can carry it."""

    @property
    def classifies(self) -> bool: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """None where numbers are measured."""

    @property
    def num_outputs(self) -> int: ...

    @property
    def objective(self) -> str:
        """The metric that a study is after unless it says otherwise."""

    @property
    def with_sigma(self) -> bool:
        """Whether `predict` gives standard deviations, which `calibrated` scales."""

    def select(self, split: Split) -> Split:
        """The images that the task has targets for."""

    def targets(self, split: Split) -> Tensor:
        """What is to be predicted of each image of a selected split, (N,)."""

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """Mean training loss of outputs (B, num_outputs), each image's times its weight (B,) where these are given."""

    def predict(self, outputs: Tensor) -> Tensor:
        """What a user reads: probabilities (B, classes), or values in the target's unit (B, 1), with sigma (B, 2)."""

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """One prediction from those of several networks."""

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of every epoch, by name, of all predictions of a split."""

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """Every metric there is."""


def known() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def of_name(name: str) -> Any:
    """The class of the task called `name`, whose class attributes hold for any data."""
    if name not in known():
        raise ValueError(f"unknown task {name!r}; known: {', '.join(known())}")
    return importlib.import_module(f"trainers.tasks.{name}").Task


def load(name: str, data: Dataset) -> Task:
    """The task called `name` on this data set; ValueError where there is no such task or the data cannot serve it."""
    task: Task = of_name(name).of(data)
    return task


def quantity(task: Task) -> str:
    """What is measured, with its unit; empty where classes are told."""
    if not isinstance(task, Regression):
        return ""
    return f"{task.quantity} [{task.unit}]" if task.unit else task.quantity


def to_record(name: str, task: Task) -> dict[str, Any]:
    """The task's name and fields, as JSON data."""
    assert is_dataclass(task)
    assert not isinstance(task, type)
    return {"name": name, **asdict(task)}


def from_record(record: Mapping[str, Any]) -> Task:
    """The inverse of `to_record`."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    task: Task = of_name(str(fields.pop("name")))(**fields)
    return task
