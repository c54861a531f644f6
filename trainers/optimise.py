"""The optimiser, its learning rate over time, and the running mean of the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from timm.optim import Lion
from torch import Tensor, nn

from trainers.config import TrainConfig


def optimiser_of(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW (arXiv 1711.05101), SGD with Nesterov's momentum, or Lion (arXiv 2302.06675)."""
    groups = parameter_groups(model, config.weight_decay)
    if config.optimiser == "sgd":
        nesterov = config.momentum > 0
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum, nesterov=nesterov)
    if config.optimiser == "lion":
        return Lion(groups, lr=config.learning_rate)
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the matrices and kernels of layers only: biases, norms, scales and embeddings are left alone."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    decayed = {id(module.weight) for module in model.modules() if isinstance(module, layers)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in decayed], "weight_decay": 0.0},
    ]


def learning_rate(progress: float, config: TrainConfig) -> float:
    """The learning rate after `progress` epochs (a real number): linear warm-up, then the schedule to the end.

    Pruning sets it back with the weights; from there the same way is gone faster, to end with the training.
    """
    if config.sparsity and progress >= config.prune_after:
        pace = (config.epochs - config.rewind) / (config.epochs - config.prune_after)
        progress = config.rewind + (progress - config.prune_after) * pace
    if progress < config.warmup_epochs:
        return config.learning_rate * progress / config.warmup_epochs
    done = min((progress - config.warmup_epochs) / (config.epochs - config.warmup_epochs), 1.0)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return config.learning_rate * left[config.schedule]


class RunningMean:
    """An exponential mean of a network's weights and buffers over about `steps` steps; a plain mean before those.

    `swap` exchanges it with what the network holds, without a third copy.
    """

    def __init__(self, model: nn.Module, steps: float) -> None:
        # By name and each once, however many layers share it.
        self.held: dict[str, Tensor] = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        self.mean = {name: tensor.detach().clone() for name, tensor in self.held.items()}
        self.decay, self.updates = 1 - 1 / max(steps, 1.0), 0

    @torch.no_grad()
    def update(self) -> None:
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
        for name, mean in self.mean.items():
            before = self.held[name].clone()
            self.held[name].copy_(mean)
            mean.copy_(before)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.updates = int(state["updates"])
        for name, mean in self.mean.items():
            mean.copy_(state["mean"][name])
