"""From stored pixels to network input: what is done here is part of an exported model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.config import NORMALISATIONS, TrainConfig

AT_MOST = 1024  # training images from which global statistics are computed, evenly spaced


@dataclass(frozen=True)
class Statistics:
    """Of the training images' pixels: x becomes (f((x - offset) / scale) - mean) / std."""

    offset: float
    scale: float
    mean: float
    std: float


@dataclass(frozen=True)
class Normalisation:
    """How pixels become network input. Frozen before training, and carried by the exported model."""

    kind: str
    statistics: Statistics | None = None  # None: every image by its own pixels

    def __post_init__(self) -> None:
        if self.kind not in NORMALISATIONS:
            raise ValueError(f"unknown normalisation {self.kind!r}; known: {', '.join(NORMALISATIONS)}")

    def to_json(self) -> str | dict[str, Any]:
        """The name alone, or with the statistics."""
        return asdict(self) if self.statistics else self.kind

    @classmethod
    def from_json(cls, record: str | Mapping[str, Any]) -> Normalisation:
        if isinstance(record, str):
            return cls(record)
        return cls(record["kind"], Statistics(**record["statistics"]))

    def describe(self) -> str:
        return f"{self.kind}, {'by the training images' if self.statistics else 'each image by itself'}"


def resolve(config: TrainConfig, images: Tensor) -> Normalisation:
    """The normalisation that `config` asks for, of training images (N, C, H, W) as stored; the same every time."""
    if config.normalisation_scope == "image":
        return Normalisation(config.normalisation)
    some = torch.arange(0, len(images), -(-len(images) // AT_MOST))
    x = images[some.to(images.device)].double().flatten()[None, None, None]  # as of one image
    kind = config.normalisation
    offset, scale = _scale(x, kind)
    mean, std = _spread(_curve((x - offset) / scale, kind), kind)
    return Normalisation(kind, Statistics(*(float(s) for s in (offset, scale, mean, std))))


def normalise(images: Tensor, how: Normalisation | str) -> Tensor:
    """Bring images (B, C, H, W) of any real type to float32 network input; `how` may be a kind, of each image alone.

    minmax: to [0, 1]; zscore: to mean 0 and standard deviation 1; log and asinh: the same after log(1 + x) or
    asinh(x) of the pixels counted in units of their own standard deviation above their minimum, which lifts faint
    arcs. By the training images' statistics all this holds of them together: brightness stays a difference between
    images, and one of another unit is another input. A constant image by itself becomes zeros.
    """
    how = Normalisation(how) if isinstance(how, str) else how
    x = images.float()
    if how.statistics is not None:
        s = how.statistics
        return (_curve((x - s.offset) / s.scale, how.kind) - s.mean) / s.std
    offset, scale = _scale(x, how.kind)
    x = _curve((x - offset) / scale, how.kind)
    mean, std = _spread(x, how.kind)
    return (x - mean) / std


DIMS = (1, 2, 3)


def _scale(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Offset and scale of each image (B, C, H, W), (B, 1, 1, 1)."""
    if kind == "minmax":
        low, high = x.amin(DIMS, keepdim=True), x.amax(DIMS, keepdim=True)
        return low, (high - low).clamp_min(1e-12)
    mean = x.mean(DIMS, keepdim=True)
    return mean if kind == "zscore" else x.amin(DIMS, keepdim=True), _deviation(x, mean)


def _curve(x: Tensor, kind: str) -> Tensor:
    """Of pixels above their minimum; a new image may be darker than any in training, where the logarithm ends."""
    if kind == "log":
        return x.clamp_min(0).log1p()
    return x.asinh() if kind == "asinh" else x


def _spread(x: Tensor, kind: str) -> tuple[Tensor | float, Tensor | float]:
    """Mean and standard deviation of each image after the curve; where there is none, nothing is left to do."""
    if kind in ("minmax", "zscore"):
        return 0.0, 1.0
    mean = x.mean(DIMS, keepdim=True)
    return mean, _deviation(x, mean)


def _deviation(x: Tensor, mean: Tensor) -> Tensor:
    """Standard deviation of each image, ten times as fast as `Tensor.std`, which was 3 % of a small network's step."""
    norm = torch.linalg.vector_norm(x - mean, dim=DIMS, keepdim=True)
    return (norm / math.sqrt(max(x[0].numel() - 1, 1))).clamp_min(1e-12)
