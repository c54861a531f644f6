"""One training loop for every network and task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers import prune
from trainers.batch.augment import augment
from trainers.batch.balance import epoch_order, image_weights
from trainers.batch.mixing import mix
from trainers.batch.normalise import normalise, resolve
from trainers.config import TrainConfig
from trainers.evaluate import evaluate
from trainers.optimise import RunningMean, learning_rate, optimiser_of

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.tasks import Task


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to. `state()` is what `fit` needs to go on from here; it copies nothing until called."""

    number: int  # epochs trained, from 1
    metrics: dict[str, float]
    """train_loss, seconds, the task's metrics on the validation split and the objective, and in the last epoch the
    metrics of its images turned by 90 degrees ("turned_auc"): what a network owes to an axis that all images share.
    Once it is pruned, also its measured sparsity."""
    state: Callable[[], dict[str, Any]]


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
    objective: str = "",
) -> Iterator[Epoch]:
    """Train `model` in place, yielding after each epoch; a caller who has seen enough stops asking.

    Every epoch draws its order, augmentation and dropout from (seed, epoch) alone, so a training that goes on from
    a `state` is, number for number, the one that was never interrupted. The loop reseeds torch's global generator.
    With a running mean of the weights, it is the mean that `model` holds when an epoch is yielded, and at the end.
    `objective`: a metric to evaluate beside the task's usual ones. Images without a target are left out.
    FloatingPointError when the loss or the outputs stop being finite; ValueError for balance without classes, and when
    there is nothing to prune.
    """
    device = torch.device(device)
    train = task.select(train)
    model.to(device)
    if config.sparsity:
        prune.prunable(model)  # refuses now, not after half of the training
    optimizer = optimiser_of(model, config)
    normalisation = resolve(config, train.images)
    targets = task.targets(train)
    if config.balance != "none" and not task.classes:
        raise ValueError(f"balance is {config.balance!r}, but this task has no classes; expected 'none'")
    weights = image_weights(targets, len(task.classes)) if config.balance != "none" else None
    steps = math.ceil(len(targets) / config.batch_size)
    trained = 0
    rewound: dict[str, Tensor] = {}  # what the network goes back to when it is pruned
    masks: dict[str, Tensor] = {}  # from then on: True where a weight is left
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        trained = int(state["epoch"])
        rewound.update(state.get("rewound", {}))
        masks.update({name: mask.to(device) for name, mask in state.get("masks", {}).items()})
    mean = RunningMean(model, config.ema * steps) if config.ema else None
    if mean is not None and state is not None:
        mean.load_state_dict(state["mean"])
        mean.swap()  # a state is that of a yielded epoch

    for epoch in range(trained, config.epochs):
        begin = time.perf_counter()
        if config.sparsity and epoch == config.rewind:
            rewound.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
        if config.sparsity and epoch == config.prune_after:
            masks.update(prune.masks(model, config.sparsity))
            model.load_state_dict(rewound)
            rewound.clear()
            prune.apply(model, masks)
            optimizer.state.clear()
            if mean is not None:
                mean.updates = 0  # the next one replaces it
        torch.manual_seed(epoch_seed(seed, epoch))
        model.train()
        total = torch.zeros((), device=device)
        order = epoch_order(len(targets), weights, config).to(train.images.device)
        for step, index in enumerate(order.tensor_split(steps)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch + (step + 0.5) / steps, config)
            x = normalise(train.images[index].to(device, non_blocking=True), normalisation)
            x = augment(x, config.augmentation)
            y = targets[index].to(device, non_blocking=True)
            if config.augmentation.mixes:
                x, partner, weight = mix(x, config.augmentation)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                outputs = model(x)
            each = weights[index].to(device) if weights is not None and config.balance == "weights" else None
            if config.augmentation.mixes:
                first, second = weight, 1 - weight
                if each is not None:
                    first, second = first * each, second * each[partner]
                loss = task.loss(outputs, y, config.label_smoothing, first)
                loss = loss + task.loss(outputs, y[partner], config.label_smoothing, second)
            else:
                loss = task.loss(outputs, y, config.label_smoothing, each)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            prune.apply_to_gradients(model, masks)
            nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()
            if mean is not None:
                mean.update()
            total += loss.detach() * len(index)

        metrics = {"train_loss": float(total) / len(targets)}  # the epoch's only wait for the device
        if not math.isfinite(metrics["train_loss"]):
            raise FloatingPointError(f"the training loss is {metrics['train_loss']} at epoch {epoch + 1}")
        if mean is not None:
            mean.swap()
        if val is not None:
            metrics |= evaluate(model, val, task, normalisation=normalisation, device=device, objective=objective)
            if epoch + 1 == config.epochs:
                turned = evaluate(model, val, task, normalisation=normalisation, device=device, symmetry=1)
                metrics |= {f"turned_{name}": value for name, value in turned.items()}
        if masks:
            metrics["sparsity"] = prune.sparsity(model)
        metrics["seconds"] = time.perf_counter() - begin

        def snapshot(number: int = epoch + 1) -> dict[str, Any]:
            kept = {"epoch": number, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            if config.sparsity:
                kept |= {"rewound": dict(rewound), "masks": dict(masks)}
            return kept if mean is None else {**kept, "mean": mean.state_dict()}

        yield Epoch(epoch + 1, metrics, snapshot)
        if mean is not None and epoch + 1 < config.epochs:
            mean.swap()


def epoch_seed(seed: int, epoch: int) -> int:
    """The generator seed of one epoch: distinct for every (seed, epoch) of up to a million epochs."""
    return (seed * 1_000_003 + epoch + 1) % 2**63
