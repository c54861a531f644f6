"""Global attention with an anisotropic Gaussian bias, learnt per head.

For tokens i, j at p_i, p_j and d = p_j - p_i, in units of half the grid's side:

    softmax_j(q_i . k_j / sqrt(D) - 1/2 (d - mu)^T S^-1 (d - mu)),   S^-1 = L L^T,   L = [[exp a, 0], [b, exp c]]

starting at a = b = c = 0, mu = 0: isotropic, and as wide as half the image. A class token has no bias.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...bounds import Bound, Trial
from .. import attention


def sample(trial: Trial, prefix: str, side: int, *, heads: Bound = attention.HEADS) -> dict[str, Any]:
    return attention.sample(trial, prefix, side, heads=heads)


class Mixer(attention.Mixer):
    takes_relation = False
    dy: Tensor
    dx: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], *, index: int = 0, heads: int = 4) -> None:
        super().__init__(dim, grid, index=index, heads=heads)
        self.log_diagonal = nn.Parameter(torch.zeros(2, heads))  # a, c
        self.shear = nn.Parameter(torch.zeros(heads))  # b
        self.centre = nn.Parameter(torch.zeros(2, heads))  # mu: (y, x)
        unit = max(grid) / 2
        for name, side in (("dy", grid[0]), ("dx", grid[1])):
            p = torch.arange(side) / unit
            self.register_buffer(name, p[None, :] - p[:, None], persistent=False)

    def bias(self) -> Tensor:
        """(heads, N, N), rows are queries."""
        exp_a, exp_c = self.log_diagonal.exp()[..., None, None]
        y = self.dy - self.centre[0, :, None, None]  # (heads, H, H)
        x = self.dx - self.centre[1, :, None, None]  # (heads, W, W)
        # z = L^T (d - mu), then z . z; axes are (heads, y_i, x_i, y_j, x_j).
        first = (exp_a * y)[:, :, None, :, None] + (self.shear[:, None, None] * x)[:, None, :, None, :]
        second = (exp_c * x)[:, None, :, None, :]
        bias = -0.5 * (first.square() + second.square())
        return bias.flatten(3, 4).flatten(1, 2)
