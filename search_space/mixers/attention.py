"""Global multi-head self-attention over all tokens (Vaswani et al., arXiv 1706.03762; ViT, arXiv 2010.11929)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.bounds import Bound, Trial, pick
from search_space.errors import ArchitectureError

HEADS: Bound = (1, 2, 4, 8)


def sample(trial: Trial, prefix: str, side: int, *, heads: Bound = HEADS) -> dict[str, Any]:
    return {"heads": pick(trial, f"{prefix}.heads", heads)}


def check_heads(dim: int, heads: int) -> None:
    """Raise ArchitectureError unless `dim` channels can be split into `heads`."""
    if heads < 1 or dim % heads:
        raise ArchitectureError(f"heads={heads} does not divide width {dim}: choose another number of heads or width")


class Mixer(nn.Module):
    """softmax(q k^T / sqrt(D) + bias) v per head; a network may add a relative bias or rotate q, k (relation.py)."""

    takes_token = True
    takes_relation = True
    equivariant = True

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.dim, self.heads = dim, heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative: nn.Module | None = None
        self.rotary: nn.Module | None = None

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend; inputs are (B, heads, N, D), or N + 1 tokens if a class token, without position or bias, is first."""
        if self.rotary is not None:
            q, k = self.rotary(q), self.rotary(k)
        bias = None if self.relative is None else self.relative()
        if bias is not None and q.shape[2] > bias.shape[1]:
            bias = F.pad(bias, (1, 0, 1, 0))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias[None])

    def forward(self, x: Tensor, token: Tensor | None = None) -> Any:
        """Map x (B, H, W, C), or x and a class token (B, 1, C) that attend jointly, to the same shapes."""
        tokens = x.flatten(1, 2) if token is None else torch.cat([token, x.flatten(1, 2)], dim=1)
        q, k, v = rearrange(self.qkv(tokens), "b n (qkv heads d) -> qkv b heads n d", qkv=3, heads=self.heads)
        out = self.proj(rearrange(self.attend(q, k, v), "b heads n d -> b n (heads d)"))
        if token is None:
            return out.view(x.shape)
        return out[:, 1:].reshape(x.shape), out[:, :1]
