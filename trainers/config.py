"""The training half of a configuration, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

NORMALISATIONS = ("minmax", "zscore", "log", "asinh")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, drawn anew for every image and epoch; all zero means none.

    rotation: largest turn in degrees, the angle is uniform in [-rotation, rotation];
    flip: mirror with probability 1/2;
    shift: largest shift as a fraction of the image side, uniform in both directions;
    noise: standard deviation of added Gaussian noise, in units of the normalised image's own standard deviation.
    """

    rotation: float = 180.0
    flip: bool = True
    shift: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value, high in (
            ("rotation", self.rotation, 180),
            ("shift", self.shift, 0.5),
            ("noise", self.noise, 10),
        ):
            if not 0 <= value <= high:
                raise ValueError(f"augmentation {name} is {value}; expected a number from 0 to {high}")


@dataclass(frozen=True)
class TrainConfig:
    """One full training: AdamW, linear warm-up over `warmup_epochs`, then a cosine to zero at `epochs`."""

    epochs: int = 12
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    normalisation: str = "zscore"
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs {self.epochs} and batch size {self.batch_size} must be at least 1")
        if not 0 < self.learning_rate < 10:
            raise ValueError(f"learning rate {self.learning_rate} is not between 0 and 10")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warm-up of {self.warmup_epochs} epochs must be shorter than the {self.epochs} epochs of training"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label smoothing {self.label_smoothing} is not in [0, 1)")
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"unknown normalisation {self.normalisation!r}; known: {', '.join(NORMALISATIONS)}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`; a key that is not a field is refused."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown training parameters {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**{**values, "augmentation": Augmentation(**values.get("augmentation", {}))})
