"""Augmentation: batched, on the device of the images. Each image has its own draws, from torch's global generator."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import Augmentation


def augment(images: Tensor, config: Augmentation) -> Tensor:
    """Randomly change normalised images (B, C, H, W). Classes stay valid, because lensing has no preferred axis.

    The order is a telescope's: geometry, then blur, light and noise, and finally what is hidden.
    """
    if config.d4:
        images = symmetric(images)
    if config.rotation or config.flip or config.shift or config.zoom:
        images = warp(images, _affine(len(images), config, images.device))
    if config.blur:
        sigma = config.blur * torch.rand(len(images), device=images.device)
        images = blurred(images, sigma, radius=math.ceil(3 * config.blur))
    if config.brightness or config.contrast:
        images = relit(images, config)
    if config.noise:
        images = images + config.noise * images.std((1, 2, 3), keepdim=True) * torch.randn_like(images)
    if config.cutout:
        hidden = boxes(torch.full((len(images),), config.cutout, device=images.device), images.shape[-1])
        images = torch.where(hidden, images.mean((2, 3), keepdim=True), images)
    return images


def symmetric(images: Tensor) -> Tensor:
    """Apply one of the eight symmetries of the square to each image, all equally likely and without interpolation."""
    upside_down, mirrored, transposed = torch.rand(3, len(images), 1, 1, 1, device=images.device) < 0.5
    images = torch.where(upside_down, images.flip(2), images)
    images = torch.where(mirrored, images.flip(3), images)
    return torch.where(transposed, images.mT, images)


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Resample (B, C, H, W) bilinearly at matrices (B, 2, 3) times output coordinates in [-1, 1].

    Turn, mirror, shift and zoom are one resampling, so pixels are interpolated once. The mirrored border fills what
    lies outside the frame; a black corner would reveal the angle.
    """
    grid = F.affine_grid(matrices, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def blurred(images: Tensor, sigma: Tensor, radius: int) -> Tensor:
    """Convolve each image (B, C, H, W) with a Gaussian of its own sigma (B,), in pixels, cut off at `radius`."""
    batch, chans, height, width = images.shape
    radius = min(radius, height - 1, width - 1)  # reflection cannot reach further
    x = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (x / sigma.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(-1, keepdim=True)).repeat_interleave(chans, 0)[:, None]  # (B C, 1, 2 radius + 1)
    planes = F.pad(images.reshape(1, batch * chans, height, width), (radius,) * 4, mode="reflect")
    planes = F.conv2d(planes, kernel[:, :, :, None], groups=batch * chans)
    return F.conv2d(planes, kernel[:, :, None, :], groups=batch * chans).view_as(images)


def relit(images: Tensor, config: Augmentation) -> Tensor:
    """Return a (x - mean) + mean + b std: a in [1/(1 + contrast), 1 + contrast], b in [-brightness, brightness]."""
    mean, std = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
    a = uniform(len(images), math.log1p(config.contrast), images.device).exp()[:, None, None, None]
    b = uniform(len(images), config.brightness, images.device)[:, None, None, None]
    return a * (images - mean) + mean + b * std


def boxes(side: Tensor, size: int) -> Tensor:
    """Masks (B, 1, size, size), true inside a square whose side is the fraction `side` (B,) of the image's.

    Its centre lies anywhere in the image, so it may stick out, as in cutout and CutMix (arXiv 1708.04552, 1905.04899).
    """
    pixels = torch.arange(size, device=side.device) + 0.5
    centre = size * torch.rand(2, len(side), 1, device=side.device)
    rows, columns = (pixels - centre).abs() < 0.5 * size * side[:, None]
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def uniform(batch: int, high: float, device: torch.device) -> Tensor:
    """Draw (B,) uniformly from [-high, high]."""
    return high * (2 * torch.rand(batch, device=device) - 1)


def _affine(batch: int, config: Augmentation, device: torch.device) -> Tensor:
    angle = uniform(batch, math.radians(config.rotation), device)
    mirror = 1 - 2 * torch.randint(2, (batch,), device=device) if config.flip else torch.ones(batch, device=device)
    # A shift by a fraction f of the side is 2 f in affine_grid's coordinates, which run from -1 to 1.
    shift_x, shift_y = uniform(batch, 2 * config.shift, device), uniform(batch, 2 * config.shift, device)
    row_x = torch.stack([mirror * angle.cos(), -angle.sin(), shift_x], -1)
    row_y = torch.stack([mirror * angle.sin(), angle.cos(), shift_y], -1)
    matrices = torch.stack([row_x, row_y], 1)
    if config.zoom:
        matrices[:, :, :2] /= uniform(batch, math.log1p(config.zoom), device).exp()[:, None, None]
    return matrices
