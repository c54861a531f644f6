"""The training half of a configuration as frozen data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral, Real
from typing import Any

from trainers.errors import TrainingError

NORMALISATIONS = ("minmax", "zscore", "log", "asinh", "percentile")
SCOPES = ("image", "global")
OPTIMISERS = ("adamw", "sgd", "lion")
SCHEDULES = ("cosine", "linear", "constant")
BALANCES = ("none", "weights", "sampling")
MOST_EPOCHS = 100_000

# The bounds of the fields of `TrainConfig`.
WHOLE = (("epochs", 1, MOST_EPOCHS), ("batch_size", 1, 1_000_000), ("rewind", 0, MOST_EPOCHS))
NUMBERS = (
    ("learning_rate", 1e-12, 10), ("weight_decay", 0, 100), ("warmup_epochs", 0, MOST_EPOCHS),
    ("clip_norm", 1e-12, 1e12), ("ema", 0, MOST_EPOCHS),
)  # fmt: skip
FRACTIONS = ("momentum", "label_smoothing", "sparsity")  # 1 excluded


def _check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False, below: bool = False) -> None:
    """Raise TrainingError unless `value` is a number from `low` to `high`, or below it."""
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (below and value == high):
        kind = "a whole number" if whole else "a number"
        raise TrainingError(f"{name} is {value!r}; expected {kind} from {low:g} to {'below ' * below}{high:g}")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the training images, drawn anew for every image in every epoch. All zero means none.

    rotation: largest turn in degrees; the angle is uniform in [-rotation, rotation].
    flip: mirror with probability 1/2.
    shift: largest shift as a fraction of the image's side, uniform in both directions.
    noise: standard deviation of added Gaussian noise, in units of the normalised image's own standard deviation.
    d4: one of the eight symmetries of the square (quarter turns and mirrors), without interpolation.
    zoom: magnification from 1/(1 + zoom) to 1 + zoom, uniform in its logarithm.
    blur: largest standard deviation of a Gaussian blur in pixels, uniform from 0.
    brightness: largest change of the mean in either direction, in units of the image's standard deviation.
    contrast: factor on all differences from the mean, from 1/(1 + contrast) to 1 + contrast, uniform in its logarithm.
    cutout: side of a hidden square as a fraction of the image's side.
    mixup, cutmix: the strength a of the distribution Beta(a, a) of the weights of two mixed images.
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
            if name in ("flip", "d4"):
                if not isinstance(value, bool):
                    raise TrainingError(f"augmentation {name} is {value!r}; expected True or False")
            else:
                _check_number(f"augmentation {name}", value, 0, highest.get(name, 10))

    @property
    def mixes(self) -> bool:
        """Whether images and their targets are mixed."""
        return self.mixup > 0 or self.cutmix > 0


NO_AUGMENTATION = Augmentation(rotation=0.0, flip=False)


@dataclass(frozen=True)
class TrainConfig:
    """One full training: linear warm-up over `warmup_epochs`, then `schedule` to the end of `epochs`.

    schedule: cosine and linear fall to zero.
    momentum: of SGD only.
    ema: above zero, the network that is evaluated and kept is a running mean of the weights over about `ema` epochs.
    normalisation_scope: "image" normalises each image by its own pixels, "global" all by those of the training images.
    balance: makes classes of different size count alike, by "weights" in the loss or by "sampling" images of small
    classes more often.
    sparsity: above zero, the network becomes a lottery ticket (arXiv 1803.03635, 1903.01611). It is trained dense for
    `prune_after` epochs, half of all. Then the fraction `sparsity` of its blocks' weights is removed, the smallest over
    all layers, and everything else returns to its value after `rewind` epochs (0: as initialised). Optimiser and
    running mean start afresh. The learning rate is rewound too, and the rest of its schedule is compressed into the
    remaining epochs.
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
        for name, lowest, highest in WHOLE:
            _check_number(name, getattr(self, name), lowest, highest, whole=True)
        for name, low, high in NUMBERS:
            _check_number(name, getattr(self, name), low, high)
        for name in FRACTIONS:
            _check_number(name, getattr(self, name), 0, 1, below=True)
        if not isinstance(self.augmentation, Augmentation):
            raise TrainingError(f"augmentation is {self.augmentation!r}; expected an Augmentation")
        if not self.warmup_epochs < self.epochs:
            raise TrainingError(
                f"warm-up of {self.warmup_epochs} epochs must be shorter than the {self.epochs} epochs of training"
            )
        if self.sparsity and self.prune_after < max(self.rewind, 1):
            raise TrainingError(
                f"weights are removed after half of {self.epochs} epochs and cannot return to later ones "
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
                raise TrainingError(f"unknown {what} {value!r}; known: {', '.join(known)}")

    @property
    def prune_after(self) -> int:
        """The number of dense epochs before weights are removed, if `sparsity` is above zero."""
        return self.epochs // 2

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainConfig:
        """The inverse of `to_dict`. Missing keys take their defaults; an unknown one is a TrainingError."""
        given = _known(cls, values, "training")
        if "augmentation" in given:
            given["augmentation"] = Augmentation(**_known(Augmentation, given["augmentation"], "augmentation"))
        return cls(**given)


def _known(cls: type[TrainConfig | Augmentation], values: Any, what: str) -> dict[str, Any]:
    """The values by name. TrainingError unless they are a mapping that has only fields of `cls`."""
    if not isinstance(values, Mapping):
        raise TrainingError(f"{what} is {values!r}; expected parameters by name")
    known = [f.name for f in fields(cls)]
    if unknown := sorted(str(name) for name in values if name not in known):
        raise TrainingError(f"unknown {what} parameters {', '.join(unknown)}; known: {', '.join(known)}")
    return dict(values)
