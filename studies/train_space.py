"""The bounds of the training hyperparameters, and how one training is sampled from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.config import NORMALISATIONS, Augmentation, TrainConfig


@dataclass(frozen=True)
class TrainSpace:
    """What may be chosen, each from a tuple of choices; a single one is fixed and not sampled.

    Of learning rates, weight decays, momentum, label smoothing and strengths two numbers are a range, three or more
    are choices. What has no effect is not asked for: another optimiser has parameters of its own name, momentum is
    only SGD's, only what is pruned is rewound, and the symmetries of the square contain its mirrors, a full turn
    contains its quarters.
    `policies`, by name, replace all single strengths where there are any.
    """

    learning_rate: tuple[float, ...] = (1e-4, 1e-2)
    weight_decay: tuple[float, ...] = (1e-4, 0.3)
    warmup_epochs: tuple[float, ...] = (1.0,)
    batch_size: tuple[int, ...] = (32, 64, 128)
    label_smoothing: tuple[float, ...] = (0.0, 0.2)
    normalisation: tuple[str, ...] = NORMALISATIONS
    rotation: tuple[float, ...] = (0.0, 180.0)
    flip: tuple[bool, ...] = (False, True)
    shift: tuple[float, ...] = (0.0, 0.1)
    noise: tuple[float, ...] = (0.0, 0.5)
    optimiser: tuple[str, ...] = ("adamw",)
    sgd_learning_rate: tuple[float, ...] = (1e-2, 1.0)
    sgd_weight_decay: tuple[float, ...] = (1e-5, 1e-2)
    momentum: tuple[float, ...] = (0.8, 0.99)
    lion_learning_rate: tuple[float, ...] = (3e-5, 1e-3)
    lion_weight_decay: tuple[float, ...] = (1e-3, 1.0)
    schedule: tuple[str, ...] = ("cosine",)
    ema: tuple[float, ...] = (0.0,)
    normalisation_scope: tuple[str, ...] = ("image",)
    balance: tuple[str, ...] = ("none",)
    d4: tuple[bool, ...] = (False,)
    zoom: tuple[float, ...] = (0.0,)
    blur: tuple[float, ...] = (0.0,)
    brightness: tuple[float, ...] = (0.0,)
    contrast: tuple[float, ...] = (0.0,)
    cutout: tuple[float, ...] = (0.0,)
    mixup: tuple[float, ...] = (0.0,)
    cutmix: tuple[float, ...] = (0.0,)
    policies: Mapping[str, Augmentation] = field(default_factory=dict)
    sparsity: tuple[float, ...] = (0.0,)
    rewind: tuple[int, ...] = (1,)

    def sample(self, trial: Any, epochs: int) -> TrainConfig:
        """Ask `trial` (anything with suggest_float and suggest_categorical) for one training of `epochs` epochs."""
        batch_size = choice(trial, "batch_size", self.batch_size)
        optimiser = choice(trial, "optimiser", self.optimiser)
        return TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            optimiser=optimiser,
            **self.sample_steps(trial, optimiser),
            schedule=choice(trial, "schedule", self.schedule),
            warmup_epochs=choice(trial, "warmup_epochs", self.warmup_epochs),
            label_smoothing=number(trial, "label_smoothing", self.label_smoothing),
            ema=choice(trial, "ema", self.ema),
            normalisation=choice(trial, "normalisation", self.normalisation),
            normalisation_scope=choice(trial, "normalisation.scope", self.normalisation_scope),
            balance=choice(trial, "balance", self.balance),
            augmentation=self.sample_augmentation(trial),
            **self.sample_pruning(trial),
        )

    def sample_steps(self, trial: Any, optimiser: str) -> dict[str, Any]:
        """A good learning rate of one optimiser is none of another: each is a parameter of its own."""
        prefix = {"adamw": "", "sgd": "sgd.", "lion": "lion."}[optimiser]
        rates = {"adamw": self.learning_rate, "sgd": self.sgd_learning_rate, "lion": self.lion_learning_rate}
        decays = {"adamw": self.weight_decay, "sgd": self.sgd_weight_decay, "lion": self.lion_weight_decay}
        steps = {
            "learning_rate": number(trial, f"{prefix}learning_rate", rates[optimiser], log=True),
            "weight_decay": number(trial, f"{prefix}weight_decay", decays[optimiser], log=True),
        }
        if optimiser == "sgd":
            steps["momentum"] = number(trial, "sgd.momentum", self.momentum)
        return steps

    def sample_pruning(self, trial: Any) -> dict[str, Any]:
        sparsity = choice(trial, "sparsity", self.sparsity)
        return {"sparsity": sparsity, "rewind": choice(trial, "rewind", self.rewind)} if sparsity else {}

    def sample_augmentation(self, trial: Any) -> Augmentation:
        if self.policies:
            return self.policies[choice(trial, "augmentation", tuple(self.policies))]
        rotation = choice(trial, "augment.rotation", self.rotation)
        d4 = rotation < 180 and choice(trial, "augment.d4", self.d4)
        flip = not d4 and choice(trial, "augment.flip", self.flip)
        strengths = ("shift", "noise", "zoom", "blur", "brightness", "contrast", "cutout", "mixup", "cutmix")
        sampled = {name: number(trial, f"augment.{name}", getattr(self, name)) for name in strengths}
        return Augmentation(rotation=rotation, flip=flip, d4=d4, **sampled)


def choice(trial: Any, name: str, choices: tuple[Any, ...]) -> Any:
    if not choices:
        raise ValueError(f"{name}: no choice given, expected at least one")
    return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, list(choices))


def number(trial: Any, name: str, bounds: tuple[float, ...], log: bool = False) -> float:
    """One number between two, or one of any other count of them."""
    if len(bounds) != 2:
        return float(choice(trial, name, bounds))
    low, high = bounds
    return low if low == high else float(trial.suggest_float(name, low, high, log=log))


PLAIN = TrainSpace(
    learning_rate=(2e-3,),
    weight_decay=(0.02,),
    batch_size=(32,),
    label_smoothing=(0.0,),
    normalisation=("zscore",),
    rotation=(0.0,),
    flip=(True,),
    shift=(0.0,),
    noise=(0.0,),
)
"""One training, of which a study varies what it asks about."""
