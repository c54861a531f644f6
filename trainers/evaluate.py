"""What a network predicts for every image of a split, and how right it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers import metrics
from trainers.batch.normalise import Normalisation, normalise

if TYPE_CHECKING:
    from trainers.data import Images, Split
    from trainers.tasks import Task

SYMMETRIES = range(8)
"""The symmetries of the square: 0-3 are quarter turns, 4-7 the same of the mirror image. 0 is the image as it is."""


def turned(images: Tensor, symmetry: int) -> Tensor:
    """Images (B, C, S, S) under one of the SYMMETRIES."""
    return (images.flip(3) if symmetry >= 4 else images).rot90(symmetry % 4, (2, 3))


@torch.inference_mode()
def outputs(
    model: nn.Module,
    images: Images,
    *,
    normalisation: Normalisation | str,
    device: str | torch.device,
    batch_size: int = 256,
    symmetry: int = 0,
) -> Tensor:
    """Return raw outputs (N, num_outputs), float32 on the CPU, of stored images (N, C, H, W). Leaves eval mode on.

    The network computes in float32 on every device, without autocast, so that an exported model predicts the same
    wherever it runs. (On a GPU, `torch.backends.cudnn.allow_tf32` still decides over TF32 in convolutions.)
    """
    device = torch.device(device)
    model.eval()
    parts = []
    for start in range(0, len(images), batch_size):
        x = normalise(images[start : start + batch_size].to(device), normalisation)
        parts.append(model(turned(x, symmetry)).float())
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
    """The task's predictions for a selected split. FloatingPointError if the network's outputs are not finite."""
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
    objective: str = "",
    symmetric: bool = False,
) -> dict[str, float]:
    """The task's metrics on a split whose images are seen once each.

    `objective` adds one more metric: any that the task has, or its `_d4_mean` and `_d4_worst`. With `symmetric`,
    each image is seen under all SYMMETRIES: this adds those two of the objective, or of the task's own, and every
    metric on images turned by 90 degrees ("turned_auc").
    """
    split = task.select(split)
    truth = task.targets(split).cpu()
    name = metrics.base(objective or task.objective)
    every_view = symmetric or objective not in ("", name)
    views = [
        predictions(model, split, task, normalisation=normalisation, device=device, symmetry=k)
        for k in (SYMMETRIES if every_view else SYMMETRIES[:1])
    ]
    found = task.metrics(views[0], truth)
    if not every_view and (not objective or objective in found):
        return found
    each = [task.metrics_in_full(view, truth) for view in views]
    found[name] = each[0][name]
    if symmetric:
        found |= {f"turned_{usual}": each[1][usual] for usual in found}
    if every_view:
        found |= over_symmetries(name, [of_view[name] for of_view in each], task)
    return found


def metrics_of_views(views: Tensor, truth: Tensor, task: Task) -> dict[str, float]:
    """Every metric of the upright view, and the mean and worst of some, from predictions (8, N, ...) by symmetry."""
    each = [task.metrics_in_full(view, truth) for view in views]
    found = dict(each[0])
    for name in metrics.TURNED:
        if name in found:
            found |= over_symmetries(name, [of_view[name] for of_view in each], task)
    return found


def over_symmetries(name: str, values: list[float], task: Task | None = None) -> dict[str, float]:
    """Mean and worst of one metric's values under each symmetry, named as objectives are."""
    worst = metrics.worst(name, values, task)
    return {f"{name}_d4_mean": sum(values) / len(values), f"{name}_d4_worst": worst}
