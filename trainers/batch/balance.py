"""Making up for classes of very different size."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.config import TrainConfig


def image_weights(targets: Tensor, classes: int) -> Tensor:
    """Of labels (N,): a weight (N,) for each image, so that all classes have the same in sum, and all images N."""
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (counts.clamp_min(1) * (counts > 0).sum()).float()[targets]


def epoch_order(n: int, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """Which images an epoch trains on, (n,): each once, or drawn with replacement by weight; from torch's generator."""
    if config.balance == "sampling":
        assert weights is not None
        return torch.multinomial(weights.cpu(), n, replacement=True)
    return torch.randperm(n)
