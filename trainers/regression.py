"""Measuring numbers from an image, with or without their uncertainty.

The mean and standard deviation of the training images standardise the network's targets, because a raw mass of 1e12 has
no gradient. Images without the targets are discarded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import calibrate, metrics
from trainers.data.dataset import NUMBER, shortened
from trainers.errors import TrainingError

if TYPE_CHECKING:
    from trainers.data import Dataset, Split

BETA = 0.5
SAME = 1e-9  # relative differences of numbers that are rounding
LOG_VARIANCE = 10.0  # the largest of standardised targets, in either direction
OF_DATA = ("mean", "sd", "sigma_scale", "class_mse")


@dataclass(frozen=True)
class Regression:
    """A task that measures one number or several. A study names the first four fields; `of` adds those of its data.

    With several targets, a metric such as `mae` is the mean over them, each in units of its standard deviation over
    the training images; `mae_theta_E` is that of one target in its own unit.
    """

    target: tuple[str, ...] = ()  # names in `Split.targets`; also text such as "theta_E,gamma"
    unit: str = ""  # of every target, or with commas one for each, such as "arcsec,km/s"
    log: bool = False  # measure log10 of each target, in dex
    with_sigma: bool = False
    mean: tuple[float, ...] = ()  # of the training targets, in their own unit
    sd: tuple[float, ...] = ()
    sigma_scale: tuple[float, ...] = ()  # the factors on predicted standard deviations; (): 1
    class_mse: tuple[float, ...] = ()  # mean squared errors of the classes' mean targets; (): fewer than two classes

    classifies: ClassVar[bool] = False
    classes: ClassVar[tuple[str, ...]] = ()
    objective: ClassVar[str] = "mae"

    def __post_init__(self) -> None:
        if isinstance(self.target, str):
            object.__setattr__(self, "target", tuple(name.strip() for name in self.target.split(",")))
        if not (isinstance(self.target, tuple) and all(isinstance(name, str) for name in self.target)):
            raise TrainingError(f"target is {self.target!r}; expected the names of numbers, such as theta_E,gamma")
        if wrong := [name for name in self.target if not name.isidentifier() or self.target.count(name) > 1]:
            raise TrainingError(f"target {wrong[0]!r}: expected different plain words, such as theta_E,gamma")
        if wrong := [name for name in self.target if name in self._of_classes()]:
            raise TrainingError(
                f"target {wrong[0]!r} beside others: its metric r2_{wrong[0]} has another meaning; rename the number"
            )
        if not isinstance(self.unit, str) or self.unit.count(",") not in (0, len(self.target) - 1):
            raise TrainingError(
                f"unit is {self.unit!r}; expected one unit, or one for each of {len(self.target)} targets with commas"
            )
        for name in ("log", "with_sigma"):
            if not isinstance(getattr(self, name), bool):
                raise TrainingError(f"{name} is {getattr(self, name)!r}; expected True or False")
        for name in OF_DATA:
            value = getattr(self, name)
            value = () if value is None else value if isinstance(value, tuple) else (value,)  # before: one number
            if not all(isinstance(number, Real) and math.isfinite(number) for number in value):
                raise TrainingError(f"{name} is {value}; expected numbers")
            if len(value) not in (0, len(self.target)):
                raise TrainingError(f"{name} is {value}; expected one number for each of {', '.join(self.target)}")
            object.__setattr__(self, name, tuple(map(float, value)))

    def __str__(self) -> str:
        name = "regression_sigma" if self.with_sigma else "regression"
        return f"{name} of {', '.join(self.quantities)}" if self.target else name

    @property
    def quantities(self) -> tuple[str, ...]:
        """What the network predicts, with its unit: `theta_E [arcsec]`, or `log10 of theta_E in arcsec [dex]`."""
        units = self.unit.split(",") if "," in self.unit else [self.unit] * len(self.target)
        each = [(name, unit.strip()) for name, unit in zip(self.target, units, strict=True)]
        if self.log:
            return tuple(f"log10 of {name}{f' in {unit}' * bool(unit)} [dex]" for name, unit in each)
        return tuple(f"{name}{f' [{unit}]' * bool(unit)}" for name, unit in each)

    def of(self, data: Dataset) -> Self:
        """The task on this data set. TrainingError if a split knows the targets for fewer than 2 images."""
        if not self.target:
            raise TrainingError(f"which number of {data.name} is measured? Name it (target); {given(data)}")
        self.check_logarithms(data)
        for name in ("train", "val", "test"):
            split = getattr(data, name)
            for target in self.target:
                values = self._values(split, target)
                known = int(torch.isfinite(values).sum())
                if known < 2:
                    raise TrainingError(
                        f"{data.name} gives {target} for {known} images to {name}; expected 2 or more; {given(data)}"
                    )
            if (known := len(self.select(split))) < 2:
                raise TrainingError(
                    f"{data.name} gives {' and '.join(self.target)} together for {known} images to {name}; expected 2 "
                    "or more"
                )
        train = self.select(data.train)
        values = self.targets(train)
        mean, sd = values.mean(0), values.std(0)
        for target, centre, spread in zip(self.target, mean.tolist(), sd.tolist(), strict=True):
            if spread <= SAME * abs(centre) or spread == 0:
                raise TrainingError(
                    f"{target} of {data.name} is {centre:g} for every training image, so there is nothing to measure; "
                    "give images in which it differs (of the simulated populations: varied)"
                )
        return replace(self, mean=tuple(mean.tolist()), sd=tuple(sd.tolist()), class_mse=_class_mse(values, train))

    def check_logarithms(self, data: Dataset) -> None:
        """TrainingError if the task is to measure the log10 of a number that is not above 0."""
        for split in (data.train, data.val, data.test) if self.log else ():
            for target in self.target:
                values = self._values(split, target)
                if (values <= 0).any():
                    raise TrainingError(
                        f"{target} of {data.name} is {float(values[values <= 0][0]):g} for an image; its log10 needs "
                        "numbers above 0"
                    )

    @property
    def num_outputs(self) -> int:
        return len(self.target) * (2 if self.with_sigma else 1)

    @property
    def higher_is_better(self) -> tuple[str, ...]:
        """The metrics of single targets that can be objectives."""
        return self._of_each("r2", "r2_within")

    @property
    def lower_is_better(self) -> tuple[str, ...]:
        return self._of_each("mae", "rmse", "scatter", "nll")

    def select(self, split: Split) -> Split:
        return split.where(torch.isfinite(self.targets(split)).all(1))

    def targets(self, split: Split) -> Tensor:
        values = torch.stack([self._values(split, target) for target in self.target], 1)
        return values.log10() if self.log else values

    def loss(
        self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
    ) -> Tensor:
        """Huber loss of the standardised error; with standard deviations, beta-NLL (arXiv 2203.09168, equation 5)."""
        each = zip(targets.unbind(1), self.mean, self.sd, strict=True)
        outputs, y = outputs.float(), torch.stack([((values - mean) / sd).float() for values, mean, sd in each], 1)
        if self.with_sigma:
            value, log_variance = outputs.tensor_split(2, 1)
            log_variance = log_variance.clamp(-LOG_VARIANCE, LOG_VARIANCE)
            errors = 0.5 * (log_variance + (value - y) ** 2 * torch.exp(-log_variance))
            errors = errors * torch.exp(BETA * log_variance).detach()
        else:
            errors = F.huber_loss(outputs, y, reduction="none")
        errors = errors.mean(1)
        return (errors if weights is None else weights * errors).mean()

    def predict(self, outputs: Tensor) -> Tensor:
        """Values (B, targets) in the targets' units, or (B, 2 targets): all values, then their standard deviations."""
        outputs = outputs.double()
        count, sd = len(self.target), outputs.new_tensor(self.sd)
        value = outputs.new_tensor(self.mean) + sd * outputs[:, :count]
        if not self.with_sigma:
            return value
        scale = sd * outputs.new_tensor(self.sigma_scale) if self.sigma_scale else sd
        return torch.cat([value, scale * torch.exp(0.5 * outputs[:, count:].clamp(-LOG_VARIANCE, LOG_VARIANCE))], 1)

    def combine(self, predictions: Sequence[Tensor]) -> Tensor:
        """The mean and standard deviation of the mixture (Lakshminarayanan et al. 2017, section 2.4), as `predict`."""
        stacked, count = torch.stack(list(predictions)), len(self.target)
        value = stacked[..., :count].mean(0)
        if not self.with_sigma:
            return value
        variance = (stacked[..., count:] ** 2 + (stacked[..., :count] - value) ** 2).mean(0)
        return torch.cat([value, variance.sqrt()], -1)

    def calibrated(self, predicted: Tensor, targets: Tensor) -> Self:
        """The task with standard deviations scaled so that these held-out errors have unit z (arXiv 2006.13092)."""
        z = calibrate.ratios(predicted, targets)
        before = self.sigma_scale or (1.0,) * len(z)
        return replace(self, sigma_scale=tuple(scale * factor for scale, factor in zip(before, z, strict=True)))

    def metrics(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """`metrics.regression` of the only target; or means over the targets, then each target's own."""
        count, both = len(self.target), (np.asarray(predicted), np.asarray(targets))
        each = [metrics.regression(both[0][:, k::count], both[1][:, k]) for k in range(count)]
        if count == 1:
            return each[0]
        found = {
            name: fmean(_in_sd(name, of_one[name], sd) for of_one, sd in zip(each, self.sd, strict=True))
            for name in each[0]
        }
        if "z_rms" in found:
            found["z_rms"] = math.sqrt(fmean(of_one["z_rms"] ** 2 for of_one in each))
        for target, of_one in zip(self.target, each, strict=True):
            found |= {f"{name}_{target}": value for name, value in of_one.items()}
        return found

    def metrics_in_full(self, predicted: Tensor, targets: Tensor) -> dict[str, float]:
        """`metrics`, and where classes differ in the numbers, what a network adds to knowing the class.

        r2_class_means is the R2 of answering with the mean of the image's class, on the training images; r2_within is
        the fraction that the network explains of what those means leave.
        """
        found = self.metrics(predicted, targets)
        if self.class_mse and all(self.class_mse):
            rmse = [found[name] for name in self._of_each("rmse") or ("rmse",)]
            means = [1 - mse / sd**2 for mse, sd in zip(self.class_mse, self.sd, strict=True)]
            within = [1 - error**2 / mse for error, mse in zip(rmse, self.class_mse, strict=True)]
            for name, values in (("r2_class_means", means), ("r2_within", within)):
                found |= {name: fmean(values), **dict(zip(self._of_each(name), values, strict=False))}
        return found

    def _values(self, split: Split, target: str) -> Tensor:
        """The target of every image, (N,), NaN where unknown.

        The only number of the images, if it has no name, stands for the only target; but not for the axion's mass,
        which is recognised by its size.
        """
        if target in split.targets:
            return split.targets[target]
        if list(split.targets) == [NUMBER] and len(self.target) == 1 and target != "axion_mass":
            return split.targets[NUMBER]
        return torch.full((len(split),), float("nan"))

    def _of_classes(self) -> set[str]:
        """The names of targets whose R2 would have the name of another metric, that of `metrics_in_full`."""
        each = ("", *(f"_{target}" for target in self.target))
        return {f"{what}{of}" for what in ("within", "class_means") for of in each} if len(self.target) > 1 else set()

    def _of_each(self, *names: str) -> tuple[str, ...]:
        """The names of single targets' metrics; none if there is one target, whose metrics have plain names."""
        return tuple(f"{name}_{target}" for name in names for target in self.target if len(self.target) > 1)


def given(data: Dataset) -> str:
    """Words for the numbers that the data has of its images."""
    parts = (data.train, data.val, data.test)
    names = dict.fromkeys(name for split in parts for name, values in split.targets.items() if values.isfinite().any())
    return (
        f"it gives {', '.join(shortened(names))}"
        if names
        else "it gives no numbers with its images, as simulated lenses do"
    )


def _in_sd(metric: str, value: float, sd: float) -> float:
    """The metric of a target as it is in units of the target's standard deviation."""
    if metric == "nll":
        return value - math.log(sd)
    return value / sd if metric in ("mae", "rmse", "bias", "scatter") else value


def _class_mse(values: Tensor, split: Split) -> tuple[float, ...]:
    labels = split.labels
    groups = [values[labels == label] for label in labels.unique()]
    if len(groups) < 2:
        return ()
    total = torch.stack([((group - group.mean(0)) ** 2).sum(0) for group in groups]).sum(0)
    return tuple((total / len(values)).tolist())
