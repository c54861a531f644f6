"""The metaformer block: a token mixer, then an MLP, each residual (arXiv 2111.11418)."""

from __future__ import annotations

from collections.abc import Callable

from timm.layers import DropPath, LayerScale
from torch import Tensor, nn

from search_space.parts.norm import norm_of

Branch = Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


class Block(nn.Module):
    """x + drop(scale(mixer(norm(x)))), then the same with an MLP, unless the mixer mixes channels as well.

    `norm` says where the norm stands. A class token (B, 1, C) accompanies the grid (B, H, W, C), and is mixed if the
    mixer takes one.
    """

    def __init__(
        self,
        dim: int,
        mixer: nn.Module,
        *,
        mlp_ratio: float,
        norm: str = "pre",
        norm_layer: str = "layer",
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.order = norm
        self.drop_path = DropPath(drop_path)
        self.mixer = mixer
        Norm = getattr(mixer, "Norm", norm_of(norm_layer))
        self.norm1 = Norm(dim)
        self.scale1 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()
        self.has_mlp = not getattr(mixer, "mixes_channels", False)
        if self.has_mlp:
            hidden = int(mlp_ratio * dim)
            self.norm2 = Norm(dim)
            self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
            self.scale2 = LayerScale(dim, layer_scale) if layer_scale else nn.Identity()

    def forward(self, x: Tensor, token: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        x, token = self.residual(x, token, self.mix, self.norm1, self.scale1)
        if not self.has_mlp:
            return x, token
        return self.residual(x, token, self.each, self.norm2, self.scale2)

    def mix(self, x: Tensor, token: Tensor | None) -> tuple[Tensor, Tensor | None]:
        if token is None or not getattr(self.mixer, "takes_token", False):
            return self.mixer(x), None
        mixed: tuple[Tensor, Tensor] = self.mixer(x, token)
        return mixed

    def each(self, x: Tensor, token: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return self.mlp(x), None if token is None else self.mlp(token)

    def residual(
        self, x: Tensor, token: Tensor | None, branch: Branch, norm: nn.Module, scale: nn.Module
    ) -> tuple[Tensor, Tensor | None]:
        pre, post, res_post = (self.order == order for order in ("pre", "post", "res_post"))
        out, token_out = branch(norm(x) if pre else x, norm(token) if pre and token is not None else token)
        out = scale(norm(out) if res_post else out)
        if token is None or token_out is None:  # a token that the branch does not mix stays as it is
            x = x + self.drop_path(out)
            return norm(x) if post else x, token
        token_out = scale(norm(token_out) if res_post else token_out)
        if self.training and self.drop_path.drop_prob > 0:
            # One draw per image: the branch of an image is dropped as a whole, its token's with it.
            keep = self.drop_path(token.new_ones(len(token), 1, 1))
            out, token_out = keep[..., None] * out, keep * token_out
        x, token = x + out, token + token_out
        return (norm(x), norm(token)) if post else (x, token)
