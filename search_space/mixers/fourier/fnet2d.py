"""FNet on the image grid: the real part of the Fourier transform over rows, columns and channels (arXiv 2105.03824)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from search_space.bounds import Bound, Trial, pick

CHANNELS: Bound = (True, False)


def sample(trial: Trial, prefix: str, side: int, *, channels: Bound = CHANNELS) -> dict[str, Any]:
    return {"channels": pick(trial, f"{prefix}.channels", channels)}


class Mixer(nn.Module):
    """Orthonormal, to keep the scale of the residual stream; no parameters. `channels`: also transform the channels."""

    def __init__(self, dim: int, grid: tuple[int, int], *, channels: bool = True) -> None:
        super().__init__()
        self.axes = (1, 2, 3) if channels else (1, 2)

    def forward(self, x: Tensor) -> Tensor:
        # Transforms exist only in single precision, even under autocast.
        return torch.fft.fftn(x.float(), dim=self.axes, norm="ortho").real.to(x.dtype)
