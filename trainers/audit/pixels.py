"""What the pixels of each image say: whether it is constant or saturated, and numbers by which copies are found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from trainers.data import Split
from trainers.data.folder.turned import symmetries

PLATEAU = 0.005  # of a channel's pixels that share its highest value, at least, in a saturated image
SAME = 1e-5  # of the range of a channel: resizing rounds
EXAMPLES = 3


@dataclass(frozen=True)
class Some:
    """A number of images, and the names of the first."""

    count: int
    examples: tuple[str, ...] = ()


def some(mask: Tensor, names: Sequence[str]) -> Some:
    """The images for which `mask` (N,) is true."""
    rows = mask.nonzero()[:, 0].tolist()
    return Some(len(rows), tuple(names[row] for row in rows[:EXAMPLES]))


@dataclass(frozen=True)
class Pixels:
    """Of N images."""

    constant: Tensor  # (N,) bool: all pixels of each channel have one value
    saturated: Tensor  # (N,) bool: many share the highest value, fewer come close or share the next
    sums: Tensor  # (N, 2) float64: weighted sums of the pixels, the same for turned and mirrored copies


def measure(splits: Iterable[Split]) -> Pixels:
    """The pixels of all images in these splits, one after the other."""
    found = [batch(split.images[start : start + 256].cpu()) for split in splits for start in range(0, len(split), 256)]
    constant, saturated, sums = zip(*found, strict=True)
    return Pixels(torch.cat(constant), torch.cat(saturated), torch.cat(sums))


def batch(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The three tensors of `Pixels` for images (B, C, S, S) as stored."""
    x = images.flatten(2).double()
    high, extent = x.amax(-1, keepdim=True), x.amax(-1, keepdim=True) - x.amin(-1, keepdim=True)
    at_most = high - SAME * extent
    below = x.where(x < at_most, -torch.inf)
    second = below.amax(-1, keepdim=True)
    plateau = (x >= at_most).sum(-1)
    shoulder = (below >= high - 0.05 * extent).sum(-1).maximum((below >= second - SAME * extent).sum(-1))
    flat = extent[..., 0] == 0
    full = ~flat & (plateau >= PLATEAU * x.shape[-1]) & (plateau > shoulder)
    sums = standardised(images).flatten(1) @ weights(*images.shape[1:3])
    return flat.all(1), full.any(1), sums


def standardised(images: Tensor) -> Tensor:
    """Images (..., C, S, S) less their mean, over their standard deviation, in float64; zero if they are constant."""
    x = images.double()
    x = x - x.mean((-3, -2, -1), keepdim=True)
    sd = x.std((-3, -2, -1), correction=0, keepdim=True)
    return x / sd.where(sd > 0, 1.0)


@lru_cache(8)
def weights(channels: int, side: int) -> Tensor:
    """Two random numbers for each pixel (C S S, 2), alike for a pixel in all eight symmetries, of unit variance."""
    numbers = np.random.default_rng(0).standard_normal((2, channels, side, side))
    alike = np.add.reduce(list(symmetries(numbers))) / np.sqrt(8)
    return torch.from_numpy(alike.reshape(2, -1).T.copy())
