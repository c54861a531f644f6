"""From stored pixels to network input. An exported model carries what is done here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trainers.config import NORMALISATIONS, TrainConfig
from trainers.errors import TrainingError

if TYPE_CHECKING:
    from trainers.data import Images

AT_MOST = 1024  # training images, evenly spaced, that enter the global statistics
MOST_PIXELS = AT_MOST * 64 * 64  # of these
TAIL = 0.005  # of the pixels, at either end, that the normalisation "percentile" clips


@dataclass(frozen=True)
class Statistics:
    """Statistics of the training images' pixels: x becomes (f((x - offset) / scale) - mean) / std."""

    offset: float
    scale: float
    mean: float
    std: float


@dataclass(frozen=True)
class Normalisation:
    """How pixels become network input. It is fixed before training and stored in the exported model."""

    kind: str
    statistics: Statistics | None = None  # None: each image by its own pixels

    def __post_init__(self) -> None:
        if self.kind not in NORMALISATIONS:
            raise TrainingError(f"unknown normalisation {self.kind!r}; known: {', '.join(NORMALISATIONS)}")

    def to_json(self) -> str | dict[str, Any]:
        """Return the kind alone, or the kind with its statistics."""
        return asdict(self) if self.statistics else self.kind

    @classmethod
    def from_json(cls, record: str | Mapping[str, Any]) -> Normalisation:
        """The inverse of `to_json`."""
        if isinstance(record, str):
            return cls(record)
        return cls(record["kind"], Statistics(**record["statistics"]))

    def describe(self) -> str:
        """A few words for people."""
        return f"{self.kind}, {'by the training images' if self.statistics else 'each image by itself'}"


def resolve(config: TrainConfig, images: Images) -> Normalisation:
    """The normalisation that `config` asks for, given the stored training images (N, C, H, W). Deterministic."""
    if config.normalisation_scope == "image":
        return Normalisation(config.normalisation)
    most = max(min(AT_MOST, MOST_PIXELS // math.prod(images.shape[1:])), 1)
    some = torch.arange(0, len(images), -(-len(images) // most))
    x = images[some.to(images.device)].double().flatten()[None, None, None]  # as if they were one image
    kind, unit = config.normalisation, _unit(x)
    x = x / unit
    offset, scale = _scale(x, kind)
    mean, std = _spread(_curve((x - offset) / scale, kind), kind)
    return Normalisation(kind, Statistics(*(float(s) for s in (offset * unit, scale * unit, mean, std))))


def normalise(images: Tensor, how: Normalisation | str) -> Tensor:
    """Turn images (B, C, H, W) of any real type into float32 network input.

    minmax maps to [0, 1] and zscore to mean 0 and standard deviation 1. percentile maps to [0, 1] what lies between the
    percentiles 0.5 and 99.5 and clips the rest, so a few hot pixels change nothing. log and asinh do what zscore does
    after log(1 + x) or asinh(x), which lift faint arcs; x counts standard deviations above the minimum. A plain name in
    `how` normalises each image by its own pixels, whatever their unit, and a constant image becomes zeros. With the
    training images' statistics these values hold for the training set as a whole, so images keep their differences in
    brightness, and images in another unit become a different input.
    """
    how = Normalisation(how) if isinstance(how, str) else how
    x = images.float()
    if how.statistics is not None:
        s = how.statistics
        return (_curve((x - s.offset) / s.scale, how.kind) - s.mean) / s.std
    x = x / _unit(x)
    offset, scale = _scale(x, how.kind)
    x = _curve((x - offset) / scale, how.kind)
    mean, std = _spread(x, how.kind)
    return (x - mean) / std


DIMS = (1, 2, 3)


def _unit(x: Tensor) -> Tensor:
    """The power of two below each image's largest magnitude, (B, 1, 1, 1).

    In this unit no square overflows and no floor is reached. Dividing by it changes no digit of any result.
    """
    bits, exponent = (torch.int32, 0x7F800000) if x.dtype == torch.float32 else (torch.int64, 0x7FF0000000000000)
    peak = x.abs().amax(DIMS, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    if torch.compiler.is_compiling():  # into a graph: ONNX knows no bits, and the next power of two serves as well
        return peak.log2().floor().clamp_max(127).exp2()
    return (peak.view(bits) & exponent).view(x.dtype)


def _scale(x: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Offset and scale, each (B, 1, 1, 1), of images (B, C, H, W)."""
    if kind == "percentile":
        pixels = x.flatten(1)
        few = max(round(TAIL * pixels.shape[1]), 1)
        low, high = (pixels.topk(few, 1, largest=largest).values[:, -1] for largest in (False, True))
        least, most = pixels.amin(1), pixels.amax(1)
        flat = low == high  # fewer pixels than that stand out from a constant background
        low, high = (torch.where(flat, a, b)[:, None, None, None] for a, b in ((least, low), (most, high)))
        return low, (high - low).clamp_min(1e-12)
    if kind == "minmax":
        low, high = x.amin(DIMS, keepdim=True), x.amax(DIMS, keepdim=True)
        return low, (high - low).clamp_min(1e-12)
    mean = x.mean(DIMS, keepdim=True)
    return mean if kind == "zscore" else x.amin(DIMS, keepdim=True), _deviation(x, mean)


def _curve(x: Tensor, kind: str) -> Tensor:
    """Compress pixels above their minimum. The clamp serves new images that are darker than any in training."""
    if kind == "percentile":
        return x.clamp(0, 1)
    if kind == "log":
        return x.clamp_min(0).log1p()
    return x.asinh() if kind == "asinh" else x


def _spread(x: Tensor, kind: str) -> tuple[Tensor | float, Tensor | float]:
    """Mean and standard deviation of each image after the curve; 0 and 1 for the kinds without a curve."""
    if kind in ("minmax", "percentile", "zscore"):
        return 0.0, 1.0
    mean = x.mean(DIMS, keepdim=True)
    return mean, _deviation(x, mean)


def _deviation(x: Tensor, mean: Tensor) -> Tensor:
    """Standard deviation of each image. `Tensor.std` is ten times slower and took 3 % of a small network's step."""
    norm = torch.linalg.vector_norm(x - mean, dim=DIMS, keepdim=True)
    return (norm / math.sqrt(max(x[0].numel() - 1, 1))).clamp_min(1e-12)
