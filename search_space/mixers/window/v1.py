"""(Shifted) window attention with a table of relative position biases (Swin, Liu et al., arXiv 2103.14030)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick, pick_up_to
from search_space.mixers.attention import HEADS, check_heads
from search_space.parts.relation import RelativeBias
from search_space.parts.windows import Windows

SIZE: Bound = Range(4, 8, 4)


def sample(trial: Trial, prefix: str, side: int, *, heads: Bound = HEADS, size: Bound = SIZE) -> dict[str, Any]:
    chosen = pick_up_to(trial, f"{prefix}.size", size, side)  # a larger window would be clipped to the grid
    return {"heads": pick(trial, f"{prefix}.heads", heads), "size": chosen}


class Mixer(nn.Module):
    allowed: Tensor | None
    scale: float | None = None  # of the logits; None: 1 / sqrt(D)

    def __init__(self, dim: int, grid: tuple[int, int], *, index: int = 0, heads: int = 4, size: int = 8) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.windows = Windows(grid, (size, size), shift=index % 2 == 1)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative: nn.Module = RelativeBias(self.windows.size, heads)
        self.register_buffer("allowed", self.windows.mask(), persistent=False)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, windows, tokens, C) -> q, k, v, each (B, windows, heads, tokens, D)."""
        q, k, v = rearrange(self.qkv(x), "b w n (qkv heads d) -> qkv b w heads n d", qkv=3, heads=self.heads)
        return q, k, v

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(self.windows.split(x))
        shape, bias = q.shape, self.relative()
        if self.allowed is None:
            merged = (0, 1)  # all windows are alike: put them into the batch
        else:
            merged = (1, 2)  # each has its own mask: put them beside the heads, and one bias serves the whole batch
            bias = bias.masked_fill(~self.allowed[:, None], float("-inf")).flatten(0, 1)
        q, k, v = (part.flatten(*merged) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=self.scale).view(shape)
        return self.windows.join(self.proj(rearrange(out, "b w heads n d -> b w n (heads d)")))
