"""From tokens to one vector per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class AttentionPool(nn.Module):
    """One learnt query attends over the grid (arXiv 1810.00825): (B, H, W, C) -> (B, C)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.heads = dim // 32 if dim % 32 == 0 else 1
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=dim**-0.5))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q = rearrange(self.q(self.query), "1 n (heads d) -> 1 heads n d", heads=self.heads)
        q = q.expand(x.shape[0], -1, -1, -1)
        k, v = rearrange(self.kv(x), "b h w (kv heads d) -> kv b heads (h w) d", kv=2, heads=self.heads)
        out: Tensor = self.proj(rearrange(F.scaled_dot_product_attention(q, k, v), "b heads 1 d -> b (heads d)"))
        return out
