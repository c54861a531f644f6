"""MLP-Mixer's token mixing: one MLP over all H*W positions, shared by the channels (arXiv 2105.01601)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from search_space.bounds import Bound, Range, Trial, pick

RATIO: Bound = Range(0.5, 2.0, 0.5)


def sample(trial: Trial, prefix: str, side: int, *, ratio: Bound = RATIO) -> dict[str, Any]:
    return {"ratio": pick(trial, f"{prefix}.ratio", ratio)}


class Mixer(nn.Module):
    def __init__(self, dim: int, grid: tuple[int, int], *, ratio: float = 0.5) -> None:
        super().__init__()
        tokens = grid[0] * grid[1]
        hidden = max(1, int(ratio * tokens))
        self.up = nn.Linear(tokens, hidden)
        self.down = nn.Linear(hidden, tokens)

    def forward(self, x: Tensor) -> Tensor:
        out = self.down(F.gelu(self.up(x.flatten(1, 2).transpose(1, 2))))
        return out.transpose(1, 2).unflatten(1, x.shape[1:3])
