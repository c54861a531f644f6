"""The gated CNN block: one half of the channels gates the other, a part of which is filtered first.

    g, i, c = split(W_1 x),   out = W_2 (GELU(g) * concat(i, depthwise(c)))

After MambaOut (arXiv 2405.07992), which is Mamba without its state space model; the gate is that of arXiv 1612.08083.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.errors import ArchitectureError
from search_space.mixers.conv import convnext
from search_space.mixers.conv.separable import check_kernel

sample = convnext.sample


class Mixer(nn.Module):
    """g has expand x C channels, as i and c together; c has C. MambaOut's expand is 8/3."""

    mixes_channels = True
    equivariant = True

    def __init__(self, dim: int, grid: tuple[int, int], *, kernel: int = 7, expand: int = 2) -> None:
        super().__init__()
        check_kernel(kernel)
        if expand < 1:
            raise ArchitectureError(f"expand={expand} leaves no channel to filter, expected at least 1")
        self.parts = (expand * dim, (expand - 1) * dim, dim)
        self.up = nn.Linear(dim, sum(self.parts))
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.down = nn.Linear(expand * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, plain, filtered = self.up(x).split(self.parts, dim=-1)
        filtered = self.depthwise(filtered.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = self.down(F.gelu(gate) * torch.cat([plain, filtered], dim=-1))
        return out
