"""Window attention of Swin V2: cosine attention and a continuous relative bias (Liu et al., arXiv 2111.09883)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.mixers.window import v1
from search_space.parts.relation import relative_index

sample = v1.sample


class ContinuousBias(nn.Module):
    """16 sigmoid(mlp(.)) of the log-spaced offset, by a small network (eq. 4): () -> (heads, N, N)."""

    offsets: Tensor
    index: Tensor

    def __init__(self, size: tuple[int, int], heads: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, heads, bias=False))
        y, x = (torch.arange(1 - side, side) / max(side - 1, 1) * 8 for side in size)
        offsets = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)
        self.register_buffer("offsets", offsets.sign() * (offsets.abs() + 1).log2() / math.log2(8), persistent=False)
        self.register_buffer("index", relative_index(size), persistent=False)

    def forward(self) -> Tensor:
        return (16 * self.mlp(self.offsets).sigmoid()).T[:, self.index]


class Mixer(v1.Mixer):
    """softmax(cos(q, k) / tau + bias) v; each head learns tau, at least 0.01."""

    scale = 1.0

    def __init__(self, dim: int, grid: tuple[int, int], *, index: int = 0, heads: int = 4, size: int = 8) -> None:
        super().__init__(dim, grid, index=index, heads=heads, size=size)
        self.relative = ContinuousBias(self.windows.size, heads)
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10.0)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # As in the paper's code, only q and v have a bias: one of k would shift every key alike.
        channels = x.shape[-1]
        bias = torch.cat([self.qkv.bias[:channels], self.qkv.bias.new_zeros(channels), self.qkv.bias[2 * channels :]])
        qkv = F.linear(x, self.qkv.weight, bias)
        q, k, v = rearrange(qkv, "b w n (qkv heads d) -> qkv b w heads n d", qkv=3, heads=self.heads)
        scale = self.log_scale.clamp(max=math.log(100.0)).exp()
        return F.normalize(q, dim=-1) * scale, F.normalize(k, dim=-1), v
