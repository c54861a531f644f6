"""FNet over the flattened sequence of tokens, like the words of a sentence (arXiv 2105.03824)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.mixers.fourier import fnet2d

sample = fnet2d.sample


class Mixer(nn.Module):
    """Orthonormal, without parameters. `channels`: also transform the channels."""

    def __init__(self, dim: int, grid: tuple[int, int], *, channels: bool = True) -> None:
        super().__init__()
        self.axes = (1, 2) if channels else (1,)

    def forward(self, x: Tensor) -> Tensor:
        out = torch.fft.fftn(x.flatten(1, 2).float(), dim=self.axes, norm="ortho").real
        return out.to(x.dtype).view(x.shape)
