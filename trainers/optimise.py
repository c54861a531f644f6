"""The optimiser, its learning rate over time, and the running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import Lion
from torch import Tensor, nn

from trainers.config import TrainConfig

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # whose weights decay and can be pruned


def optimiser_of(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return AdamW (arXiv 1711.05101), SGD with Nesterov momentum, or Lion (arXiv 2302.06675)."""
    groups = parameter_groups(model, config.weight_decay)
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov)
    if config.optimiser == "lion":
        return Lion(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split the parameters in two: weights of LAYERS decay. Biases, norms, scales, embeddings and a mixer's own tables,
    such as GFNet's filter, do not."""
    decayed = {id(module.weight) for module in model.modules() if isinstance(module, LAYERS)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in decayed], "weight_decay": 0.0},
    ]


def learning_rate(progress: float, config: TrainConfig) -> float:
    """The learning rate after `progress` epochs (a real number): linear warm-up, then the schedule to the end.

    Pruning rewinds it together with the weights. From there the schedule runs faster, so that it ends with the
    training.
    """
    if config.sparsity and progress >= config.prune_after:
        pace = (config.epochs - config.rewind) / (config.epochs - config.prune_after)
        progress = config.rewind + (progress - config.prune_after) * pace
    if progress < config.warmup_epochs:
        return config.learning_rate * progress / config.warmup_epochs
    done = min((progress - config.warmup_epochs) / (config.epochs - config.warmup_epochs), 1.0)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return config.learning_rate * left[config.schedule]


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Use `rate` in the next step of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


class RunningMean:
    """An exponential mean of a network's weights and buffers over about `steps` steps; a plain mean until then.

    `swap` exchanges it with what the network holds, without a third copy. With 0 steps there is no mean: every method
    does nothing.
    """

    def __init__(self, model: nn.Module, steps: float) -> None:
        # By name, each once, even if several layers share it.
        every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.held: dict[str, Tensor] = every if steps else {}
        self.mean = {name: tensor.detach().clone() for name, tensor in self.held.items()}
        self.decay, self.updates = 1 - 1 / max(steps, 1.0), 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in what the network holds after a step."""
        decay = min(self.decay, self.updates / (self.updates + 1))
        self.updates += 1
        for name, mean in self.mean.items():
            new = self.held[name]
            if mean.is_floating_point() or mean.is_complex():
                mean.lerp_(new, 1 - decay)
            else:
                mean.copy_(new)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the mean with what the network holds."""
        for name, mean in self.mean.items():
            before = self.held[name].clone()
            self.held[name].copy_(mean)
            mean.copy_(before)

    def restart(self) -> None:
        """Forget the mean: the next update replaces it."""
        self.updates = 0

    def state_dict(self) -> dict[str, Any]:
        """The mean, by reference, and its number of updates."""
        return {"updates": self.updates, "mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.updates = int(state["updates"])
        for name, mean in self.mean.items():
            mean.copy_(state["mean"][name])
