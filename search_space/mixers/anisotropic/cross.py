"""Cross-shaped windows: horizontal stripes for half the heads, vertical ones for the rest (CSWin, arXiv 2107.00652)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick, pick_up_to
from search_space.errors import ArchitectureError
from search_space.mixers import attention
from search_space.parts.windows import Windows

STRIPE: Bound = Range(1, 3)


def sample(
    trial: Trial, prefix: str, side: int, *, heads: Bound = attention.HEADS, stripe: Bound = STRIPE
) -> dict[str, Any]:
    chosen = pick(trial, f"{prefix}.heads", heads)
    return {"heads": chosen, "stripe": pick_up_to(trial, f"{prefix}.stripe", stripe, side)}


class Stripes(nn.Module):
    """Attention within windows of `size`, on channels that already are queries, keys and values."""

    allowed: Tensor | None

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.windows = Windows(grid, size)
        mask = self.windows.mask()
        mask = None if mask is None else mask.repeat_interleave(heads, dim=0)[None]  # windows lie beside the heads
        self.register_buffer("allowed", mask, persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        """(B, H, W, 3 C) -> (B, H, W, C)."""
        windows = self.windows.split(qkv)
        q, k, v = rearrange(windows, "b w n (qkv heads d) -> qkv b (w heads) n d", qkv=3, heads=self.heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.allowed)
        return self.windows.join(rearrange(out, "b (w heads) n d -> b w n (heads d)", heads=self.heads))


class Mixer(nn.Module):
    """`heads` in each direction, on half the channels. A depth-wise 3 x 3 convolution of v encodes position (LePE)."""

    parts = 2

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4, stripe: int = 2) -> None:
        super().__init__()
        if dim % 2:
            raise ArchitectureError(f"width {dim} cannot be halved for two directions: use an even width")
        attention.check_heads(dim // 2, heads)
        self.horizontal = nn.Linear(dim, 3 * dim // 2)
        self.vertical = nn.Linear(dim, 3 * dim // 2)
        self.rows = Stripes(grid, (stripe, grid[1]), heads)
        self.columns = Stripes(grid, (grid[0], stripe), heads)
        self.position = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        horizontal, vertical = self.horizontal(x), self.vertical(x)
        v = torch.cat([horizontal.chunk(3, dim=-1)[2], vertical.chunk(3, dim=-1)[2]], dim=-1)
        mixed = torch.cat([self.rows(horizontal), self.columns(vertical)], dim=-1)
        out: Tensor = self.proj(mixed + self.position(v.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return out
