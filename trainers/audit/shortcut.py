"""How well the classes are told apart without a network: by boosted trees on statistics or principal components."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from trainers import tasks
from trainers.fitted import fit_trees
from trainers.metrics import macro_auc

if TYPE_CHECKING:
    from trainers.data import Dataset, Split

TRAIN = {"statistics": 4000, "pca": 1500}
VAL = 1000
"""Images looked at, at most: principal components of eight views cost more than statistics."""
CLEAR, SIGMAS = 0.75, 4.0


@dataclass(frozen=True)
class Shortcut:
    """The AUC on validation images, averaged over the classes, of trees that were fitted to training images."""

    auc: float
    trained: int  # images
    validated: int
    rarest: int  # validation images of the rarest class

    @property
    def found(self) -> bool:
        """Whether the AUC is large, and more than chance."""
        return self.rarest > 0 and self.auc >= max(CLEAR, 0.5 + SIGMAS * chance(self.rarest, self.validated))


def shortcut(name: str, data: Dataset) -> Shortcut:
    """The AUC of the classes of `data` from the features of this name in `trainers.fitted.FITTED`."""
    task = tasks.create("substructure", data)
    train, val = drawn(data.train, TRAIN[name]), drawn(data.val, VAL)
    predicted = fit_trees(name, train, val, task).predict(val.images)
    each = torch.bincount(val.labels, minlength=len(data.classes))
    return Shortcut(macro_auc(predicted.numpy(), val.labels.numpy()), len(train), len(val), int(each.min()))


def drawn(split: Split, at_most: int) -> Split:
    """Some images of a split, at random, the same every time."""
    if len(split) <= at_most:
        return split
    return split.rows(torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:at_most].sort().values)


def chance(some: int, of: int) -> float:
    """The standard deviation of the AUC of `some` against the rest of `of` images that do not differ from them."""
    return math.sqrt((of + 1) / (12 * some * max(of - some, 1)))
