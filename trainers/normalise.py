"""From stored pixels to network input, per image: what is done here is part of an exported model."""

from __future__ import annotations

from torch import Tensor

from trainers.config import NORMALISATIONS


def normalise(images: Tensor, kind: str) -> Tensor:
    """Bring images (B, C, H, W) of any real type to float32 network input, each image by itself.

    minmax: to [0, 1]; zscore: to mean 0 and standard deviation 1; log and asinh: the same after log(1 + x) or
    asinh(x) of the image counted in units of its own standard deviation above its minimum, which lifts faint arcs.
    A constant image becomes zeros.
    """
    x = images.float()
    dims = (1, 2, 3)
    if kind in ("log", "asinh"):
        x = (x - x.amin(dims, keepdim=True)) / x.std(dims, keepdim=True).clamp_min(1e-12)
        x = x.log1p() if kind == "log" else x.asinh()
    if kind == "minmax":
        low, high = x.amin(dims, keepdim=True), x.amax(dims, keepdim=True)
        return (x - low) / (high - low).clamp_min(1e-12)
    if kind in ("zscore", "log", "asinh"):
        return (x - x.mean(dims, keepdim=True)) / x.std(dims, keepdim=True).clamp_min(1e-12)
    raise ValueError(f"unknown normalisation {kind!r}; known: {', '.join(NORMALISATIONS)}")
