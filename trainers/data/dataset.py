"""What a trainer gets: three splits of images, labels and regression targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

TARGETS = ("axion_mass", "mass_fraction", "einstein_radius")
"""The regression targets of simulated lenses: the axion's mass in eV; the substructure's fraction of all mass within
the Einstein radius of `halo_mass`; and the Einstein radius of halo and substructure in arcsec."""
NUMBER = "number"
"""The name of a number that comes with an image and has none."""
RESERVED = ("images", "labels", "objects")
"""Names that no target can have: a split's own files in the cache have them."""


class Images(Protocol):
    """The images of a split, (N, C, H, W): a tensor, some of a tensor's images, or those of two splits as one."""

    @property
    def shape(self) -> torch.Size: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor | slice, /) -> Tensor: ...


class Chosen:
    """Some of the images of a split, indexed without a copy: a data set may be larger than memory."""

    def __init__(self, images: Images, rows: Tensor) -> None:
        self.images, self.rows = images, rows
        self.shape = torch.Size((len(rows), *images.shape[1:]))
        self.dtype, self.device = images.dtype, images.device

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.images[self.rows[index]]


class Joined:
    """The images of two splits, neither of them empty, indexed as one."""

    def __init__(self, first: Images, second: Images) -> None:
        assert len(first)
        assert len(second)
        assert (first.dtype, first.shape[1:]) == (second.dtype, second.shape[1:])
        self.first, self.second = first, second
        self.shape = torch.Size((len(first) + len(second), *first.shape[1:]))
        self.dtype, self.device = first.dtype, first.device

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        if isinstance(index, slice):
            index = torch.arange(*index.indices(len(self)), device=self.device)
        # Both are read at every index and one is kept: a mask would make the processor wait for a GPU's answer.
        early = index < len(self.first)
        first = self.first[index.clamp_max(len(self.first) - 1)]
        second = self.second[(index - len(self.first)).clamp_min(0)]
        return torch.where(early[:, None, None, None], first, second)


@dataclass(frozen=True)
class Split:
    """N images of one split."""

    images: Images  # (N, C, H, W) in the dtype of storage; usually a memory map that all workers share
    labels: Tensor  # (N,) int64 class indices
    targets: Mapping[str, Tensor]
    """The regression targets by name, each (N,) float64 and NaN where unknown."""
    objects: Tensor | None = None
    """The number of the object that each image shows, (N,) int64, the same in all splits; None: each its own."""

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """The size of all images in bytes."""
        return math.prod(self.images.shape) * self.images.dtype.itemsize

    def rows(self, rows: Tensor) -> Split:
        """The images at `rows` (n,), int64, in this order. They are not copied until they are read."""
        return Split(
            Chosen(self.images, rows.to(self.images.device)),
            self.labels[rows],
            {name: values[rows] for name, values in self.targets.items()},
            None if self.objects is None else self.objects[rows],
        )

    def where(self, mask: Tensor) -> Split:
        """The images for which `mask` (N,) is true; the split itself if it is true for all."""
        return self if mask.all() else self.rows(mask.nonzero()[:, 0])

    def to(self, device: str | torch.device) -> Split:
        """A copy of the split on `device`, images and all."""
        targets = {name: values.to(device) for name, values in self.targets.items()}
        objects = None if self.objects is None else self.objects.to(device)
        return Split(self.images[:].to(device), self.labels.to(device), targets, objects)


def joined(first: Split, second: Split) -> Split:
    """Two splits as one, without a copy of their images."""
    if not (len(first) and len(second)):
        return first if len(first) else second
    return Split(
        images=Joined(first.images, second.images),
        labels=torch.cat([first.labels, second.labels]),
        targets={name: torch.cat([first.targets[name], second.targets[name]]) for name in first.targets},
        objects=None if first.objects is None or second.objects is None else torch.cat([first.objects, second.objects]),
    )


def shortened(names: Iterable[str]) -> list[str]:
    """The names for one line of text: all of a few, or the first five and the number of the others."""
    known = list(names)
    return [*known[:5], f"{len(known) - 5} more"] if len(known) > 6 else known


@dataclass(frozen=True)
class Dataset:
    """Three splits with the same classes and the same kind of images."""

    name: str
    classes: tuple[str, ...]  # sorted; a label is an index into them
    train: Split
    val: Split
    test: Split
    channels: tuple[str, ...] = ()  # the bands or HDUs that they come from, if these have names
    fit: str | None = None  # how images were made square, with their side, if they were (`folder/fit.py`)
    folder: Path | None = None  # in the cache, if it is kept there

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
                *([f"targets {', '.join(shortened(known))}"] if known else []),
            ]
        )
