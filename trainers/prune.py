"""Magnitude pruning of a network's blocks, for lottery tickets (arXiv 1803.03635; late rewinding, arXiv 1903.01611).

What is pruned are the weights of linear layers and convolutions inside the encoder's blocks: of every module below one
called `blocks`, as timm's networks and this project's name them. Stem, downsampling, positions and head lie outside.
In a network without such a name it is every such layer but the first (the stem) and the last (the classifier). Norms,
biases, scales and embeddings stay.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning chooses from, by their names in `model`. ValueError for a network that has none."""
    layers = [name for name, module in model.named_modules() if isinstance(module, LAYERS)]
    chosen = [name for name in layers if "blocks" in name.split(".")] or layers[1:-1]
    names = {f"{name}.weight" for name in chosen}
    found = {name: weight for name, weight in model.named_parameters() if name in names}
    if not found:
        raise ValueError("the network has no layer between its first and its last to prune; train it with sparsity 0")
    return found


@torch.no_grad()
def masks(model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """For each of `prunable(model)` a boolean mask of its shape, False where the weight is to be removed.

    Removed is the share `sparsity` of all of them together, those of smallest magnitude, to the nearest whole weight.
    """
    weights = prunable(model)
    magnitudes = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(round(sparsity * len(kept)), largest=False).indices] = False
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}


@torch.no_grad()
def apply(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set what is removed to zero."""
    for name, kept in masks.items():
        model.get_parameter(name).masked_fill_(~kept, 0)


def apply_to_gradients(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Let nothing pull at what is removed, nor count in the norm of the gradient.

    A zero weight that has never had a gradient stays exactly zero under every optimiser, decay and running mean.
    """
    for name, kept in masks.items():
        gradient = model.get_parameter(name).grad
        if gradient is not None:
            gradient.masked_fill_(~kept, 0)


def sparsity(model: nn.Module) -> float:
    """The share of zeros among `prunable(model)`."""
    weights = prunable(model).values()
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)
