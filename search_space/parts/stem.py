"""From pixels to tokens, (B, C, S, S) -> (B, ceil(S / p), ceil(S / p), width), and from a grid to half of it.

The centred ones are for symmetric networks (symmetry.py): their windows have the symmetries of the square.
"""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from search_space.parts.norm import norm_of


class PatchStem(nn.Module):
    """A linear map of each p x p patch, as a p x p convolution of stride p; zeros complete the patches at the edges."""

    def __init__(self, in_chans: int, image_size: int, patch: int, width: int, norm_layer: str = "layer") -> None:
        super().__init__()
        self.patch = patch
        missing = -image_size % patch
        self.pad = (missing // 2, missing - missing // 2) * 2  # on both sides: the lens stays in the centre
        self.proj = nn.Linear(patch * patch * in_chans, width)
        self.norm = norm_of(norm_layer)(width)

    def forward(self, image: Tensor) -> Tensor:
        image = F.pad(image, self.pad) if any(self.pad) else image
        patches = rearrange(image, "b c (h p) (w q) -> b h w (p q c)", p=self.patch, q=self.patch)
        out: Tensor = self.norm(self.proj(patches))
        return out


class ConvStem(nn.Module):
    """3 x 3 convolutions of stride 2 until the stride is p, each with norm and GELU (arXiv 2106.14881).

    With the side of the image they are `centred`, and have channels in multiples of eight.
    """

    def __init__(
        self, in_chans: int, patch: int, width: int, norm_layer: str = "layer", side: int | None = None
    ) -> None:
        super().__init__()
        steps = patch.bit_length() - 1
        channels = [in_chans, *(max(8, width >> left) for left in range(steps - 1, 0, -1)), width]
        strides = [2] * steps or [1]
        windows = [(3, 1)] * len(strides)
        if side is not None:
            channels[1:-1] = [c // 8 * 8 for c in channels[1:-1]]
            windows = [centred(-(-side // 2**step), stride, least=3) for step, stride in enumerate(strides)]
        self.convs = nn.ModuleList(
            nn.Conv2d(c_in, c_out, kernel, stride=s, padding=pad)
            for c_in, c_out, s, (kernel, pad) in zip(channels[:-1], channels[1:], strides, windows, strict=True)
        )
        self.norms = nn.ModuleList(norm_of(norm_layer)(c) for c in channels[1:])

    def forward(self, image: Tensor) -> Tensor:
        x = image.permute(0, 2, 3, 1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.gelu(norm(conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)))
        return x


class Downsample(nn.Module):
    """Norm, then a 2 x 2 convolution of stride 2 as a linear map of merged tokens; zeros complete odd grids."""

    def __init__(self, grid: tuple[int, int], width: int, out: int, norm_layer: str = "layer") -> None:
        super().__init__()
        self.pad = (0, 0, 0, grid[1] % 2, 0, grid[0] % 2)
        self.norm = norm_of(norm_layer)(width)
        self.proj = nn.Linear(4 * width, out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        x = F.pad(x, self.pad) if any(self.pad) else x
        x = self.proj(rearrange(x, "b (h p) (w q) c -> b h w (p q c)", p=2, q=2))
        return x


def centred(side: int, stride: int, least: int = 1) -> tuple[int, int]:
    """The window and the padding of both sides with which ceil(side / stride) windows lie symmetrically on a side.

    The window is the smallest of at least the stride and `least` pixels. Windows of the stride alone, or of three
    pixels at any side, would begin at one edge and end before or beyond the other.
    """
    missing = -side % stride
    kernel, pad = stride + missing % 2, (missing + missing % 2) // 2
    more = max(least - kernel + 1, 0) // 2  # on each side
    return kernel + 2 * more, pad + more


class CentredPatchStem(nn.Module):
    """As `PatchStem`, with windows that lie symmetrically: (p + 1) x (p + 1) pixels where they would not else."""

    def __init__(self, in_chans: int, image_size: int, patch: int, width: int, norm_layer: str = "layer") -> None:
        super().__init__()
        kernel, pad = centred(image_size, patch)
        self.conv = nn.Conv2d(in_chans, width, kernel, stride=patch, padding=pad)
        self.norm = norm_of(norm_layer)(width)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(image).permute(0, 2, 3, 1))
        return out


class CentredDownsample(nn.Module):
    """As `Downsample`, with windows that lie symmetrically: 3 x 3 tokens on an odd grid."""

    def __init__(self, side: int, width: int, out: int, norm_layer: str = "layer") -> None:
        super().__init__()
        kernel, pad = centred(side, 2)
        self.norm = norm_of(norm_layer)(width)
        self.conv = nn.Conv2d(width, out, kernel, stride=2, padding=pad)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(self.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return out


def halved(grid: tuple[int, int]) -> tuple[int, int]:
    """The grid after a `Downsample`."""
    return (grid[0] + 1) // 2, (grid[1] + 1) // 2
