"""ResMLP: one linear map across patches, with affine maps in place of norms (arXiv 2105.03404)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_space.bounds import Trial


def sample(trial: Trial, prefix: str, side: int) -> dict[str, Any]:
    return {}


class Affine(nn.Module):
    """alpha x + beta, per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(dim))
        self.beta = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.beta, self.alpha, x)


class Mixer(nn.Module):
    Norm = Affine

    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        tokens = grid[0] * grid[1]
        self.across = nn.Linear(tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        out = self.across(x.flatten(1, 2).transpose(1, 2))
        return out.transpose(1, 2).unflatten(1, x.shape[1:3])
