"""What a network's outputs mean. A task is a module with `Task`, a class or a `Regression`: ours, or a user's own."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from trainers.errors import TrainingError
from trainers.regression import Regression
from trainers.user_module import import_named, is_importable

if TYPE_CHECKING:
    from trainers.data import Dataset, Split


Named = str | Regression
"""A task as a study asks for it: a name, or the numbers to measure."""


class Task(Protocol):
    """What `fit`, `evaluate` and a study need to know of a task: a frozen dataclass, so that a model can carry it.

    Its class, or a `Regression` itself, also has `of(data)`, which makes the task for a data set or raises
    TrainingError. For metrics of its own that can be objectives, it lists their names in `higher_is_better` or
    `lower_is_better` (see `metrics.direction`).
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
        """Whether `predict` also returns standard deviations; only a `Regression` may, since they are calibrated."""

    def select(self, split: Split) -> Split:
        """The images that the task has targets for."""

    def targets(self, split: Split) -> Tensor:
        """The target of each image of a selected split: classes (N,), or numbers (N, targets)."""

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """The mean training loss of outputs (B, num_outputs), weighted by image where `weights` (B,) are given."""

    def predict(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, classes), or values (B, targets) in their units, followed by standard deviations if any."""

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """Combine the predictions of several networks into one."""

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """The metrics of every epoch by name, from all predictions for a split."""

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """All metrics, those of `metrics` included."""


@cache
def known() -> tuple[str, ...]:
    """The short names of the tasks that come with `trainers`."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def of_name(name: Named) -> Any:
    """The class of a task, or the regression, whose attributes hold for any data.

    `name` is one of `known()`, the dotted path of a user's own module, or a regression itself. TrainingError if there
    is no such module, or it has no `Task`.
    """
    if isinstance(name, Regression):
        return name
    if not isinstance(name, str):
        raise TrainingError(f"task is {name!r}; expected a name ({', '.join(known())}), or a Regression")
    if name in known():
        return importlib.import_module(f"trainers.tasks.{name}").Task
    if "." not in name and not is_importable(name):
        raise TrainingError(f"unknown task {name!r}; known: {', '.join(known())}, or the dotted path of your own")
    task = getattr(import_named(name, "task"), "Task", None)
    if isinstance(task, Regression):
        return task
    if not isinstance(task, type):
        raise TrainingError(f"task {name!r}: the module has no class Task")
    if issubclass(task, Regression):  # as users wrote it before: the fields are attributes of the class
        return task(target=task.target, unit=task.unit, log=task.log, with_sigma=task.with_sigma)
    return task


def create(name: Named, data: Dataset) -> Task:
    """The named task on this data set. TrainingError if there is no such task, or the data do not suit it."""
    task: Task = of_name(name).of(data)
    if not is_dataclass(task):
        raise TrainingError(f"task {name!r}: its class Task is not a dataclass, so no model could carry it")
    needed = (member for member in vars(Task) if not member.startswith("_"))
    if lacking := [member for member in needed if not hasattr(task, member)]:
        raise TrainingError(f"task {name!r} lacks {', '.join(lacking)}; add what trainers.tasks.Task has")
    if task.with_sigma and not isinstance(task, Regression):
        raise TrainingError(f"task {name!r} has with_sigma, which only a Regression may have; set it to False")
    return task


def quantity(task: Task) -> str:
    """The measured quantities with their units; empty if the task predicts classes."""
    return ", ".join(task.quantities) if isinstance(task, Regression) else ""


def quantities(task: Any, count: int) -> list[str]:
    """What each of `count` numbers is, with its unit; a task that is no `Regression` does not say it."""
    if isinstance(task, Regression):
        return list(task.quantities)
    return ["value"] if count == 1 else [f"value {k}" for k in range(1, count + 1)]


def to_json(name: Named) -> str | dict[str, Any]:
    """What a study asks for as JSON data: a name, or the fields of a regression that do not depend on its data."""
    if not isinstance(name, Regression):
        return name
    return {"target": list(name.target), "unit": name.unit, "log": name.log, "with_sigma": name.with_sigma}


def from_json(record: str | Mapping[str, Any]) -> Named:
    """The inverse of `to_json`. TrainingError for what is no such record."""
    if isinstance(record, str):
        return record
    try:
        target = record["target"]
        return Regression(**{**record, "target": target if isinstance(target, str) else tuple(target)})
    except (TypeError, KeyError) as error:
        raise TrainingError(f"task is {record!r}; expected a name, or the fields of a regression") from error


def to_record(name: Named, task: Task) -> dict[str, Any]:
    """The task's name and fields as JSON data."""
    assert is_dataclass(task)
    assert not isinstance(task, type)
    return {"name": name if isinstance(name, str) else "regression", **asdict(task)}


def from_record(record: Mapping[str, Any]) -> Task:
    """The inverse of `to_record`. TrainingError if it lacks what a regression learnt of its data."""
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in record.items()}
    of_any_data: Any = of_name(str(fields.pop("name")))
    if not isinstance(of_any_data, Regression):
        task: Task = of_any_data(**fields)
        return task
    fitted: Regression = replace(of_any_data, **fields)
    if not (fitted.mean and fitted.sd):
        raise TrainingError(f"task {record['name']!r} lacks the mean and sd of its targets")
    return fitted
