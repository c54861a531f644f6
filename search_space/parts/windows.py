"""Windows of a grid of tokens, and which tokens may attend to each other inside them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from search_space.errors import ArchitectureError


class Windows:
    """Cut a grid into windows of at most `size` tokens, rolled by half a window with `shift`.

    Other grids than multiples of `size` are padded. Two tokens of the image attend to each other only if they are
    neighbours in it; padding attends to padding.
    """

    def __init__(self, grid: tuple[int, int], size: tuple[int, int], *, shift: bool = False) -> None:
        if min(size) < 1:
            raise ArchitectureError(f"size={size} is not a window, expected at least 1 token a side")
        self.grid = grid
        self.size = (min(size[0], grid[0]), min(size[1], grid[1]))
        self.count = (-(-grid[0] // self.size[0]), -(-grid[1] // self.size[1]))
        self.shift = tuple(s // 2 if shift and n > 1 else 0 for s, n in zip(self.size, self.count, strict=True))
        self.pad = tuple(n * s - g for n, s, g in zip(self.count, self.size, grid, strict=True))

    def mask(self) -> Tensor | None:
        """(windows, tokens, tokens), True where attention is allowed; None if it is allowed everywhere."""
        if not any(self.shift) and not any(self.pad):
            return None
        # 0: in place, 1: rolled round from the other side, 2: padding. Padding attends to padding, so no row is empty.
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
