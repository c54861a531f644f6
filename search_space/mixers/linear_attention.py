"""Global attention at a cost linear in the number of tokens: a kernel in place of the softmax (arXiv 2006.16236).

    out_i = phi(q_i)^T (sum_j phi(k_j) v_j^T) / (phi(q_i)^T sum_j phi(k_j)) + depthwise(v)_i

per head. The kernel is phi(x) = |r| r^3 / |r^3| of r = elu(x) + 1, by element. elu(x) + 1 alone blurs; its cube, of the
same length, turns similar directions together and others apart, as a softmax does (focused attention, arXiv 2308.00442;
its ReLU in place of elu + 1 has no direction where no component is positive). The depth-wise convolution of the values,
of the same paper, restores the rank that the sum over j loses.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.mixers import attention

TINY = 1e-6  # elu(x) + 1 rounds to 0 below -17


sample = attention.sample


def focused(x: Tensor) -> Tensor:
    """phi, along the last axis: the length stays, the direction moves towards the largest components."""
    x = F.elu(x) + 1 + TINY
    cubes = (x / x.detach().amax(dim=-1, keepdim=True)) ** 3  # at least one is 1: none vanishes in the norm
    return x.norm(dim=-1, keepdim=True) * F.normalize(cubes, dim=-1)


class Mixer(nn.Module):
    equivariant = True

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4) -> None:
        super().__init__()
        attention.check_heads(dim, heads)
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.depthwise = nn.Conv2d(dim, dim, 5, padding=2, groups=dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        local = self.depthwise(qkv.chunk(3, dim=-1)[2].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        q, k, v = rearrange(qkv, "b h w (qkv heads d) -> qkv b heads (h w) d", qkv=3, heads=self.heads)
        # Cubes and sums over all tokens overflow in half precision. The meta device has no autocast.
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            q, k, v = focused(q.float()), focused(k.float()), v.float()
            out = (q @ (k.mT @ v)) / (q @ k.sum(dim=2)[..., None])
        out = rearrange(out.to(local.dtype), "b heads (h w) d -> b h w (heads d)", h=x.shape[1])
        mixed: Tensor = self.proj(out + local)
        return mixed
