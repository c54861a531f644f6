"""(Shifted) window attention with a table of relative position biases (Swin, Liu et al., arXiv 2103.14030)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ...bounds import Bound, Range, Trial, pick, values
from ...relation import RelativeBias
from ..attention import HEADS, check_heads

SIZE: Bound = Range(4, 8, 4)


def sample(trial: Trial, prefix: str, side: int, *, heads: Bound = HEADS, size: Bound = SIZE) -> dict[str, Any]:
    # A window is clipped to the grid: where every size covers it they are all the same.
    smallest = min(values(size))
    chosen = smallest if smallest >= side else pick(trial, f"{prefix}.size", size)
    return {"heads": pick(trial, f"{prefix}.heads", heads), "size": chosen}


class Windows:
    """Cuts a grid into windows of at most size x size tokens, rolled by half a window where `shift`.

    Grids that are no multiple are padded. Tokens see each other only where they are neighbours in the image and
    both real: `mask` is (windows, tokens, tokens), True where attention is allowed, None where it always is.
    """

    def __init__(self, grid: tuple[int, int], size: int, *, shift: bool) -> None:
        if size < 1:
            raise ValueError(f"size={size} is no window, expected at least 1 token")
        self.grid = grid
        self.size = (min(size, grid[0]), min(size, grid[1]))
        self.count = (-(-grid[0] // self.size[0]), -(-grid[1] // self.size[1]))
        self.shift = tuple(s // 2 if shift and n > 1 else 0 for s, n in zip(self.size, self.count, strict=True))
        self.pad = tuple(n * s - g for n, s, g in zip(self.count, self.size, grid, strict=True))

    def mask(self) -> Tensor | None:
        if not any(self.shift) and not any(self.pad):
            return None
        # 0: in its place, 1: rolled round from the other side, 2: padding; padding sees padding, so no row is empty.
        rows, columns = (
            torch.tensor([0] * (side - shift) + [1] * shift + [2] * pad)
            for side, shift, pad in zip(self.grid, self.shift, self.pad, strict=True)
        )
        region = self.cut((3 * rows[:, None] + columns)[None, :, :, None])[0, ..., 0]
        return region[:, :, None] == region[:, None, :]

    def cut(self, x: Tensor) -> Tensor:
        """(B, H', W', C), padded to whole windows -> (B, windows, tokens, C)."""
        (m, n), (p, q) = self.count, self.size
        return rearrange(x, "b (m p) (n q) c -> b (m n) (p q) c", m=m, n=n, p=p, q=q)

    def split(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, windows, tokens, C)."""
        if any(self.shift):
            x = torch.roll(x, (-self.shift[0], -self.shift[1]), dims=(1, 2))
        if any(self.pad):
            x = F.pad(x, (0, 0, 0, self.pad[1], 0, self.pad[0]))
        return self.cut(x)

    def join(self, windows: Tensor) -> Tensor:
        """The inverse of `split`."""
        (m, n), (p, q) = self.count, self.size
        x = rearrange(windows, "b (m n) (p q) c -> b (m p) (n q) c", m=m, n=n, p=p, q=q)
        if any(self.pad):
            x = x[:, : self.grid[0], : self.grid[1]]
        return torch.roll(x, self.shift, dims=(1, 2)) if any(self.shift) else x


class Mixer(nn.Module):
    takes_token = False
    allowed: Tensor | None

    def __init__(self, dim: int, grid: tuple[int, int], *, index: int = 0, heads: int = 4, size: int = 8) -> None:
        super().__init__()
        check_heads(dim, heads)
        self.heads = heads
        self.windows = Windows(grid, size, shift=index % 2 == 1)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative = RelativeBias(self.windows.size, heads)
        self.register_buffer("allowed", self.windows.mask(), persistent=False)

    def bias(self) -> Tensor:
        """(1, windows * heads, tokens, tokens), or windows = 1 where all are alike and broadcast."""
        bias: Tensor = self.relative()
        if self.allowed is None:
            return bias.repeat(self.windows.count[0] * self.windows.count[1], 1, 1)[None]
        bias = bias.masked_fill(~self.allowed[:, None], float("-inf"))
        return bias.flatten(0, 1)[None]

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.windows.split(x))
        # Windows stand beside the heads, so that one bias serves the whole batch.
        q, k, v = rearrange(qkv, "b w n (qkv heads d) -> qkv b (w heads) n d", qkv=3, heads=self.heads)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias())
        out = self.proj(rearrange(out, "b (w heads) n d -> b w n (heads d)", heads=self.heads))
        return self.windows.join(out)
