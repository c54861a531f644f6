# ruff: noqa: RUF009
"""The bounds of the training hyperparameters, and how one training is sampled from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from search_space.bounds import Bound, Range, Trial, check, pick, values
from studies.errors import StudyError
from trainers.config import MOST_EPOCHS, NO_AUGMENTATION, OPTIMISERS, Augmentation, TrainConfig
from trainers.errors import TrainingError

STRENGTHS = ("shift", "noise", "zoom", "blur", "brightness", "contrast", "cutout", "mixup", "cutmix")
AUGMENTED = (*STRENGTHS, "rotation", "flip", "d4")


@dataclass(frozen=True)
class TrainSpace:
    """The bounds of one training, as in `TrainConfig` and `Augmentation`.

    A bound is a `Range` of ordered values or a tuple of choices; a single value fixes the parameter.

    A parameter is asked for only if it has an effect: each optimiser has parameters of its own name, only SGD has
    momentum, only what is pruned is rewound, a full turn contains the symmetries of the square, and these its mirrors.
    Every augmentation can be off: a strength from a range never is, and a network that is trained with all of them at
    once learns nothing (studies/README.md). `policies`, by name, replace all single strengths if there are any.
    """

    learning_rate: Bound = Range(1e-4, 1e-2, log=True)
    weight_decay: Bound = Range(1e-4, 0.3, log=True)
    warmup_epochs: Bound = (1.0,)
    batch_size: Bound = (32, 64, 128)
    label_smoothing: Bound = (0.0, 0.1)
    normalisation: Bound = ("minmax", "zscore", "log", "asinh")
    rotation: Bound = (0.0, 180.0)
    flip: Bound = (False, True)
    shift: Bound = (0.0, 0.05)
    noise: Bound = (0.0, 0.1)
    optimiser: Bound = ("adamw",)
    sgd_learning_rate: Bound = Range(1e-2, 1.0, log=True)
    sgd_weight_decay: Bound = Range(1e-5, 1e-2, log=True)
    momentum: Bound = Range(0.8, 0.99)
    lion_learning_rate: Bound = Range(3e-5, 1e-3, log=True)
    lion_weight_decay: Bound = Range(1e-3, 1.0, log=True)
    schedule: Bound = ("cosine",)
    ema: Bound = (0.0,)
    normalisation_scope: Bound = ("image",)
    balance: Bound = ("none",)
    d4: Bound = (False, True)
    zoom: Bound = (0.0,)
    blur: Bound = (0.0,)
    brightness: Bound = (0.0,)
    contrast: Bound = (0.0,)
    cutout: Bound = (0.0,)
    mixup: Bound = (0.0,)
    cutmix: Bound = (0.0,)
    policies: Mapping[str, Augmentation] = field(default_factory=dict)
    sparsity: Bound = (0.0,)
    rewind: Bound = (1,)

    def __post_init__(self) -> None:
        for bounded in fields(self):
            if bounded.name != "policies":
                self._check(bounded.name, getattr(self, bounded.name))
        if not isinstance(self.policies, Mapping) or not all(
            isinstance(name, str) and isinstance(policy, Augmentation) for name, policy in self.policies.items()
        ):
            raise StudyError(f"policies is {self.policies!r}; expected an Augmentation for each name")
        if unknown := [name for name in values(self.optimiser) if name not in OPTIMISERS]:
            raise StudyError(f"unknown optimiser {unknown[0]!r}, expected one of: {', '.join(OPTIMISERS)}")

    def _check(self, name: str, bound: Any) -> None:
        """Raise an error for what is no bound, or for a value of it that no training can have."""
        check(name, bound)
        field = name.removeprefix("sgd_").removeprefix("lion_")
        for value in (bound.low, bound.high) if isinstance(bound, Range) else bound:
            try:
                given: dict[str, Any] = {field: value}
                if field in AUGMENTED:
                    replace(NO_AUGMENTATION, **given)
                elif field != "optimiser":
                    TrainConfig(**{"epochs": MOST_EPOCHS, "warmup_epochs": 0, **given})
            except TrainingError as error:
                raise StudyError(str(error) if str(error).startswith(name) else f"{name}: {error}") from error

    @property
    def always_turned(self) -> bool:
        """Whether every training turns or mirrors its images."""
        if self.policies:
            return all(policy.d4 or policy.flip or policy.rotation for policy in self.policies.values())
        return (True,) in (values(self.d4), values(self.flip)) or min(values(self.rotation)) > 0

    def sample(self, trial: Trial, epochs: int) -> TrainConfig:
        """Sample one training of `epochs` epochs."""
        batch_size = pick(trial, "batch_size", self.batch_size)
        optimiser = pick(trial, "optimiser", self.optimiser)
        return TrainConfig(
            epochs=epochs,
            batch_size=batch_size,
            optimiser=optimiser,
            **self.sample_steps(trial, optimiser),
            schedule=pick(trial, "schedule", self.schedule),
            warmup_epochs=pick(trial, "warmup_epochs", self.warmup_epochs),
            label_smoothing=number(trial, "label_smoothing", self.label_smoothing),
            ema=pick(trial, "ema", self.ema),
            normalisation=pick(trial, "normalisation", self.normalisation),
            normalisation_scope=pick(trial, "normalisation.scope", self.normalisation_scope),
            balance=pick(trial, "balance", self.balance),
            augmentation=self.sample_augmentation(trial),
            **self.sample_pruning(trial),
        )

    def sample_steps(self, trial: Trial, optimiser: str) -> dict[str, Any]:
        """Sample what sets the steps. A good learning rate of one optimiser is a bad one of another."""
        prefix = {"adamw": "", "sgd": "sgd.", "lion": "lion."}[optimiser]
        rates = {"adamw": self.learning_rate, "sgd": self.sgd_learning_rate, "lion": self.lion_learning_rate}
        decays = {"adamw": self.weight_decay, "sgd": self.sgd_weight_decay, "lion": self.lion_weight_decay}
        steps = {
            "learning_rate": number(trial, f"{prefix}learning_rate", rates[optimiser]),
            "weight_decay": number(trial, f"{prefix}weight_decay", decays[optimiser]),
        }
        if optimiser == "sgd":
            steps["momentum"] = number(trial, "sgd.momentum", self.momentum)
        return steps

    def sample_pruning(self, trial: Trial) -> dict[str, Any]:
        sparsity = pick(trial, "sparsity", self.sparsity)
        return {"sparsity": sparsity, "rewind": pick(trial, "rewind", self.rewind)} if sparsity else {}

    def sample_augmentation(self, trial: Trial) -> Augmentation:
        if self.policies:
            return self.policies[pick(trial, "augmentation", tuple(self.policies))]
        rotation = pick(trial, "augment.rotation", self.rotation)
        d4 = rotation < 180 and pick(trial, "augment.d4", self.d4)
        flip = not d4 and pick(trial, "augment.flip", self.flip)
        sampled = {name: number(trial, f"augment.{name}", getattr(self, name)) for name in STRENGTHS}
        return Augmentation(rotation=rotation, flip=flip, d4=d4, **sampled)


def number(trial: Trial, name: str, bound: Bound) -> float:
    """Pick a number, as a float even if the bound has whole ones."""
    return float(pick(trial, name, bound))


# The symmetries of the square in every training, or full turns with mirrors: the sky has no axis, they cost nothing
# upright, and a network trained without them fails on turned images (studies/README.md). On top of them nothing, or one
# change: of nine strengths drawn one by one, most would be on.
_D4 = Augmentation(rotation=0.0, flip=False, d4=True)
POLICIES = {
    "d4": _D4,
    "rotation-180+flip": replace(NO_AUGMENTATION, rotation=180.0, flip=True),
    "d4+noise": replace(_D4, noise=0.1),
    "d4+blur": replace(_D4, blur=0.5),
    "d4+shift": replace(_D4, shift=0.02),
    "d4+mixup": replace(_D4, mixup=0.1),
}

D4_OR_NONE = {"none": NO_AUGMENTATION, "d4": _D4}

# One training, fixed. A study varies what it asks about with `replace`.
PLAIN_TRAINING = TrainSpace(
    learning_rate=(2e-3,),
    weight_decay=(0.02,),
    batch_size=(32,),
    label_smoothing=(0.0,),
    normalisation=("zscore",),
    rotation=(0.0,),
    flip=(True,),
    d4=(False,),
    shift=(0.0,),
    noise=(0.0,),
)
