"""Magnitude pruning of a network's blocks, for lottery tickets (arXiv 1803.03635; late rewinding, arXiv 1903.01611).

Pruning removes weights of linear layers and convolutions inside the encoder's blocks: in every module below one called
`blocks`, the name that timm and this project use. Stem, downsampling, positions and head lie outside. In a network
without that name, every such layer counts but the first (the stem) and the last (the classifier). Norms, biases, scales
and embeddings are never pruned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainers.config import TrainConfig
from trainers.errors import TrainingError
from trainers.optimise import LAYERS


class Ticket:
    """The pruning in one training: the early weights to return to, and the masks of the weights that stay.

    It does nothing in a training without `sparsity`. TrainingError for a network that has nothing to prune.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        self.model, self.config = model, config
        self.rewound: dict[str, Tensor] = {}  # the network's state after `rewind` epochs, until it is pruned
        self.masks: dict[str, Tensor] = {}  # from then on: True where a weight stays
        if config.sparsity:
            prunable(model)  # refuse now, not after half of the training

    def begin_epoch(self, epoch: int) -> bool:
        """Store the weights to return to when they are due; prune at half time. Return whether it pruned."""
        if not self.config.sparsity:
            return False
        if epoch == self.config.rewind:
            self.rewound = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        if epoch != self.config.prune_after:
            return False
        self.masks = masks(self.model, self.config.sparsity)
        self.model.load_state_dict(self.rewound)
        self.rewound = {}
        apply(self.model, self.masks)
        return True

    def mask_gradients(self) -> None:
        """Keep the removed weights where they are in the next step."""
        apply_to_gradients(self.model, self.masks)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs, by reference; empty without sparsity."""
        return {"rewound": dict(self.rewound), "masks": dict(self.masks)} if self.config.sparsity else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.rewound = dict(state.get("rewound", {}))
        found = state.get("masks", {})
        self.masks = {name: mask.to(self.model.get_parameter(name).device) for name, mask in found.items()}


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that pruning chooses from, by their names in `model`. TrainingError if there are none."""
    layers = [name for name, module in model.named_modules() if isinstance(module, LAYERS)]
    chosen = [name for name in layers if "blocks" in name.split(".")] or layers[1:-1]
    names = {f"{name}.weight" for name in chosen}
    found = {name: weight for name, weight in model.named_parameters() if name in names}
    if not found:
        raise TrainingError(
            "the network has no layer between its first and its last to prune; train it with sparsity 0"
        )
    return found


@torch.no_grad()
def masks(model: nn.Module, sparsity: float) -> dict[str, Tensor]:
    """A boolean mask for each of `prunable(model)`, of its shape and False where the weight is to be removed.

    The fraction `sparsity` of all these weights together is removed, to the nearest whole weight: those of smallest
    magnitude.
    """
    weights = prunable(model)
    magnitudes = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    kept = torch.ones_like(magnitudes, dtype=torch.bool)
    kept[magnitudes.topk(round(sparsity * len(kept)), largest=False).indices] = False
    parts = kept.split([weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}


@torch.no_grad()
def apply(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the removed weights to zero."""
    for name, kept in masks.items():
        model.get_parameter(name).masked_fill_(~kept, 0)


def apply_to_gradients(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set the gradients of the removed weights to zero, so that they neither move nor count in the gradient's norm.

    A zero weight that has never had a gradient stays exactly zero under every optimiser, decay and running mean.
    """
    for name, kept in masks.items():
        gradient = model.get_parameter(name).grad
        if gradient is not None:
            gradient.masked_fill_(~kept, 0)


def sparsity(model: nn.Module) -> float:
    """The fraction of zeros among `prunable(model)`."""
    weights = prunable(model).values()
    return 1 - sum(int(weight.count_nonzero()) for weight in weights) / sum(weight.numel() for weight in weights)
