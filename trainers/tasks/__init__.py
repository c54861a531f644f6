"""What a network's outputs mean. A task is a module with a class `Task`: one in this folder, or a user's own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from trainers.errors import TrainingError
from trainers.regression import Regression
from trainers.user_module import import_named, is_importable

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


class Task(Protocol):
    """What `fit`, `evaluate` and a study need to know of a task: a frozen dataclass, so that a model can carry it.

    Its class also has `of(data)`, which makes the task for a data set or raises TrainingError. For metrics of its own
    that can be objectives, it lists their names in `higher_is_better` or `lower_is_better` (see `metrics.direction`).
    """

    @property
    def classifies(self) -> bool: ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Empty if numbers are measured."""

    @property
    def num_outputs(self) -> int: ...

    @property
    def objective(self) -> str:
        """The metric that a study optimises unless it names another."""

    @property
    def with_sigma(self) -> bool:
        """Whether `predict` also returns standard deviations, which `calibrated` scales."""

    def select(self, split: Split) -> Split:
        """The images that the task has targets for."""

    def targets(self, split: Split) -> Tensor:
        """The target of each image of a selected split, (N,)."""

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """The mean training loss of outputs (B, num_outputs), weighted by image where `weights` (B,) are given."""

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, classes), or values in the target's unit: (B, 1), or (B, 2) with standard deviations."""

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """Combine the predictions of several networks into one."""

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of every epoch by name, from all predictions for a split."""

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """All metrics, those of `metrics` included."""


def known() -> list[str]:
    """The short names of the tasks that come with `trainers`."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@cache
def of_name(name: str) -> Any:
    """The class of a task, whose class attributes hold for any data.

    `name` is one of `known()`, or the dotted path of a user's own module. TrainingError if there is no such module, or
    it has no class `Task`.
    """
    if name in known():
        return importlib.import_module(f"trainers.tasks.{name}").Task
    if "." not in name and not is_importable(name):
        raise TrainingError(f"unknown task {name!r}; known: {', '.join(known())}, or the dotted path of your own")
    task = getattr(import_named(name, "task"), "Task", None)
    if not isinstance(task, type):
        raise TrainingError(f"task {name!r}: the module has no class Task")
    return task


def create(name: str, data: Dataset) -> Task:
    """The named task on this data set. TrainingError if there is no such task, or the data do not suit it."""
    task: Task = of_name(name).of(data)
    if not is_dataclass(task):
        raise TrainingError(f"task {name!r}: its class Task is not a dataclass, so no model could carry it")
    return task


def quantity(task: Task) -> str:
    """The measured quantity with its unit; empty if the task predicts classes."""
    if not isinstance(task, Regression):
        return ""
    return f"{task.quantity} [{task.unit}]" if task.unit else task.quantity


def to_record(name: str, task: Task) -> dict[str, Any]:
    """The task's name and fields as JSON data."""
    assert is_dataclass(task)
    assert not isinstance(task, type)
    return {"name": name, **asdict(task)}


def from_record(record: Mapping[str, Any]) -> Task:
    """The inverse of `to_record`."""
    fields = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    task: Task = of_name(str(fields.pop("name")))(**fields)
    return task
