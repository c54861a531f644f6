"""Mixup and CutMix: every image takes a part of another image of its batch, and the same part of its target."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.batch.augment import boxes
from trainers.config import Augmentation

WeightedTargets = list[tuple[Tensor, Tensor | None]]
"""Targets (B,) and their weights (B,) in the loss; None weighs all alike."""


def mix_batch(
    images: Tensor, targets: Tensor, weights: Tensor | None, config: Augmentation
) -> tuple[Tensor, WeightedTargets]:
    """Mix a batch of images (B, C, H, W); return them with the weighted targets whose losses add up to theirs.

    `weights` (B,) are the images' own. A batch that is not mixed keeps its single target.
    """
    if not config.mixes:
        return images, [(targets, weights)]
    images, partner, own = mix(images, config)
    others = 1 - own
    if weights is not None:
        own, others = own * weights, others * weights[partner]
    return images, [(targets, own), (targets[partner], others)]


def mix(images: Tensor, config: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Mix images (B, C, H, W); return them, the index (B,) of each one's partner, and the weight (B,) of its own part.

    Mixup (arXiv 1710.09412) returns w x_i + (1 - w) x_j. CutMix (arXiv 1905.04899) pastes a square of x_j with the
    fraction 1 - w of the area into x_i, and w is then counted in pixels. Each image draws its own
    w ~ Beta(strength, strength). If both are on, each image is mixed by one or the other with equal probability.
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
    # A blended image has an empty square and a pasted one has blend 1, so one line serves both.
    own = blend[:, None, None, None] * ~boxes(area.sqrt(), images.shape[-1])
    mixed = own * images + (1 - own) * images[partner]
    return mixed, partner, own.mean((1, 2, 3))


def beta(strength: float, batch: int, device: torch.device) -> Tensor:
    """Draw (B,) from Beta(strength, strength)."""
    concentration = torch.full((), strength, device=device)
    # Neither a copy to the device nor a check of what is there: both would make the processor wait in every step.
    return torch.distributions.Beta(concentration, concentration, validate_args=False).sample((batch,))
