"""How much each pixel adds to what a model answers: expected gradients (Erion et al. 2021, arXiv 1906.10670).

Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) follow a straight line from a baseline image to the
image and give each pixel its share of the change in the answer. No single image stands for "no information": an empty
one is no image of the sky, and networks that normalise each image see it everywhere on the line to it. So the baselines
are other images of the same data, a few for each image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nas.models.export import LensModel

BASELINES, STEPS = 8, 8  # of each image, and on the line from each: with 32 and 1, sums are wrong by half
BATCH = 256  # points at once


def attributions(
    model: LensModel, images: Tensor, targets: Tensor, *, baselines: int = BASELINES, steps: int = STEPS
) -> tuple[Tensor, Tensor]:
    """The share of each pixel in the answers about N images, (N, C, S, S) float64, and their expected sums, (N,).

    images: as stored, at least two. targets (N,): the class whose log-odds are the answer about each image, or the
    column of the value. The sum over an image's pixels approaches its expected sum: its answer less the mean answer
    about its baselines.
    """
    count, device = len(images), next(model.parameters()).device
    images = images.float().to(device)
    others = _others(count, baselines, torch.Generator().manual_seed(0))
    lines = torch.stack([torch.arange(count).repeat_interleave(baselines), others.flatten()], 1)  # image, baseline
    middles = ((torch.arange(steps) + 0.5) / steps).tile(len(lines))[:, None, None, None].to(device)
    found = torch.zeros(images.shape, dtype=torch.float64)
    for points in torch.arange(len(middles)).split(BATCH):
        of, other = lines[points // steps].unbind(1)
        difference = images[of] - images[other]
        at = (images[other] + middles[points] * difference).requires_grad_()
        (gradient,) = torch.autograd.grad(answers(model, at, targets[of]).sum(), at)
        found.index_add_(0, of, (difference * gradient).double().cpu() / (baselines * steps))
    own = _in_batches(model, images, torch.arange(count), targets)
    about = _in_batches(model, images, lines[:, 1], targets[lines[:, 0]])
    return found, own - about.view(count, baselines).mean(1)


def answers(model: LensModel, images: Tensor, targets: Tensor) -> Tensor:
    """The log-odds of a class against all others, or the predicted value, (B,) float64, that `targets` (B,) name."""
    predicted = model(images)
    chosen = predicted.gather(1, targets.to(predicted.device)[:, None])[:, 0]
    if not model.task.classifies:
        return chosen
    others = predicted.scatter(1, targets.to(predicted.device)[:, None], 0.0).sum(1)
    tiny = torch.finfo(predicted.dtype).tiny  # no logarithm of 0 where the network is certain
    return chosen.clamp_min(tiny).log() - others.clamp_min(tiny).log()


def _others(count: int, wanted: int, generator: torch.Generator) -> Tensor:
    """For each of `count` images the rows of others, (count, wanted), none of which is the image itself."""
    shift = torch.randint(1, count, (count, wanted), generator=generator)
    return (torch.arange(count)[:, None] + shift) % count


@torch.inference_mode()
def _in_batches(model: LensModel, images: Tensor, rows: Tensor, targets: Tensor) -> Tensor:
    pairs = zip(rows.split(BATCH), targets.split(BATCH), strict=True)
    return torch.cat([answers(model, images[some], of).cpu() for some, of in pairs])
