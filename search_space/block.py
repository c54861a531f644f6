"""The metaformer block: a token mixer and an MLP, each pre-normed and residual (arXiv 2111.11418)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from timm.layers import DropPath
from torch import Tensor, nn

from . import mixers


class Block(nn.Module):
    """x + drop(mixer(norm(x))), then x + drop(mlp(norm(x))); a class token goes along, mixed where the mixer can."""

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        mixer: str,
        options: Mapping[str, Any],
        index: int,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.mixer = mixers.build(mixer, dim, grid, index=index, options=options)
        self.norm2 = nn.LayerNorm(dim)
        hidden = int(mlp_ratio * dim)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, token: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if token is None:
            x = self.add(x, self.mixer(self.norm1(x)))
            return self.add(x, self.mlp(self.norm2(x))), None
        if self.mixer.takes_token:
            mixed, mixed_token = self.mixer(self.norm1(x), self.norm1(token))
            x, token = self.add_both(x, mixed, token, mixed_token)
        else:
            x = self.add(x, self.mixer(self.norm1(x)))
        return self.add_both(x, self.mlp(self.norm2(x)), token, self.mlp(self.norm2(token)))

    def add(self, x: Tensor, branch: Tensor) -> Tensor:
        return x + self.drop_path(branch)

    def add_both(self, x: Tensor, branch: Tensor, token: Tensor, token_branch: Tensor) -> tuple[Tensor, Tensor]:
        if not self.training or self.drop_path.drop_prob == 0:
            return x + branch, token + token_branch
        # One draw per image: the whole branch of a sample is dropped, its token's too.
        keep = self.drop_path(token.new_ones(len(token), 1, 1))
        return x + keep[..., None] * branch, token + keep * token_branch
