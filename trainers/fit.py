"""One training loop for every network and task."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trainers import prune
from trainers.batch.augment import augment
from trainers.batch.balance import epoch_order, image_weights
from trainers.batch.mixing import mix_batch
from trainers.batch.normalise import normalise, resolve
from trainers.config import TrainConfig
from trainers.errors import TrainingError
from trainers.evaluate import evaluate
from trainers.optimise import RunningMean, learning_rate, optimiser_of, set_learning_rate

if TYPE_CHECKING:
    from trainers.data import Split
    from trainers.tasks import Task

# Parameters. bfloat16 pays for convolutions from 2 million on, for attention from 13 (`benchmarks/gpu.py`).
LARGE = 3_000_000


@dataclass(frozen=True)
class Epoch:
    """The outcome of one epoch."""

    number: int  # of epochs trained, from 1
    metrics: dict[str, float]
    """train_loss, seconds, and the task's metrics on the validation split with the objective. In the last epoch also
    the same metrics on images turned by 90 degrees ("turned_auc"), and the objective's mean, its worst value and that
    of the combined views over the eight symmetries ("auc_d4_worst"): these show what a network owes to an axis that all
    images share. After pruning also the measured sparsity."""
    state: Callable[[], dict[str, Any]]
    """Returns what `fit` needs to resume from here. It copies nothing: save it before asking for the next epoch."""


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
    """Train `model` in place and yield after each epoch. A caller who has seen enough stops asking.

    Every epoch draws its order, augmentation and dropout from (seed, epoch) alone, so a training resumed from a `state`
    gives the same numbers as one that was never interrupted. The loop reseeds torch's global generator. With a running
    mean of the weights, `model` holds the mean whenever an epoch is yielded, and at the end. `objective` names a metric
    to evaluate beside the task's usual ones. Images without a target are discarded. FloatingPointError if the loss or
    the outputs are no longer finite. TrainingError for balance without classes, or if there is nothing to prune.
    """
    device = torch.device(device)
    train = task.select(train)
    targets = task.targets(train)
    weights = balancing_weights(targets, task, config)
    weighted = weights if config.balance == "weights" else None
    steps = math.ceil(len(targets) / config.batch_size)
    normalisation = resolve(config, train.images)

    model.to(device)
    mixed = autocast(device, model)
    optimizer = optimiser_of(model, config)
    ticket = prune.Ticket(model, config)
    mean = RunningMean(model, config.ema * steps)
    first = 0
    if state is not None:
        first = int(state["epoch"])
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        ticket.load_state_dict(state)
        if config.ema:
            mean.load_state_dict(state["mean"])

    for epoch in range(first, config.epochs):
        begin = time.perf_counter()
        if epoch > 0:
            mean.swap()  # the network holds the mean between epochs, its own weights within one
        if ticket.begin_epoch(epoch):
            optimizer.state.clear()
            mean.restart()
        torch.manual_seed(epoch_seed(seed, epoch))
        model.train()
        total = torch.zeros((), device=device)
        order = epoch_order(len(targets), weights, config).to(train.images.device)
        with tf32(device):
            for step, index in enumerate(order.tensor_split(steps)):
                x, y = to_device(train.images[index], device), to_device(targets[index], device)
                weight = None if weighted is None else to_device(weighted[index], device)
                x = augment(normalise(x, normalisation), config.augmentation)
                x, aims = mix_batch(x, y, weight, config.augmentation)
                with mixed:
                    outputs = model(x)
                losses = [task.loss(outputs, aim, config.label_smoothing, share) for aim, share in aims]
                loss = sum(losses[1:], losses[0])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                ticket.mask_gradients()
                nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                set_learning_rate(optimizer, learning_rate(epoch + (step + 0.5) / steps, config))
                optimizer.step()
                mean.update()
                total += loss.detach() * len(index)

        metrics = {"train_loss": float(total) / len(targets)}  # the epoch's only wait for the device
        if not math.isfinite(metrics["train_loss"]):
            raise FloatingPointError(f"the training loss is {metrics['train_loss']} at epoch {epoch + 1}")
        mean.swap()
        if val is not None:
            metrics |= evaluate(
                model, val, task, normalisation=normalisation, device=device, objective=objective,
                symmetric=epoch + 1 == config.epochs,
            )  # fmt: skip
        if ticket.masks:
            metrics["sparsity"] = prune.sparsity(model)
        metrics["seconds"] = time.perf_counter() - begin

        def snapshot(number: int = epoch + 1) -> dict[str, Any]:
            kept = {"epoch": number, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            return {**kept, **ticket.state_dict(), **({"mean": mean.state_dict()} if config.ema else {})}

        yield Epoch(epoch + 1, metrics, snapshot)


def balancing_weights(targets: Tensor, task: Task, config: TrainConfig) -> Tensor | None:
    """Each image's weight (N,), or None without balance. TrainingError if the task has no classes to balance."""
    if config.balance == "none":
        return None
    if not task.classes:
        raise TrainingError(f"balance is {config.balance!r}, but this task has no classes; expected 'none'")
    return image_weights(targets, len(task.classes))


def to_device(batch: Tensor, device: torch.device) -> Tensor:
    """Copy a batch to `device`; on a GPU the copy does not make the processor wait.

    That takes pinned memory: from any other, CUDA first waits for the kernels before the copy.
    """
    if device.type == "cuda" and batch.device.type == "cpu":
        return batch.pin_memory().to(device, non_blocking=True)
    return batch.to(device)


@contextmanager
def tf32(device: torch.device) -> Iterator[None]:
    """Multiply float32 matrices in TF32 on a GPU, as cuDNN's convolutions are by default."""
    if device.type != "cuda":
        yield
        return
    products = torch.backends.cuda.matmul
    new = hasattr(products, "fp32_precision")  # torch >= 2.9, which refuses the older name where this has been used
    name, value = ("fp32_precision", "tf32") if new else ("allow_tf32", True)
    before = getattr(products, name)
    setattr(products, name, value)
    try:
        yield
    finally:
        setattr(products, name, before)


def autocast(device: torch.device, model: nn.Module) -> torch.autocast:
    """Mixed precision in bfloat16 for large networks, only on GPUs that compute it; emulated it is slower than float32.

    The steps of a small network take as long as their kernels take to launch, and casting launches more of them.
    """
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    large = sum(p.numel() for p in model.parameters()) >= LARGE
    return torch.autocast(device.type, torch.bfloat16, enabled=native and large)


def epoch_seed(seed: int, epoch: int) -> int:
    """The generator's seed for one epoch, distinct for every (seed, epoch) of up to a million epochs."""
    return (seed * 1_000_003 + epoch + 1) % 2**63
