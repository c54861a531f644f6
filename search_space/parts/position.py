"""Absolute position embeddings, added to the tokens (B, H, W, C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.architecture import ABSOLUTE
from search_space.errors import ArchitectureError


def sincos(position: Tensor, dim: int) -> Tensor:
    """sin(p w_k), then cos(p w_k), with w_k = 10000^(-2k/dim), k < dim/2 (arXiv 1706.03762): (N,) -> (N, dim)."""
    if dim % 2:
        raise ArchitectureError(f"width {dim} cannot pair sines with cosines: use a multiple of 4 or another position")
    frequency = 10000.0 ** (-torch.arange(0, dim, 2) / dim)
    angle = position[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def fixed_1d(grid: tuple[int, int], dim: int) -> Tensor:
    """Sines and cosines of the token's place in the flattened sequence: (H, W, dim)."""
    return sincos(torch.arange(grid[0] * grid[1]), dim).view(*grid, dim)


def fixed_2d(grid: tuple[int, int], dim: int) -> Tensor:
    """Half the channels encode the row, half the column: (H, W, dim)."""
    if dim % 4:
        raise ArchitectureError(
            f"width {dim} is not a multiple of 4, which position='fixed_2d' needs: choose another width"
        )
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
    """One vector per token (ViT)."""

    def __init__(self, grid: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.table = nn.Parameter(nn.init.trunc_normal_(torch.empty(*grid, dim), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class Learnable2d(nn.Module):
    """One vector per row plus one per column."""

    def __init__(self, grid: tuple[int, int], dim: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(nn.init.trunc_normal_(torch.empty(grid[0], 1, dim), std=0.02))
        self.columns = nn.Parameter(nn.init.trunc_normal_(torch.empty(grid[1], dim), std=0.02))

    def forward(self, x: Tensor) -> Tensor:
        return x + (self.rows + self.columns)


class Conditional(nn.Module):
    """A depth-wise 3 x 3 convolution: its zero padding reveals the edges (CPVT, arXiv 2102.10882)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def build_position(kind: str, grid: tuple[int, int], dim: int) -> nn.Module:
    """Build a module that adds an absolute embedding to tokens (B, H, W, dim)."""
    match kind:
        case "none":
            return nn.Identity()
        case "fixed_1d":
            return Fixed(fixed_1d(grid, dim))
        case "fixed_2d":
            return Fixed(fixed_2d(grid, dim))
        case "learnable":
            return Learnable(grid, dim)
        case "learnable_2d":
            return Learnable2d(grid, dim)
        case "conditional":
            return Conditional(dim)
    raise ArchitectureError(f"unknown position {kind!r}, expected one of: {', '.join(ABSOLUTE)}")
