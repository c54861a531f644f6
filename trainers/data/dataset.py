"""What a trainer gets: three splits of images, labels and regression targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


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
