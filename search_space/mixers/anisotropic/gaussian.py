"""Global attention with an anisotropic Gaussian bias that each head learns.

For tokens i, j at p_i, p_j and d = p_j - p_i = (x, y), in units of half the grid's side:

    softmax_j(q_i . k_j / sqrt(D) - 1/2 (d - mu)^T S^-1 (d - mu)),   S^-1 = L L^T,   L = [[exp a, 0], [b, exp c]]

a, b, c and mu start at 0: isotropic, and as wide as half the image. A class token has no bias.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.mixers import attention

sample = attention.sample


class Mixer(attention.Mixer):
    takes_relation = False
    equivariant = False
    place: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4) -> None:
        super().__init__(dim, grid, heads=heads)
        self.log_diagonal = nn.Parameter(torch.zeros(heads, 2))  # a, c
        self.shear = nn.Parameter(torch.zeros(heads))  # b
        self.centre = nn.Parameter(torch.zeros(heads, 2))  # mu
        y, x = ((torch.arange(side) - (side - 1) / 2) / (max(grid) / 2) for side in grid)
        place = torch.stack([x.expand(grid), y[:, None].expand(grid)], dim=-1).flatten(0, 1)
        self.register_buffer("place", place, persistent=False)  # (N, 2), from the middle of the image

    def precision(self) -> Tensor:
        """S^-1 = L L^T, (heads, 2, 2)."""
        (a, c), b = self.log_diagonal.T, self.shear
        return torch.stack([(2 * a).exp(), a.exp() * b, a.exp() * b, b**2 + (2 * c).exp()], dim=-1).view(-1, 2, 2)

    def gaussians(self) -> tuple[Tensor, Tensor]:
        """The precision matrix, (heads, N or 1, 2, 2), and the peak, (heads, N, 2), of each head and query."""
        return self.precision()[:, None], self.place + self.centre[:, None]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Factor the bias, a quadratic form in p_j and so of rank six: left (heads, N, 6) and right (N, 6).

        bias_ij = left_i . right_j
        """
        precision, peak = self.gaussians()
        pull = (precision @ peak[..., None])[..., 0]
        level = (pull * peak).sum(-1)
        quadratic = torch.stack([precision[..., 0, 0], 2 * precision[..., 0, 1], precision[..., 1, 1]], dim=-1)
        left = [-0.5 * quadratic.expand(-1, len(self.place), -1), pull, -0.5 * level[..., None]]
        x, y = self.place.T
        return torch.cat(left, dim=-1), torch.stack([x * x, x * y, y * y, x, y, torch.ones_like(x)], dim=-1)

    def bias(self) -> Tensor:
        """The bias, (heads, N, N); rows are queries."""
        left, right = self.factors()
        return left @ right.T

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        # Six more channels of q and k carry the bias without a (heads, N, N) mask: half the time, and linear memory.
        batch, heads, tokens, dim = q.shape
        left, right = self.factors()
        missing = tokens - len(right)  # zeros for a class token
        left = F.pad(left * dim**0.5, (0, 0, missing, 0)).expand(batch, -1, -1, -1)
        right = F.pad(right, (0, 0, missing, 0)).expand(batch, heads, -1, -1)
        # Half precision would blur narrow Gaussians. The meta device has no autocast.
        with nullcontext() if q.is_meta else torch.autocast(q.device.type, enabled=False):
            q, k = torch.cat([q.float(), left.float()], dim=-1), torch.cat([k.float(), right.float()], dim=-1)
            # Padded: the fused kernels need values as wide as queries.
            out = F.scaled_dot_product_attention(q, k, F.pad(v.float(), (0, 6)), scale=dim**-0.5)
        return out[..., :dim].to(v.dtype)

    def ellipse(self) -> tuple[Tensor, Tensor]:
        """Ellipticity (1 - q)/(1 + q), with q = minor/major axis, and angle of the major axis in [0, pi), of each head.

        The angle runs from the first component of d (x, along a row) to the second (y, down the rows).
        """
        curvature, axes = torch.linalg.eigh(self.precision().detach())  # ascending: the first axis is the longest
        ratio = (curvature[:, 0] / curvature[:, 1]).sqrt()
        angle = torch.atan2(axes[:, 1, 0], axes[:, 0, 0]) % torch.pi
        return (1 - ratio) / (1 + ratio), angle
