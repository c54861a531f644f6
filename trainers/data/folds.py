"""Cross-validation: the training and validation images of a data set, divided anew."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from trainers.data.dataset import Dataset, Split, joined
from trainers.errors import TrainingError


def fold(data: Dataset, k: int, folds: int, seed: int = 0, *, by_class: bool = True) -> Dataset:
    """The data set with fold `k` of `folds` for validation and the others to train on. The test images stay.

    The folds of one `seed` part the training and validation images. Images of one object are in one fold, and each
    class is spread evenly over the folds, unless classes mean nothing (`by_class`). TrainingError if there are fewer
    objects of a class than folds.
    """
    images = joined(data.train, data.val)
    of = assigned(images, folds, seed, by_class)
    return replace(data, train=images.where(of != k), val=images.where(of == k))


def assigned(images: Split, folds: int, seed: int, by_class: bool = True) -> Tensor:
    """The fold of every image, (N,) int64."""
    labels = images.labels.cpu() if by_class else torch.zeros(len(images), dtype=torch.int64)
    objects = torch.arange(len(labels)) if images.objects is None else images.objects.cpu()
    objects = objects.unique(return_inverse=True)[1]
    count = int(objects.max()) + 1
    of_object = torch.empty(count, dtype=torch.int64)
    label = torch.empty(count, dtype=torch.int64)
    label[objects] = labels  # of an object with several, one of them
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    begin = 0  # where the last class ended: small classes must not all fill the first folds
    for c in label.unique():
        mine = order[label[order] == c]
        if len(mine) < folds:
            have = "one class has" if by_class else "there are"
            raise TrainingError(f"folds is {folds}, but {have} only {len(mine)} objects to train and validate on")
        of_object[mine] = (begin + torch.arange(len(mine))) % folds
        begin += len(mine)
    return of_object[objects]
