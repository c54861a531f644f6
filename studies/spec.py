"""A study as one frozen value, and the configuration that one of its trials trains."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from search_space import BackboneSpace, HybridSpace, ToySpace, from_dict, to_dict
from search_space.architecture import Architecture
from studies.train_space import TrainSpace
from trainers import tasks
from trainers.config import TrainConfig
from trainers.data import Simulated, Source, source_to_dict

NOT_STUDIES = ("spec", "train_space")  # what studies are made of


@dataclass(frozen=True)
class Configuration:
    """Everything that a trial's result depends on, beside the study's data and task."""

    architecture: Architecture
    training: TrainConfig
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data: the record from which `from_dict` rebuilds the trial, whatever became of the space."""
        return {"architecture": to_dict(self.architecture), "training": self.training.to_dict(), "seed": self.seed}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Configuration:
        return cls(from_dict(values["architecture"]), TrainConfig.from_dict(values["training"]), int(values["seed"]))


@dataclass(frozen=True)
class StudySpec:
    """What is asked, of which data, over which space, with what budget.

    A full training has `epochs` epochs; the rungs, where weak trials pause, lie below it at 1/`factor` each, the lowest
    at `min_epochs` or more. Architectures above `max_parameters` or `max_macs` (multiply-accumulates for one
    image) are never trained. `first` holds parameters, by name, of the first trials; what they leave out is sampled.
    With `seeds` above one the seed is a parameter like any other: the sampler `grid` trains every cell with each.
    """

    name: str
    question: str
    space: HybridSpace | BackboneSpace | ToySpace = field(default_factory=HybridSpace)
    training: TrainSpace = field(default_factory=TrainSpace)
    data: Source = field(default_factory=Simulated)
    task: str = "substructure"
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
    max_parameters: int = 5_000_000
    max_macs: int = 100_000_000
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.min_epochs <= self.epochs:
            raise ValueError(f"the lowest rung, {self.min_epochs} epochs, must lie from 1 to the budget, {self.epochs}")
        if self.seeds < 1:
            raise ValueError(f"seeds is {self.seeds}; expected at least 1")
        if self.factor < 2:
            raise ValueError(f"rung factor {self.factor} must be at least 2")
        if self.direction not in ("maximize", "minimize"):
            raise ValueError(f"direction {self.direction!r} is neither 'maximize' nor 'minimize'")
        warmup = max(self.training.warmup_epochs)
        if self.min_epochs <= warmup:
            raise ValueError(
                f"the lowest rung, {self.min_epochs} epochs, must lie above the warm-up of {warmup:g} epochs, or "
                "slow starters are stopped before they begin: raise min_epochs (or --epochs), or shorten the warm-up"
            )

        for sparsity in self.training.sparsity:
            for rewind in self.training.rewind:
                TrainConfig(epochs=self.epochs, warmup_epochs=0, sparsity=sparsity, rewind=rewind)  # refuses bad ones

    @property
    def rungs(self) -> tuple[int, ...]:
        return rungs(self.min_epochs, self.epochs, self.factor)

    def sample(self, trial: Any) -> Configuration:
        """Decode a trial: anything with Optuna's suggest methods, such as FixedTrial of a stored trial's params."""
        space = self.training
        if not tasks.of_name(self.task).classifies:  # labels that are numbers cannot be smoothed
            space = replace(space, label_smoothing=(0.0,))
        architecture, training = self.space.sample(trial), space.sample(trial, self.epochs)
        offset = trial.suggest_int("seed", 0, self.seeds - 1) if self.seeds > 1 else 0
        return Configuration(architecture, training, self.seed + offset)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data that two runs must share to be the same study: the number of trials is not part of it."""
        values = asdict(self) | {"data": source_to_dict(self.data), "rungs": self.rungs}
        del values["trials"], values["question"], values["first"]
        return values


def rungs(min_epochs: int, epochs: int, factor: int) -> tuple[int, ...]:
    """Epochs at which trials are compared, from the full budget down by `factor` as far as `min_epochs`: (4, 12)."""
    found = [epochs]
    while found[-1] // factor >= min_epochs:
        found.append(found[-1] // factor)
    return tuple(reversed(found))


def known() -> list[str]:
    """The names of the studies that ship with the package."""
    package = importlib.import_module("studies")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name not in NOT_STUDIES)


def load(name: str) -> StudySpec:
    """The study called `name` in this package, or the STUDY of a Python file given by its path."""
    if name.endswith(".py"):
        path = Path(name)
        if not path.is_file():
            raise ValueError(f"no study file {name}")
        module_spec = importlib.util.spec_from_file_location(path.stem, path)
        assert module_spec is not None
        assert module_spec.loader is not None
        module = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(module)
    elif name in known():
        module = importlib.import_module(f"studies.{name}")
    else:
        raise ValueError(
            f"unknown study {name!r}; known: {', '.join(known())}; or give the path of a .py file with a STUDY"
        )
    study = getattr(module, "STUDY", None)
    if not isinstance(study, StudySpec):
        raise ValueError(f"{name} has no STUDY = StudySpec(...)")
    return study
