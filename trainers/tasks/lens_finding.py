"""Finding lenses among other galaxies: two classes, the one looked for being rare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from trainers.tasks import substructure

if TYPE_CHECKING:
    from trainers.data import Dataset

LENSES = ("lens", "lenses", "1", "true", "yes", "positive")


class Task(substructure.Task):
    """Average precision and true positive rates are those of the lenses; the AUC is the same for both classes."""

    @classmethod
    def of(cls, data: Dataset) -> Self:
        if len(data.classes) != 2 or not set(LENSES) & set(data.classes):
            raise ValueError(
                f"{data.name} has the classes {', '.join(data.classes) or 'none'}; finding lenses needs two, of which "
                f"one is called {' or '.join(LENSES)}"
            )
        return super().of(data)

    @property
    def positive(self) -> str:
        return next(name for name in self.classes if name in LENSES)
