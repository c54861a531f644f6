"""The bounds of the training hyperparameters, and how one training is sampled from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trainers.config import NORMALISATIONS, Augmentation, TrainConfig


@dataclass(frozen=True)
class TrainSpace:
    """Each bound is (low, high) of a range or the tuple of choices; one choice alone is fixed and not sampled."""

    learning_rate: tuple[float, float] = (1e-4, 1e-2)
    weight_decay: tuple[float, float] = (1e-4, 0.3)
    warmup_epochs: tuple[float, ...] = (1.0,)
    batch_size: tuple[int, ...] = (32, 64, 128)
    label_smoothing: tuple[float, float] = (0.0, 0.2)
    normalisation: tuple[str, ...] = NORMALISATIONS
    rotation: tuple[float, ...] = (0.0, 180.0)
    flip: tuple[bool, ...] = (False, True)
    shift: tuple[float, float] = (0.0, 0.1)
    noise: tuple[float, float] = (0.0, 0.5)

    def sample(self, trial: Any, epochs: int) -> TrainConfig:
        """Ask `trial` (anything with suggest_float and suggest_categorical) for one training of `epochs` epochs."""

        def choice(name: str, choices: tuple[Any, ...]) -> Any:
            return choices[0] if len(choices) == 1 else trial.suggest_categorical(name, list(choices))

        def number(name: str, bounds: tuple[float, float], log: bool = False) -> float:
            return bounds[0] if bounds[0] == bounds[1] else trial.suggest_float(name, *bounds, log=log)

        return TrainConfig(
            epochs=epochs,
            batch_size=choice("batch_size", self.batch_size),
            learning_rate=number("learning_rate", self.learning_rate, log=True),
            weight_decay=number("weight_decay", self.weight_decay, log=True),
            warmup_epochs=choice("warmup_epochs", self.warmup_epochs),
            label_smoothing=number("label_smoothing", self.label_smoothing),
            normalisation=choice("normalisation", self.normalisation),
            augmentation=Augmentation(
                rotation=choice("augment.rotation", self.rotation),
                flip=choice("augment.flip", self.flip),
                shift=number("augment.shift", self.shift),
                noise=number("augment.noise", self.noise),
            ),
        )
