"""Attention along rows plus attention along columns, each with its own queries, keys and values (arXiv 1912.12180)."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.mixers import attention

sample = attention.sample


class Mixer(nn.Module):
    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4) -> None:
        super().__init__()
        attention.check_heads(dim, heads)
        self.heads = heads
        self.rows = nn.Linear(dim, 3 * dim)
        self.columns = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]  # not the batch: a graph may have any number of images
        split = {"qkv": 3, "heads": self.heads}
        q, k, v = rearrange(self.rows(x), "b h w (qkv heads d) -> qkv (b h) heads w d", **split)
        along = rearrange(F.scaled_dot_product_attention(q, k, v), "(b h) heads w d -> b h w (heads d)", h=height)
        q, k, v = rearrange(self.columns(x), "b h w (qkv heads d) -> qkv (b w) heads h d", **split)
        across = rearrange(F.scaled_dot_product_attention(q, k, v), "(b w) heads h d -> b h w (heads d)", w=width)
        out: Tensor = self.proj(along + across)
        return out
