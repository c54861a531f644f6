"""A study as one frozen value, and the configuration that one of its trials trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import partial
from typing import Any, Literal

from search_space import BackboneSpace, HybridSpace, ToySpace, from_dict, to_dict
from search_space.architecture import Architecture
from search_space.bounds import values
from studies.baselines import BASELINES, check_baselines
from studies.errors import StudyError
from studies.first import check_first
from studies.train_space import TrainSpace
from trainers import tasks
from trainers.config import MOST_EPOCHS, TrainConfig
from trainers.data import Simulated, Source, source_to_dict
from trainers.regression import Regression

DEFAULT_SIZE = 64  # pixels; of images whose source names no size
LARGE = 1024  # pixels; of images at which a space asks for everything that it can
WHOLE = {  # the bounds of each; larger numbers are mistakes, and no trial could reach them
    "trials": (1, 1_000_000), "epochs": (1, MOST_EPOCHS), "min_epochs": (1, MOST_EPOCHS), "factor": (2, MOST_EPOCHS),
    "seeds": (1, 1000), "seed": (0, 2**31 - 1), "max_parameters": (1, 10**12), "max_macs": (1, 10**15),
}  # fmt: skip
MOST_FOLDS = 100
COSTS = ("macs", "parameters")  # of a network, known before it is trained
NOT_IDENTITY = ("trials", "question", "first", "finals", "folds", "baselines")  # a study may be resumed with others


@dataclass(frozen=True)
class Configuration:
    """Everything that a trial's result depends on, besides the study's data and task."""

    architecture: Architecture
    training: TrainConfig
    seed: int
    fold: tuple[int, int] | None = None  # (k, n): validate on fold k of n of the training and validation images

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data, from which `from_dict` rebuilds the trial even after the space has changed."""
        made = {"architecture": to_dict(self.architecture), "training": self.training.to_dict(), "seed": self.seed}
        return made if self.fold is None else {**made, "fold": list(self.fold)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Configuration:
        """Invert `to_dict`. StudyError, ArchitectureError or TrainingError for what is no configuration."""
        if not isinstance(values, Mapping) or not {"architecture", "training", "seed"} <= set(values):
            raise StudyError(f"the configuration is {values!r}; expected architecture, training and seed by name")
        seed, fold = values["seed"], values.get("fold")
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise StudyError(f"the configuration's seed is {seed!r}; expected a whole number from 0")
        if fold is not None and not (
            isinstance(fold, list | tuple) and len(fold) == 2 and all(isinstance(k, int) for k in fold)
        ):
            raise StudyError(f"the configuration's fold is {fold!r}; expected its number and that of all folds")
        training = TrainConfig.from_dict(values["training"])
        return cls(from_dict(values["architecture"]), training, seed, None if fold is None else (fold[0], fold[1]))


@dataclass(frozen=True)
class StudySpec:
    """What is asked, of which data, over which space, and with what budget.

    A full training has `epochs` epochs. Weak trials pause at a rung below that: at 1/`factor` of the epochs, at
    1/`factor` of those, and so on, but not below `min_epochs`. Architectures above `max_parameters` or `max_macs`
    (multiply-accumulates for one image) are never trained, and a trial ends as soon as its full training would take
    longer than `max_seconds`. `objective` is a metric, or a metric and a cost, as in
    "auc,macs": the search then looks for the front of the two, the best metric at every cost. `first` holds parameters
    of the first trials by name; what it omits is sampled. With `seeds` above one, the seed is a parameter like any
    other: the sampler `grid` trains every cell with each seed. `finals` is the cost, as a share of the search's epochs,
    of training the best again with fresh seeds at its end. With `folds`, these also validate on one fold after the
    other of the training and validation images, so that few validation images do not decide. `baselines` are what a
    retraining compares its configurations with (studies/baselines.py).

    Raises:
        StudyError: a field of the wrong type or out of bounds, or a `first` that the study does not ask for.
        ArchitectureError: a space from which nothing can be sampled.
    """

    name: str
    question: str
    space: HybridSpace | BackboneSpace | ToySpace = field(default_factory=HybridSpace)
    training: TrainSpace = field(default_factory=TrainSpace)
    data: Source = field(default_factory=Simulated)
    task: tasks.Named = "substructure"
    objective: str = "auc"
    direction: Literal["maximize", "minimize"] = "maximize"
    first: tuple[Mapping[str, Any], ...] = ()
    trials: int = 100
    epochs: int = 12
    min_epochs: int = 4
    factor: int = 3
    scheduler: str = "adaptive"
    sampler: str = "surrogate"
    seeds: int = 1
    finals: float = 0.2
    folds: int = 0
    max_parameters: int = 5_000_000
    max_macs: int = 100_000_000
    max_seconds: float | None = None
    seed: int = 0
    baselines: tuple[str, ...] = BASELINES

    def __post_init__(self) -> None:
        self._check_fields()
        if self.min_epochs > self.epochs:
            raise StudyError(f"min_epochs is {self.min_epochs}; expected at most the budget of {self.epochs} epochs")
        objectives(self.objective)  # to refuse an unknown cost
        warmup = max(values(self.training.warmup_epochs))
        if self.min_epochs <= warmup:
            raise StudyError(
                f"the lowest rung, after epoch {self.min_epochs}, must lie above the warm-up, which ends after epoch "
                f"{warmup:g}, or slow starters are stopped before they begin: raise min_epochs (or --epochs), or "
                "shorten the warm-up"
            )
        for sparsity in values(self.training.sparsity):
            for rewind in values(self.training.rewind):
                TrainConfig(epochs=self.epochs, warmup_epochs=0, sparsity=sparsity, rewind=rewind)  # refuses bad ones
        # A parameter may be fixed by the task or the size of the images: a `first` may still name it.
        unrestricted = partial(self._sample, training=self.training, image_size=LARGE)
        check_first(self.first or ({},), (self.sample, unrestricted))

    def _check_fields(self) -> None:
        for name in ("name", "question", "task", "objective", "scheduler", "sampler"):
            if not isinstance(value := getattr(self, name), str | Regression if name == "task" else str):
                raise StudyError(f"{name} is {value!r}; expected text{' or a Regression' * (name == 'task')}")
        for name, (low, high) in WHOLE.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise StudyError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        whole = isinstance(self.folds, int) and not isinstance(self.folds, bool)
        if not whole or not (self.folds == 0 or 2 <= self.folds <= MOST_FOLDS):
            raise StudyError(f"folds is {self.folds!r}; expected a whole number from 2 to {MOST_FOLDS}, or 0 for none")
        if isinstance(self.finals, bool) or not isinstance(self.finals, int | float) or not 0 <= self.finals <= 1:
            raise StudyError(f"finals is {self.finals!r}; expected a share of the search's cost, from 0 to 1")
        seconds = self.max_seconds
        if seconds is not None and (
            isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0
        ):
            raise StudyError(f"max_seconds is {seconds!r}; expected seconds above 0, or None")
        if self.direction not in ("maximize", "minimize"):
            raise StudyError(f"direction is {self.direction!r}; expected 'maximize' or 'minimize'")
        if not is_dataclass(self.space) or isinstance(self.space, type) or not hasattr(self.space, "sample"):
            raise StudyError(f"space is {self.space!r}; expected a HybridSpace, BackboneSpace or ToySpace")
        if not isinstance(self.training, TrainSpace):
            raise StudyError(f"training is {self.training!r}; expected a TrainSpace")
        if not isinstance(self.data, Source):
            raise StudyError(f"data is {self.data!r}; expected a source: trainers.data.Simulated or Folder")
        check_baselines(self.baselines)
        if not isinstance(self.first, tuple):
            raise StudyError(f"first is {self.first!r}; expected a tuple of parameters by name: ({{...}},)")

    @property
    def metric(self) -> str:
        """The metric of `objective`."""
        return objectives(self.objective)[0]

    @property
    def cost(self) -> str:
        """The cost of `objective`, which is minimised; empty if it has none."""
        return objectives(self.objective)[1]

    def sample(self, trial: Any, image_size: int | None = None) -> Configuration:
        """Decode a trial: anything with Optuna's suggest methods, such as FixedTrial of a stored trial's params.

        `image_size` is that of the images in pixels; None: as the data source names it, or else 64.
        """
        training = self.training
        if not tasks.of_name(self.task).classifies:  # numbers cannot be smoothed like labels, and zoom changes lengths
            unzoomed = {name: policy for name, policy in training.policies.items() if not policy.zoom}
            if training.policies and not unzoomed:
                raise StudyError("every policy zooms, which changes the numbers to be measured: add one that does not")
            training = replace(training, label_smoothing=(0.0,), zoom=(0.0,), policies=unzoomed)
        return self._sample(trial, training, image_size or self.data.image_size or DEFAULT_SIZE)

    def _sample(self, trial: Any, training: TrainSpace, image_size: int) -> Configuration:
        architecture = self.space.sample(trial, image_size)
        config = training.sample(trial, self.epochs)
        offset = trial.suggest_int("seed", 0, self.seeds - 1) if self.seeds > 1 else 0
        return Configuration(architecture, config, self.seed + offset)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data. Runs that share it are of the same study, whatever their number of trials."""
        names = [f.name for f in fields(self) if f.name not in NOT_IDENTITY]
        parts = {
            "space": asdict(self.space), "training": asdict(self.training), "data": source_to_dict(self.data),
            "task": tasks.to_json(self.task),
        }  # fmt: skip
        return {name: parts.get(name, getattr(self, name)) for name in names}


def objectives(objective: str) -> tuple[str, str]:
    """Split "auc,macs" into metric and cost; the cost of "auc" is empty. StudyError if the cost is unknown."""
    metric, comma, cost = objective.partition(",")
    if comma and cost not in COSTS:
        raise StudyError(
            f"objective is {objective!r}; expected one metric, or a metric and a cost that is known before training: "
            f"{' or '.join(f'{metric},{known}' for known in COSTS)} (a latency would have to be measured)"
        )
    return metric, cost


def rungs(min_epochs: int, epochs: int, factor: int) -> tuple[int, ...]:
    """Epochs at which trials are compared, from the full budget down by `factor` as far as `min_epochs`: (4, 12)."""
    found = [epochs]
    while found[-1] // factor >= min_epochs:
        found.append(found[-1] // factor)
    return tuple(reversed(found))
