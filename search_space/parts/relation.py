"""Position inside attention: a bias on the logits of two tokens, or a rotation of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.errors import ArchitectureError

ROTATED = 4  # channels that turn together: a pair for the row, and one for the column


def relative_index(grid: tuple[int, int]) -> Tensor:
    """The place of each offset, of key (column) from query (row), in a table of (2H-1)(2W-1) offsets: (N, N)."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    dy = rows[:, None] - rows + grid[0] - 1
    dx = columns[:, None] - columns + grid[1] - 1
    return dy * (2 * grid[1] - 1) + dx


class RelativeBias(nn.Module):
    """A learnt number per head and offset (Swin, arXiv 2103.14030): () -> (heads, N, N)."""

    index: Tensor

    def __init__(self, grid: tuple[int, int], heads: int) -> None:
        super().__init__()
        table = torch.empty(heads, (2 * grid[0] - 1) * (2 * grid[1] - 1))
        self.table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("index", relative_index(grid), persistent=False)

    def forward(self) -> Tensor:
        return self.table[:, self.index]


class Rotary(nn.Module):
    """Rotate channel pairs by angles proportional to the row (first half) and the column (arXiv 2403.13298, axial).

    q . k then depends only on the relative position of two tokens. Leading tokens beyond the grid's are left alone.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, grid: tuple[int, int], head_dim: int) -> None:
        super().__init__()
        if head_dim % ROTATED:
            raise ArchitectureError(
                f"position='rotary' needs a multiple of {ROTATED} channels per head, not {head_dim}: use fewer heads"
            )
        # Base 100, not 10000: grids are tens of tokens long, not thousands.
        frequency = 100.0 ** (-torch.arange(0, head_dim, ROTATED) / head_dim)
        row = torch.arange(grid[0])[:, None, None] * frequency
        column = torch.arange(grid[1])[None, :, None] * frequency
        angle = torch.cat([row.expand(*grid, -1), column.expand(*grid, -1)], dim=-1).flatten(0, 1)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Rotate (B, heads, N, D); channel c is paired with c + D/2."""
        tokens = len(self.cos)
        first, second = x[:, :, -tokens:].chunk(2, dim=-1)
        turned = torch.cat([first * self.cos - second * self.sin, first * self.sin + second * self.cos], dim=-1)
        return torch.cat([x[:, :, :-tokens], turned], dim=2) if x.shape[2] > tokens else turned
