"""Finding lenses among other galaxies: two classes, and the lenses are the rare one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from trainers.errors import TrainingError
from trainers.tasks import substructure

if TYPE_CHECKING:
    from trainers.data import Dataset

LENSES = ("lens", "lenses", "1", "true", "yes", "positive")


class Task(substructure.Task):
    """Average precision and true positive rates are those of the lenses. The AUC is the same for both classes."""

    @classmethod
    def of(cls, data: Dataset) -> Self:
        """The task on this data set. TrainingError unless it has two classes, one of them lenses."""
        if len(data.classes) != 2 or not set(LENSES) & set(data.classes):
            raise TrainingError(
                f"{data.name} has the classes {', '.join(data.classes) or 'none'}; finding lenses needs two, one of "
                f"them called {' or '.join(LENSES)}"
            )
        return super().of(data)

    @property
    def positive(self) -> str:
        """The name of the lenses' class."""
        return next(name for name in self.classes if name in LENSES)
