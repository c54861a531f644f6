"""Absolute position embeddings, added to the tokens (B, H, W, C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def sincos(position: Tensor, dim: int) -> Tensor:
    """sin(p w_k), then cos(p w_k), w_k = 10000^(-2k/dim), k < dim/2 (arXiv 1706.03762): (N,) -> (N, dim)."""
    if dim % 2:
        raise ValueError(f"width {dim} does not pair sines with cosines: use a multiple of 4 or another position")
    frequency = 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    angle = position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def fixed_1d(grid: tuple[int, int], dim: int) -> Tensor:
    """Sines and cosines of the token's place in the flattened sequence: (H, W, dim)."""
    return sincos(torch.arange(grid[0] * grid[1]), dim).view(*grid, dim)


def fixed_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Half the channels from the row, half from the column: (H, W, dim)."""
    if dim % 4:
        raise ValueError(f"width {dim} is no multiple of 4, as position='fixed_2d' needs: choose another width")
    rows, columns = (sincos(torch.arange(side), dim // 2) for side in grid)
    return torch.cat([rows[:, None].expand(*grid, -1), columns[None].expand(*grid, -1)], dim=2)


class Fixed(nn.Module):
    table: Tensor

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class Learnable(nn.Module):
    """One vector per token."""

    def __init__(self, grid: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(*grid, dim), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


def build_position(kind: str, grid: tuple[int, int], dim: int) -> nn.Module:
    match kind:
        case "none":
            return nn.Identity()
        case "fixed_1d":
            return Fixed(fixed_1d(grid, dim))
        case "fixed_2d":
            return Fixed(fixed_2d(grid, dim))
        case "learnable":
            return Learnable(grid, dim)
    raise ValueError(f"unknown position {kind!r}")
