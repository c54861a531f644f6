"""FNet on the image grid: the real part of the Fourier transform over rows, columns and channels (arXiv 2105.03824)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...bounds import Trial


def sample(trial: Trial, prefix: str, side: int) -> dict[str, Any]:
    return {}


class Mixer(nn.Module):
    """Orthonormal, so that the residual stream keeps its scale; without parameters."""

    takes_token = False

    def __init__(self, dim: int, grid: tuple[int, int], *, index: int = 0) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        # Transforms exist in single precision only, also under autocast.
        return torch.fft.fftn(x.float(), dim=(1, 2, 3), norm="ortho").real.to(x.dtype)
