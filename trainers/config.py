"""The training half of a configuration, as plain frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

NORMALISATIONS = ("minmax", "zscore", "log", "asinh")
SCOPES = ("image", "global")
OPTIMISERS = ("adamw", "sgd", "lion")
SCHEDULES = ("cosine", "linear", "constant")
BALANCES = ("none", "weights", "sampling")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a training image, drawn anew for every image and epoch; all zero means none.

    rotation: largest turn in degrees, the angle is uniform in [-rotation, rotation];
    flip: mirror with probability 1/2;
    shift: largest shift as a fraction of the image side, uniform in both directions;
    noise: standard deviation of added Gaussian noise, in units of the normalised image's own standard deviation;
    d4: one of the eight symmetries of the square (quarter turns and mirrors), without interpolation;
    zoom: magnification from 1/(1 + zoom) to 1 + zoom, its logarithm uniform;
    blur: largest standard deviation in pixels of a Gaussian blur, uniform from 0;
    brightness: largest change of the mean, either way, in units of the image's standard deviation;
    contrast: factor of all differences from the mean, from 1/(1 + contrast) to 1 + contrast, its logarithm uniform;
    cutout: side of a hidden square as a fraction of the image's;
    mixup, cutmix: the strength a of Beta(a, a), from which the weights of two mixed images are drawn.
    """

    rotation: float = 180.0
    flip: bool = True
    shift: float = 0.0
    noise: float = 0.0
    d4: bool = False
    zoom: float = 0.0
    blur: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        highest = {"rotation": 180, "shift": 0.5, "cutout": 1, "zoom": 3}
        for name, value in vars(self).items():
            high = highest.get(name, 10)
            if not 0 <= value <= high:
                raise ValueError(f"augmentation {name} is {value}; expected a number from 0 to {high}")

    @property
    def mixes(self) -> bool:
        """Whether images, and their targets, are mixed."""
        return self.mixup > 0 or self.cutmix > 0


NO_AUGMENTATION = Augmentation(rotation=0.0, flip=False)


@dataclass(frozen=True)
class TrainConfig:
    """One full training: linear warm-up over `warmup_epochs`, then `schedule` to the end of `epochs`.

    cosine and linear fall to zero. With `ema` above zero, what is evaluated and kept is a running mean of the weights
    over about so many epochs. `normalisation_scope`: "image", each by its own pixels, or "global", all by the training
    images'. `momentum` is only SGD's. `balance`: classes of different size count alike, in the loss by "weights" or by
    "sampling" images of small ones more often.

    With `sparsity` above zero the network becomes a lottery ticket (arXiv 1803.03635, 1903.01611): it is trained dense
    for `prune_after` epochs, half of them; then that share of the weights of its blocks is removed, the smallest over
    all layers, everything else is set back to what it was after `rewind` epochs (0: as initialised), and it is trained
    on to the end, optimiser and running mean begun anew. The learning rate is set back too, and what its schedule has
    left from there is run through in the epochs that remain.
    """

    epochs: int = 12
    batch_size: int = 64
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    clip_norm: float = 1.0
    ema: float = 0.0
    normalisation: str = "zscore"
    normalisation_scope: str = "image"
    balance: str = "none"
    augmentation: Augmentation = field(default_factory=Augmentation)
    sparsity: float = 0.0
    rewind: int = 1

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs {self.epochs} and batch size {self.batch_size} must be at least 1")
        if not 0 < self.learning_rate < 10:
            raise ValueError(f"learning rate {self.learning_rate} is not between 0 and 10")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum {self.momentum} is not in [0, 1)")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warm-up of {self.warmup_epochs} epochs must be shorter than the {self.epochs} epochs of training"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label smoothing {self.label_smoothing} is not in [0, 1)")
        if self.ema < 0:
            raise ValueError(f"ema is {self.ema}; expected the epochs of a running mean, or 0 for none")
        if not 0 <= self.sparsity < 1:
            raise ValueError(
                f"sparsity is {self.sparsity}; expected the share of weights to remove, 0 or more, below 1"
            )
        if not isinstance(self.rewind, int) or self.rewind < 0:
            raise ValueError(f"rewind is {self.rewind}; expected the number of an epoch, or 0 for the initial weights")
        if self.sparsity and self.prune_after < max(self.rewind, 1):
            raise ValueError(
                f"weights are removed after half of {self.epochs} epochs and cannot be set back to later ones "
                f"(rewind {self.rewind}): expected at least {2 * max(self.rewind, 1)} epochs"
            )
        for what, value, known in (
            ("normalisation", self.normalisation, NORMALISATIONS),
            ("normalisation scope", self.normalisation_scope, SCOPES),
            ("optimiser", self.optimiser, OPTIMISERS),
            ("schedule", self.schedule, SCHEDULES),
            ("balance", self.balance, BALANCES),
        ):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; known: {', '.join(known)}")

    @property
    def prune_after(self) -> int:
        """The epochs of dense training before weights are removed, where `sparsity` is above zero."""
        return self.epochs // 2

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`; a key that is not a field is refused."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown training parameters {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**{**values, "augmentation": Augmentation(**values.get("augmentation", {}))})
