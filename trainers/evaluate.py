"""What a network says of every image of a split, and how right it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers import metrics
from trainers.batch.normalise import Normalisation, normalise

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.tasks import Task

SYMMETRIES = range(8)
"""Of the square: quarter turns 0-3, and 4-7 the same of the mirror image. 0 is the image as it is."""


@torch.inference_mode()
def outputs(
    model: nn.Module,
    images: Tensor,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device,
    batch_size: int = 256,
    symmetry: int = 0,
) -> Tensor:
    """Raw outputs (N, num_outputs), float32 on the CPU, of images (N, C, H, W) as stored; leaves eval mode on."""
    device = torch.device(device)
    model.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        x = normalise(images[start : start + batch_size].to(device), normalisation)
        x = (x.flip(3) if symmetry >= 4 else x).rot90(symmetry % 4, (2, 3))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            parts.append(model(x).float())
    return torch.cat(parts).cpu()


def predictions(
    model: nn.Module,
    split: Split,
    task: Task,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device = "cpu",
    symmetry: int = 0,
) -> Tensor:
    """What the task's `predict` makes of the outputs for a selected split. FloatingPointError on non-finite ones."""
    raw = outputs(model, split.images, normalisation=normalisation, device=device, symmetry=symmetry)
    if not torch.isfinite(raw).all():
        raise FloatingPointError("the network's outputs are not finite")
    return task.predict(raw)


def evaluate(
    model: nn.Module,
    split: Split,
    task: Task,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device = "cpu",
    symmetry: int = 0,
    objective: str = "",
) -> dict[str, float]:
    """The task's metrics on a split, each image seen once, unchanged or under one of the SYMMETRIES.

    `objective`, where it is none of them: any metric that the task has, or its `_d4_mean` or `_d4_worst`, is added.
    """
    split = task.select(split)
    truth = task.targets(split).cpu()

    def predicted(k: int) -> Tensor:
        return predictions(model, split, task, normalisation=normalisation, device=device, symmetry=k)

    upright = predicted(symmetry)
    found = task.metrics(upright, truth)
    if not objective or objective in found:
        return found
    name = metrics.base(objective)
    if objective == name:
        return {**found, name: task.metrics_in_full(upright, truth)[name]}
    views = [upright, *(predicted(k) for k in SYMMETRIES if k != symmetry)]
    return {**found, objective: over_symmetries(name, [task.metrics_in_full(v, truth)[name] for v in views])[objective]}


def metrics_of_views(views: Tensor, truth: Tensor, task: Task) -> dict[str, float]:
    """Every metric of predictions (8, N, ...) under each of the SYMMETRIES: upright, and of some mean and worst."""
    each = [task.metrics_in_full(view, truth) for view in views]
    found = dict(each[0])
    for name in metrics.TURNED:
        if name in found:
            found |= over_symmetries(name, [of_view[name] for of_view in each])
    return found


def over_symmetries(name: str, values: list[float]) -> dict[str, float]:
    """Mean and worst of one metric's values under each symmetry, by the names that objectives have."""
    return {f"{name}_d4_mean": sum(values) / len(values), f"{name}_d4_worst": metrics.worst(name, values)}
