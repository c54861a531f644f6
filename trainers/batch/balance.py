"""Compensate for classes of very different size."""

from __future__ import annotations

import torch
from torch import Tensor

from trainers.config import TrainConfig


def image_weights(targets: Tensor, classes: int) -> Tensor:
    """Return a weight (N,) for each of the labels (N,): every class has the same sum, and all images together N."""
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (counts.clamp_min(1) * (counts > 0).sum()).float()[targets]


def epoch_order(n: int, weights: Tensor | None, config: TrainConfig) -> Tensor:
    """The images of one epoch, (n,), drawn from torch's generator: each once, or with replacement by weight."""
    if config.balance == "sampling":
        assert weights is not None
        return torch.multinomial(weights.cpu(), n, replacement=True)
    return torch.randperm(n)
