"""The plain residual branch of a ResNet: two full 3 x 3 convolutions with a norm between them (arXiv 1512.03385)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from search_space.bounds import Trial
from search_space.parts.norm import norm_of


def sample(trial: Trial, prefix: str, side: int) -> dict[str, Any]:
    return {}


class Mixer(nn.Module):
    mixes_channels = True
    equivariant = True

    def __init__(self, dim: int, grid: tuple[int, int], *, norm_layer: str = "layer") -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm = norm_of(norm_layer)(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv1(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        out: Tensor = self.conv2(F.gelu(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out
