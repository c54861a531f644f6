"""What a network predicts for every image of a split, and how right it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers import metrics
from trainers.batch.normalise import Normalisation, normalise
from trainers.errors import TrainingError

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

    `objective` adds one more metric: any that the task has, or one of its values over the eight symmetries. With
    `symmetric`, each image is seen under all SYMMETRIES: this adds those values of the objective, or of the task's own,
    and every metric on images turned by 90 degrees ("turned_auc").
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
    if every_view or (objective and objective not in found):
        found[name] = task.metrics_in_full(views[0], truth)[name]
    if symmetric:
        a_quarter = task.metrics_in_full(views[1], truth)
        found |= {f"turned_{usual}": a_quarter[usual] for usual in found}
    if every_view:
        found |= over_symmetries([name], torch.stack(views), truth, task)
    return as_floats(found)


def as_floats(found: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as JSON has them: those of a user's own task may be tensors. TrainingError if one is no number."""
    try:
        return {name: float(value) for name, value in found.items()}
    except (TypeError, ValueError) as error:
        raise TrainingError(f"the task's metrics are {dict(found)!r}; expected a number each") from error


def resampling(task: Task, split: Split) -> dict[str, Any]:
    """How `metrics.bootstrap` resamples a selected split: classes keep their sizes, and objects stay whole."""
    strata = task.targets(split).cpu().numpy() if task.classifies else None
    return {"strata": strata, "objects": None if split.objects is None else split.objects.cpu().numpy()}


def metrics_of_views(views: Tensor, truth: Tensor, task: Task) -> dict[str, float]:
    """Every metric of the upright view, and some over all symmetries, from predictions (8, N, ...) by symmetry.

    One view (1, N, ...) is enough for a prediction that is the same under every symmetry.
    """
    found = task.metrics_in_full(views[0], truth)
    own = (*getattr(task, "higher_is_better", ()), *getattr(task, "lower_is_better", ()))
    names = [name for name in (*metrics.TURNED, *own) if name in found]
    return as_floats(found) | over_symmetries(names, views, truth, task)


def over_symmetries(names: Sequence[str], views: Tensor, truth: Tensor, task: Task) -> dict[str, float]:
    """The mean and worst of metrics over views (8, N, ...), and their values for the views' combined prediction.

    They are named as objectives are.
    """
    usual = set(names) <= set(task.metrics(views[0], truth))
    measure = task.metrics if usual else task.metrics_in_full
    each = [measure(predicted, truth) for predicted in views]
    together = measure(task.combine(list(views)), truth)
    found = {}
    for name in names:
        values = [of_view[name] for of_view in each]
        found[f"{name}_d4_mean"] = sum(values) / len(values)
        found[f"{name}_d4_worst"] = metrics.worst(name, values, task)
        found[f"{name}_d4_views"] = together[name]
    return as_floats(found)
