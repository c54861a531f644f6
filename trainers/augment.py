"""Augmentation: batched, on the device of the images, drawn for every image by itself from torch's global generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import Augmentation


def augment(images: Tensor, config: Augmentation) -> Tensor:
    """Randomly change normalised images (B, C, H, W); labels stay what they are, since lensing has no preferred axis.

    Turn, mirror and shift are one resampling, so pixels are interpolated once. What is turned in from outside the
    frame is the mirrored border, not a black corner that would tell the angle.
    """
    if config.rotation or config.flip or config.shift:
        images = warp(images, _affine(len(images), config, images.device))
    if config.noise:
        images = images + config.noise * images.std((1, 2, 3), keepdim=True) * torch.randn_like(images)
    return images


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample (B, C, H, W) bilinearly at matrices (B, 2, 3) times output coordinates in [-1, 1]."""
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _affine(batch: int, config: Augmentation, device: torch.device) -> Tensor:
    def uniform(high: float) -> Tensor:
        return high * (2 * torch.rand(batch, device=device) - 1)

    angle = uniform(math.radians(config.rotation))
    mirror = 1 - 2 * torch.randint(2, (batch,), device=device) if config.flip else torch.ones(batch, device=device)
    # A shift by a fraction f of the side is 2 f in affine_grid's coordinates, which run from -1 to 1.
    shift_x, shift_y = uniform(2 * config.shift), uniform(2 * config.shift)
    row_x = torch.stack([mirror * angle.cos(), -angle.sin(), shift_x], -1)
    row_y = torch.stack([mirror * angle.sin(), angle.cos(), shift_y], -1)
    return torch.stack([row_x, row_y], 1)
