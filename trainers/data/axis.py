"""Whether images lie in a preferred direction, as those of many simulations do and those of the sky do not.

A network may learn the classes relative to such an axis; it then fails on the same images turned by 90 degrees. The
check is a classifier two-sample test (arXiv 1610.06545) of the images against their turned copies. The maps of light
and of squared light, (2, 8, 8), are projected onto what changes sign under a quarter turn, which shows an axis, or
under a half turn, which shows a direction along it. If the turned images follow the same distribution, so does the
negative of these features, and no linear classifier is right about more than half of the images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.batch.normalise import normalise
from trainers.data.dataset import Split

AT_MOST = 2000  # images
SIDE = 8
RIDGE = 0.01  # of the mean variance of the features
CLEAR, SIGMAS = 0.6, 4.0


@dataclass(frozen=True)
class Axis:
    """The share of images that are told from themselves turned, 0.5 without a preferred axis."""

    share: float
    images: int

    @property
    def found(self) -> bool:
        """Whether the share is so large that a network could profit, and more than chance."""
        return self.share >= max(CLEAR, 0.5 + SIGMAS * 0.5 / math.sqrt(self.images))


def preferred_axis(split: Split) -> Axis:
    """Look for an axis in each class by itself: the axes of two classes may be perpendicular to each other."""
    rows = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:AT_MOST].sort().values
    images, labels = split.images, split.labels[rows]
    maps = torch.cat([_maps(images[some.to(images.device)]).cpu() for some in rows.split(256)])
    quarter, half = (sum(_recognised(odd[labels == c]) for c in labels.unique()) for odd in _odd(maps))
    return Axis(max(quarter, half) / len(rows), len(rows))


def _maps(images: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 2, SIDE, SIDE), which turn with the images."""
    x = F.adaptive_avg_pool2d(images.float().mean(1, keepdim=True), 4 * SIDE)  # first, or large images take seconds
    x = normalise(x, "zscore")
    return F.adaptive_avg_pool2d(torch.cat([x, x * x], 1), SIDE)


def _odd(maps: Tensor) -> tuple[Tensor, Tensor]:
    """The parts of maps that change sign under a quarter turn and under a half turn, each (N, features)."""
    turned = [maps.rot90(k, (2, 3)) for k in range(4)]
    return (turned[0] - turned[1] + turned[2] - turned[3]).flatten(1), (turned[0] - turned[2]).flatten(1)


def _recognised(odd: Tensor) -> int:
    """The number of rows that Fisher's linear discriminant, fitted to the other half, puts on the side of zero where
    that half's mean lies.
    """
    odd, count = odd.double(), 0
    for own, other in ((odd[::2], odd[1::2]), (odd[1::2], odd[::2])):
        if len(other):
            moments = other.T @ other / len(other)
            ridge = (RIDGE * moments.diagonal().mean()).clamp_min(1e-12)
            weights = torch.linalg.solve(moments + ridge * torch.eye(len(moments), dtype=odd.dtype), other.mean(0))
            count += int((own @ weights > 0).sum())
    return count
