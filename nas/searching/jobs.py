"""What passes between the engine, the workers and whoever listens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCREENED = "screened"  # the attribute of a trial that its scheduler treats as `nas.schedulers.Screening` says
REPEATS = "repeats"  # the attribute that names the trial whose configuration a trial of the finals trains again


@dataclass(frozen=True)
class Job:
    """A stretch of one trial's training: from `start` epochs done (0: from scratch) to epoch `stop`, inclusive."""

    trial: int
    config: dict[str, Any]
    start: int
    stop: int


@dataclass(frozen=True)
class Epoch:
    """One epoch of a job, as its worker reports it."""

    number: int
    metrics: Mapping[str, float]
    saved: bool = False  # it has a checkpoint
    answers: Mapping[str, Any] | None = None  # of a full training, on validation images: see nas/workers/answers.py


@dataclass(frozen=True)
class Admission:
    """What is known about a configuration before training. It is skipped if any of `excess` is above zero."""

    attributes: Mapping[str, Any] = field(default_factory=dict)
    excess: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """News for a person.

    `kind` is started, resumed, epoch, paused, lost, complete, pruned, failed or skipped; finals when these begin, with
    the number of trainings left as `epoch`; final at the end of one of them; answered before the last epoch of a full
    training, with its `answers`.
    """

    kind: str
    trial: int
    epoch: int = 0
    value: float = math.nan
    reason: str = ""
    given: bool = False  # known when it starts or is skipped
    metrics: Mapping[str, float] = field(default_factory=dict)  # of an epoch, also at the end of a full training
    answers: Mapping[str, Any] = field(default_factory=dict)  # as of `Epoch`
