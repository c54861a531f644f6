"""One training loop for every network and task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from trainers.augment import augment
from trainers.config import TrainConfig
from trainers.evaluate import evaluate
from trainers.normalise import normalise

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.tasks import Task


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `state()` is what `fit` needs to go on from here; it copies nothing until called."""

    number: int  # epochs trained, from 1
    metrics: dict[str, float]  # train_loss, seconds, and the task's metrics on the validation split
    state: Callable[[], dict[str, Any]]


def learning_rate(progress: float, config: TrainConfig) -> float:
    """The learning rate after `progress` epochs (a real number): linear warm-up, then half a cosine down to zero."""
    if progress < config.warmup_epochs:
        return config.learning_rate * progress / config.warmup_epochs
    done = (progress - config.warmup_epochs) / (config.epochs - config.warmup_epochs)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fit(
    model: nn.Module,
    train: Split,
    task: Task,
    config: TrainConfig,
    *,
    seed: int,
    val: Split | None = None,
    device: str | torch.device = "cpu",
    state: Mapping[str, Any] | None = None,
) -> Iterator[Epoch]:
    """Train `model` in place, yielding after each epoch; a caller who has seen enough stops asking.

    Every epoch draws its order, augmentation and dropout from (seed, epoch) alone, so a training that goes on from
    a `state` is, number for number, the one that was never interrupted. The loop reseeds torch's global generator.
    FloatingPointError when the loss or the outputs stop being finite.
    """
    device = torch.device(device)
    model.to(device)
    optimizer = torch.optim.AdamW(parameter_groups(model, config.weight_decay), lr=config.learning_rate, fused=True)
    trained = 0
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        trained = int(state["epoch"])

    targets = task.targets(train)
    steps = math.ceil(len(targets) / config.batch_size)
    for epoch in range(trained, config.epochs):
        begin = time.perf_counter()
        torch.manual_seed(epoch_seed(seed, epoch))
        model.train()
        total = torch.zeros((), device=device)
        order = torch.randperm(len(targets)).to(train.images.device)
        for step, index in enumerate(order.split(config.batch_size)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch + (step + 0.5) / steps, config)
            x = normalise(train.images[index].to(device, non_blocking=True), config.normalisation)
            x = augment(x, config.augmentation)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                outputs = model(x)
            loss = task.loss(outputs, targets[index].to(device, non_blocking=True), config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            total += loss.detach() * len(index)

        metrics = {"train_loss": float(total) / len(targets)}  # the epoch's only wait for the device
        if not math.isfinite(metrics["train_loss"]):
            raise FloatingPointError(f"the training loss is {metrics['train_loss']} at epoch {epoch + 1}")
        if val is not None:
            metrics |= evaluate(model, val, task, normalisation=config.normalisation, device=device)
        metrics["seconds"] = time.perf_counter() - begin

        def snapshot(number: int = epoch + 1) -> dict[str, Any]:
            return {"epoch": number, "model": model.state_dict(), "optimizer": optimizer.state_dict()}

        yield Epoch(epoch + 1, metrics, snapshot)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for the matrices and kernels of layers only: biases, norms, scales and embeddings are left alone."""
    layers = (nn.Linear, nn.Conv1d, nn.Conv2d)
    decayed = {id(module.weight) for module in model.modules() if isinstance(module, layers)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if id(p) in decayed], "weight_decay": weight_decay},
        {"params": [p for p in trainable if id(p) not in decayed], "weight_decay": 0.0},
    ]


def epoch_seed(seed: int, epoch: int) -> int:
    """The generator seed of one epoch: distinct for every (seed, epoch) of up to a million epochs."""
    return (seed * 1_000_003 + epoch + 1) % 2**63
