"""A learnt filter per frequency and channel: a circular convolution as large as the grid (GFNet, arXiv 2107.00645)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_space.bounds import Trial


def sample(trial: Trial, prefix: str, side: int) -> dict[str, Any]:
    return {}


class Mixer(nn.Module):
    def __init__(self, dim: int, grid: tuple[int, int]) -> None:
        super().__init__()
        # Real and imaginary parts on the last axis: optimisers, weight files and weight averages prefer real numbers.
        self.filter = nn.Parameter(torch.randn(grid[0], grid[1] // 2 + 1, dim, 2) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x.float(), dim=(1, 2), norm="ortho") * torch.view_as_complex(self.filter.float())
        return torch.fft.irfft2(spectrum, s=x.shape[1:3], dim=(1, 2), norm="ortho").to(x.dtype)
