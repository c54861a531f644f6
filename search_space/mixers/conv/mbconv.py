"""MBConv: expand, filter each channel, squeeze and excite, project (MobileNetV2, EfficientNet: arXiv 1905.11946)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from search_space.mixers.conv import convnext
from search_space.mixers.conv.separable import check_kernel
from search_space.parts.norm import norm_of

sample = convnext.sample


class Mixer(nn.Module):
    """MBConv with norms of the architecture's `norm_layer`; the papers use batch norms."""

    mixes_channels = True
    equivariant = True
    narrows = 4

    def __init__(
        self,
        dim: int,
        grid: tuple[int, int],
        *,
        kernel: int = 3,
        expand: int = 4,
        norm_layer: str = "layer",
    ) -> None:
        super().__init__()
        check_kernel(kernel)
        hidden, squeezed = expand * dim, max(1, dim // self.narrows)
        self.expand = nn.Linear(dim, hidden, bias=False)
        self.norm1 = norm_of(norm_layer)(hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden, bias=False)
        self.norm2 = norm_of(norm_layer)(hidden)
        self.squeeze = nn.Linear(hidden, squeezed)
        self.excite = nn.Linear(squeezed, hidden)
        self.project = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.norm1(self.expand(x)))
        x = F.silu(self.norm2(self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))
        gate = self.excite(F.silu(self.squeeze(x.mean(dim=(1, 2), keepdim=True)))).sigmoid()
        out: Tensor = self.project(x * gate)
        return out
