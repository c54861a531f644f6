"""What a network says of every image of a split, and how right it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.normalise import Normalisation, normalise

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.tasks import Task


@torch.inference_mode()
def outputs(
    model: nn.Module,
    images: Tensor,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device,
    batch_size: int = 256,
    quarter_turns: int = 0,
) -> Tensor:
    """Raw outputs (N, num_outputs), float32 on the CPU, of images (N, C, H, W) as stored; leaves eval mode on."""
    device = torch.device(device)
    model.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        x = normalise(images[start : start + batch_size].to(device), normalisation).rot90(quarter_turns, (2, 3))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            parts.append(model(x).float())
    return torch.cat(parts).cpu()


def evaluate(
    model: nn.Module,
    split: Split,
    task: Task,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device = "cpu",
    quarter_turns: int = 0,
) -> dict[str, float]:
    """The task's metrics on a split, each image seen once, unchanged or turned by quarters of a full turn.

    FloatingPointError on non-finite outputs.
    """
    predicted = outputs(model, split.images, normalisation=normalisation, device=device, quarter_turns=quarter_turns)
    if not torch.isfinite(predicted).all():
        raise FloatingPointError("the network's outputs are not finite")
    return task.metrics(predicted, task.targets(split).cpu())
