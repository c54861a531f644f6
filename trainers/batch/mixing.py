"""Mixup and CutMix: every image takes something of another one of its batch, and as much of its target."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.batch.augment import boxes
from trainers.config import Augmentation


def mix(images: Tensor, config: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, C, H, W) mixed with others of the batch, the places (B,) of those, and the weights (B,) of their own.

    Mixup (arXiv 1710.09412) adds w x_i + (1 - w) x_j; CutMix (arXiv 1905.04899) pastes a square of x_j with 1 - w of
    the area into x_i, w being counted in pixels afterwards. w ~ Beta(strength, strength), for every image by itself.
    With both, each image is mixed by the one or the other with equal chance.
    """
    batch, device = len(images), images.device
    partner = torch.randperm(batch, device=device)
    cut = torch.rand(batch, device=device) < 0.5 * (1 + (not config.mixup) - (not config.cutmix))
    blend = torch.ones(batch, device=device)
    area = torch.zeros(batch, device=device)
    if config.mixup:
        blend = torch.where(cut, blend, beta(config.mixup, batch, device))
    if config.cutmix:
        area = torch.where(cut, 1 - beta(config.cutmix, batch, device), area)
    # What is blended has no square and what is pasted is not blended, so one line serves both.
    own = blend[:, None, None, None] * ~boxes(area.sqrt(), images.shape[-1])
    mixed = own * images + (1 - own) * images[partner]
    return mixed, partner, own.mean((1, 2, 3))


def beta(strength: float, batch: int, device: torch.device) -> Tensor:
    concentration = torch.tensor(strength, device=device)
    return torch.distributions.Beta(concentration, concentration).sample((batch,))
