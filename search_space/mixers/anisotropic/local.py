"""Graph attention over k x k neighbours, aware of the edge's direction (GATv2, arXiv 1710.10903, 2105.14491).

    e_ij = a . LeakyReLU(W_s x_i + W_t x_j + W_e phi(d)),   out_i = sum_j softmax_j(e_ij) W_t x_j

per head, over the neighbours j inside the image, with phi(d) = (x/|d|, y/|d|, |d|/radius), 0 for the token itself.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick
from search_space.errors import ArchitectureError
from search_space.mixers import attention

KERNEL: Bound = Range(3, 5, 2)


def sample(
    trial: Trial, prefix: str, side: int, *, heads: Bound = attention.HEADS, kernel: Bound = KERNEL
) -> dict[str, Any]:
    return {"heads": pick(trial, f"{prefix}.heads", heads), "kernel": pick(trial, f"{prefix}.kernel", kernel)}


class Mixer(nn.Module):
    direction: Tensor
    outside: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4, kernel: int = 3) -> None:
        super().__init__()
        attention.check_heads(dim, heads)
        if kernel < 3 or kernel % 2 == 0:
            raise ArchitectureError(
                f"kernel={kernel} has no neighbours or no centre, expected an odd number of at least 3"
            )
        self.heads, self.kernel = heads, kernel
        self.source = nn.Linear(dim, dim)
        self.target = nn.Linear(dim, dim, bias=False)
        self.edge = nn.Linear(3, dim, bias=False)
        self.a = nn.Parameter(nn.init.normal_(torch.empty(heads, dim // heads), std=(heads / dim) ** 0.5))
        self.proj = nn.Linear(dim, dim)

        radius = kernel // 2
        y, x = torch.meshgrid(*[torch.arange(-radius, radius + 1).float()] * 2, indexing="ij")
        length = torch.hypot(x, y)
        unit = length.clamp(min=1)
        phi = torch.stack([x / unit, y / unit, length / radius], dim=-1).flatten(0, 1)
        self.register_buffer("direction", phi, persistent=False)  # (k*k, 3)
        inside = F.pad(torch.ones(grid), (radius,) * 4)
        outside = torch.stack([inside[i : i + grid[0], j : j + grid[1]] == 0 for i, j in self.offsets()])
        self.register_buffer("outside", outside, persistent=False)  # (k*k, H, W)

    def offsets(self) -> list[tuple[int, int]]:
        """Where the window of each neighbour starts in the padded grid."""
        return [(i, j) for i in range(self.kernel) for j in range(self.kernel)]

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        source, target, edge = self.source(x), self.target(x), self.edge(self.direction)
        padded = F.pad(target, (0, 0, *(self.kernel // 2,) * 4))
        neighbours = [padded[:, i : i + height, j : j + width] for i, j in self.offsets()]
        logits = torch.stack(
            [
                torch.einsum(
                    "bhwnd,nd->bhwn", self.split(F.leaky_relu(source + near + along, 0.2, inplace=True)), self.a
                )
                for near, along in zip(neighbours, edge, strict=True)
            ]
        )
        weights = logits.masked_fill(self.outside[:, None, ..., None], float("-inf")).softmax(dim=0)
        out = sum(weight[..., None] * self.split(near) for weight, near in zip(weights, neighbours, strict=True))
        result: Tensor = self.proj(out.flatten(-2))
        return result

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1))
