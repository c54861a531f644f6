"""ConvNeXt's branch: a depth-wise filter, a norm and an MLP in one residual (arXiv 2201.03545)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick, pick_up_to
from search_space.mixers.conv.separable import KERNEL, check_kernel
from search_space.parts.norm import norm_of

EXPAND: Bound = Range(2, 4, 2)


def sample(trial: Trial, prefix: str, side: int, *, kernel: Bound = KERNEL, expand: Bound = EXPAND) -> dict[str, Any]:
    return {
        "kernel": pick_up_to(trial, f"{prefix}.kernel", kernel, 2 * side - 1),
        "expand": pick(trial, f"{prefix}.expand", expand),
    }


class Mixer(nn.Module):
    mixes_channels = True
    equivariant = True

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        kernel: int = 7,
        expand: int = 4,
        norm_layer: str = "layer",
    ) -> None:
        super().__init__()
        check_kernel(kernel)
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.norm = norm_of(norm_layer)(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, expand * dim), nn.GELU(), nn.Linear(expand * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mlp(self.norm(self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))
        return out
