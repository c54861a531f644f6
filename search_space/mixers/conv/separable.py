"""Depth-wise separable convolution: one k x k filter per channel, then a linear map over channels."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick_up_to
from search_space.errors import ArchitectureError

KERNEL: Bound = Range(3, 9, 2)


def sample(trial: Trial, prefix: str, side: int, *, kernel: Bound = KERNEL) -> dict[str, Any]:
    return {"kernel": pick_up_to(trial, f"{prefix}.kernel", kernel, 2 * side - 1)}


def check_kernel(kernel: int) -> None:
    """Raise ArchitectureError unless `kernel` has a centre."""
    if kernel < 1 or kernel % 2 == 0:
        raise ArchitectureError(f"kernel={kernel} has no centre, expected a positive odd number")


class Mixer(nn.Module):
    equivariant = True

    def __init__(self, dim: int, grid: tuple[int, int], *, kernel: int = 7) -> None:
        super().__init__()
        check_kernel(kernel)
        self.depthwise = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.pointwise = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        # Permuted views of a (B, H, W, C) tensor are channels_last: no copy either way.
        x = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = self.pointwise(x)
        return out
