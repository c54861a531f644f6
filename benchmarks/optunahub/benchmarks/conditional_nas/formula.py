"""A made-up learning curve for every configuration of a conditional space of networks and trainings.

The space has 97 parameters, and choices that open further choices: a configuration has 20 to 55 of them. It is the
space of lensing-nas's study `hybrid`, with two more optimisers, each with its own learning rate. The curve is a formula
of the decoded configuration, invented before any engine ran on it. Its effects are meant to be plausible; they were not
measured:

* each mixer has one value early and another late in the network; convolution before attention earns a bonus;
* more blocks and more width have diminishing returns, and large networks overfit unless they are regularised;
* the best learning rate depends on optimiser, batch size, width and the share of attention, and too high costs more
  than too low; weight decay has an optimum for each optimiser;
* norm, position, stem, patch, augmentation and the mixers' own options have small effects, some only in combination;
* low rungs favour what learns fast: attention, low learning rates, depth and regularisation learn slowly;
* each trial has its own noise, and each epoch adds more, which grows with the learning rate.

Task "named" is the formula as it stands. In "swapped-1" and "swapped-2" the mixers have exchanged their values at
random, so that no sampler gains from what comes first in a list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from search_space import Hybrid, HybridSpace, Range
from studies import Configuration, TrainSpace
from studies.hybrid import STUDY
from trainers.config import TrainConfig

# The space of the hybrid study as it was when this benchmark was made, so that its figures stay comparable.
SPACE = HybridSpace(
    depth=Range(1, 3),
    position=("none", "fixed_1d", "fixed_2d", "learnable"),
    position_place=("once",),
    norm=("pre",),
    layer_scale=(0.0,),
    head=("average", "class_token"),
    drop_path=Range(0.0, 0.2),
    options={
        "conv": {"variant": ("separable", "residual")},
        "window": {"variant": ("v1",)},
        "anisotropic": {"variant": ("gaussian", "polar", "cross")},
        "fourier": {"variant": ("fnet2d", "gfnet")},
        "mlp": {"variant": ("mixer",)},
    },
)
TRAINING = TrainSpace(
    optimiser=("adamw", "sgd", "lion"), learning_rate=Range(3e-4, 1e-2, log=True), label_smoothing=Range(0.0, 0.1),
    shift=Range(0.0, 0.1), noise=Range(0.0, 0.2), d4=(False,),
)  # fmt: skip
SPEC = replace(STUDY, space=SPACE, training=TRAINING, first=())
MIXERS = ("conv", "window", "attention", "anisotropic", "fourier", "mlp")
EARLY = (0.9, 0.5, 0.1, 0.3, 0.2, -0.1)  # the value of a block of each mixer at the input
LATE = (0.3, 0.6, 0.8, 0.5, 0.3, 0.2)  # and at the output
LOCAL, GLOBAL = {0}, {1, 2, 3}  # indices in MIXERS: convolution; three kinds of attention
OPTIONS = {"residual": 0.2, "polar": 0.15, "cross": 0.05, "gfnet": 0.2}  # variants; others 0
POSITION = {"none": -0.4, "fixed_1d": 0.0, "fixed_2d": 0.1, "learnable": 0.05}
NORMALISATION = {"minmax": -0.15, "zscore": 0.0, "log": 0.1, "asinh": 0.15}
RATE = {"adamw": 2.5e-3, "sgd": 0.15, "lion": 3e-4}  # optimum without attention, batch 64, width 48
DECAY = {"adamw": 0.03, "sgd": 3e-4, "lion": 0.1}
TASKS = {"named": tuple(range(6))} | {
    f"swapped-{i}": tuple(np.random.default_rng(i).permutation(6).tolist()) for i in (1, 2)
}


class Formula:
    epochs = SPEC.epochs

    def __init__(self, task: str) -> None:
        self.role = dict(zip(MIXERS, TASKS[task], strict=True))  # the mixer whose values each mixer gets

    def learn(self, config: Configuration, seed: int) -> tuple[float, np.ndarray]:
        """Return the last value without noise, and the noisy values after every epoch."""
        network, training = config.architecture, config.training
        assert isinstance(network, Hybrid)
        roles = [self.role[mixer] for _, mixer, *_ in blocks(network)]
        attention = sum(role in GLOBAL for role in roles) / len(roles)
        off = math.log10(training.learning_rate / best_rate(network, training, attention))
        logit = self.of_network(network, attention) + of_training(network, training, attention, off)
        final = 0.5 + 0.48 / (1 + math.exp(-logit))

        epoch = np.arange(1, self.epochs + 1)
        effort = training.augmentation.noise + 5 * training.augmentation.shift + 4 * network.drop_path
        slowness = 2.5 * 10 ** (-0.3 * off) * (0.8 + 0.5 * attention) * (0.8 + 0.4 * effort) * len(roles) ** 0.2
        learnt = (1 - np.exp(-epoch / slowness)) / (1 - math.exp(-self.epochs / slowness))
        rng = np.random.default_rng([seed, 4711])
        every_epoch = 0.003 + 0.02 * 10 ** (0.5 * off) * (1 - epoch / self.epochs)
        noise = 0.006 * rng.normal() + every_epoch * rng.normal(size=self.epochs)
        return final, np.clip(0.5 + (final - 0.5) * learnt + noise, 0.0, 1.0)

    def of_network(self, network: Hybrid, attention: float) -> float:
        found = [
            (place, self.role[mixer], options, width, size) for place, mixer, options, width, size in blocks(network)
        ]
        logit = -1.0 + float(np.mean([(1 - place) * EARLY[role] + place * LATE[role] for place, role, *_ in found]))
        local = min((place for place, role, *_ in found if role in LOCAL), default=2.0)
        if any(role in GLOBAL and place > local for place, role, *_ in found):
            logit += 0.5
        logit += 0.8 * (1 - math.exp(-len(found) / 2.5))
        logit += 0.8 * (1 - math.exp(-np.mean([width for *_, width, _ in found]) / 40))
        excess = max(math.log2(sum(size for *_, size in found) / 60_000), 0.0)
        logit -= excess * max(0.35 - 1.5 * network.drop_path, 0.1) + 0.8 * network.drop_path
        logit += (0.0, 0.25, 0.0, -0.4)[sum(stage.downsample for stage in network.stages)]
        logit += 0.3 * (network.patch == 4)
        logit += (0.25 if found[0][1] not in LOCAL else 0.05) * (network.stem == "conv")
        logit += attention * POSITION[network.position] - 0.1 * (network.head == "class_token")
        logit += (0.9 - 0.4 * attention) * (network.norm_layer == "batch")
        for _, _, options, width, _ in found:
            each = OPTIONS.get(options.get("variant", ""), 0.0)
            each -= 0.04 * abs(options.get("kernel", 5) - 5) / 2
            each -= 0.1 * abs(math.log2(width / options["heads"] / 16)) if "heads" in options else 0.0
            logit += each / len(found)
        return logit


def blocks(network: Any) -> Iterator[tuple[float, str, Any, int, float]]:
    """Yield the place from 0 to 1, mixer, options, width and approximate number of weights of every block."""
    count, index = sum(stage.depth for stage in network.stages), 0
    for stage in network.stages:
        for mixer, options in stage.blocks():
            place = index / (count - 1) if count > 1 else 0.5
            yield place, mixer, options, stage.width, stage.width**2 * (4 + 2 * stage.mlp_ratio)
            index += 1


def best_rate(network: Hybrid, training: TrainConfig, attention: float) -> float:
    width = np.mean([stage.width for stage in network.stages])
    rate = RATE[training.optimiser] * 10 ** (-0.5 * attention)
    return float(rate * (training.batch_size / 64) ** 0.5 * (width / 48) ** -0.5)


def of_training(network: Hybrid, training: TrainConfig, attention: float, off: float) -> float:
    """`off` is the decimal logarithm of the learning rate over the best one."""
    logit = -min((4.0 if off > 0 else 1.5) * off**2, 3.0)
    logit -= 0.15 * math.log10(training.weight_decay / DECAY[training.optimiser]) ** 2
    logit += {"adamw": 0.0, "lion": 0.05, "sgd": 0.1 - 0.6 * attention}[training.optimiser]
    logit -= 20 * (training.momentum - 0.92) ** 2 if training.optimiser == "sgd" else 0.0
    logit += NORMALISATION[training.normalisation] - 2 * training.label_smoothing * (attention < 0.5)
    augmentation, depth = training.augmentation, sum(stage.depth for stage in network.stages)
    logit += 0.1 * augmentation.flip + (0.2 if depth > 3 else -0.1) * (augmentation.rotation > 0)
    return float(logit - 2 * augmentation.shift + augmentation.noise - 6 * augmentation.noise**2)
