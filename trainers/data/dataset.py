"""What a trainer gets: three splits of images, labels and regression targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor


class Chosen:
    """Some of the images of a split, indexed without copying them: a data set may be larger than memory."""

    def __init__(self, images: Tensor, rows: Tensor) -> None:
        self.images, self.rows = images, rows
        self.shape = torch.Size((len(rows), *images.shape[1:]))
        self.dtype, self.device = images.dtype, images.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.images[self.rows[index]]


class Joined:
    """The images of two splits as one, indexed in the same way."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = first, second
        self.shape = torch.Size((len(first) + len(second), *first.shape[1:]))
        self.dtype, self.device = first.dtype, first.device

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        if isinstance(index, slice):
            index = torch.arange(*index.indices(len(self)), device=self.device)
        images = torch.empty(len(index), *self.shape[1:], dtype=self.dtype, device=self.device)
        early = index < len(self.first)
        images[early] = self.first[index[early]]
        images[~early] = self.second[index[~early] - len(self.first)]
        return images


@dataclass(frozen=True)
class Split:
    """N images of one split."""

    images: Tensor  # (N, C, H, W) in the dtype of storage; usually a memory map that all workers share
    labels: Tensor  # (N,) int64 class indices
    targets: Mapping[str, Tensor]
    """Regression targets where known, each (N,) float64 with NaN where undefined: `axion_mass` in log10 eV,
    `mass_fraction` of the substructure in the total mass."""

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, rows: Tensor) -> Split:
        """The images at `rows` (n,), int64, in this order; not copied until they are looked at."""
        return Split(
            cast(Tensor, Chosen(self.images, rows.to(self.images.device))),
            self.labels[rows],
            {name: values[rows] for name, values in self.targets.items()},
        )

    def where(self, mask: Tensor) -> Split:
        """The images for which `mask` (N,) is true; the split itself where it is so for all."""
        return self if mask.all() else self.rows(mask.nonzero()[:, 0])


def joined(first: Split, second: Split) -> Split:
    """Two splits as one."""
    return Split(
        images=cast(Tensor, Joined(first.images, second.images)),
        labels=torch.cat([first.labels, second.labels]),
        targets={name: torch.cat([first.targets[name], second.targets[name]]) for name in first.targets},
    )


@dataclass(frozen=True)
class Dataset:
    name: str
    classes: tuple[str, ...]  # sorted; a label is an index into them
    train: Split
    val: Split
    test: Split

    @property
    def in_chans(self) -> int:
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        return self.train.images.shape[-1]

    def describe(self) -> str:
        """One line for people."""
        counts = "/".join(str(len(split)) for split in (self.train, self.val, self.test))
        dtype = str(self.train.images.dtype).removeprefix("torch.")
        _, chans, height, width = self.train.images.shape
        known = [name for name, values in self.train.targets.items() if not values.isnan().all()]
        several = f"{len(self.classes)} classes ({', '.join(self.classes)})"
        return ", ".join(
            [
                f"{self.name}: {several if len(self.classes) > 1 else 'no classes'}",
                f"{counts} images to train/validate/test",
                f"{chans}x{height}x{width} {dtype}",
                *([f"targets {' and '.join(known)}"] if known else []),
            ]
        )
