"""What retrained networks are worth on the test split: over seeds, and together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve
from torch import Tensor

from nas.retraining import Retrained
from trainers.tasks import Task

POINTS = 300  # kept of each ROC curve


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over the seeds; the latter is None for a single one."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        return f"{self.mean:.4f}" if self.sd is None else f"{self.mean:.4f} ± {self.sd:.4f}"


@dataclass(frozen=True)
class Roc:
    """One class against the rest."""

    label: str
    auc: Spread
    ensemble_auc: float
    seeds: tuple[tuple[list[float], list[float]], ...]  # (false positive rates, true positive rates) of each
    ensemble: tuple[list[float], list[float]]


@dataclass(frozen=True)
class Scores:
    """One configuration on the test split."""

    trial: int
    config: Mapping[str, Any]  # as retrained, with the seed of the search
    validation: float  # the search's objective at full budget, by which the configuration was chosen
    parameters: int | None
    macs: int | None
    sparsity: float  # of the first seed's network; those of the others differ by a weight at most
    nonzero: int | None  # parameters of it
    seeds: tuple[int, ...]
    test: tuple[Mapping[str, float], ...]  # metrics of each seed
    spread: Mapping[str, Spread]
    ensemble: Mapping[str, float]  # metrics of the mean probability over the seeds
    roc: tuple[Roc, ...]
    confusion: list[list[int]]  # [true][predicted], counts summed over the seeds


def score(
    trial: int,
    config: Mapping[str, Any],
    validation: float,
    cost: Mapping[str, int | None],
    trained: Sequence[Retrained],
    task: Task,
    targets: Tensor,
) -> Scores:
    """Everything the report shows of one configuration. AUCs are computed from probabilities."""
    probabilities = [task.predict(network.outputs) for network in trained]
    together = ensemble(probabilities)
    truth = targets.numpy()
    return Scores(
        trial=trial,
        config=config,
        validation=validation,
        parameters=cost.get("parameters"),
        macs=cost.get("macs"),
        sparsity=trained[0].sparsity,
        nonzero=trained[0].nonzero,
        seeds=tuple(network.seed for network in trained),
        test=tuple(network.metrics for network in trained),
        spread={name: Spread.of([network.metrics[name] for network in trained]) for name in trained[0].metrics},
        # The logarithms of probabilities are outputs whose softmax is those probabilities.
        ensemble=task.metrics(together.clamp_min(torch.finfo(torch.float64).tiny).log(), targets),
        roc=tuple(
            _roc(label, truth == k, [p[:, k].numpy() for p in probabilities], together[:, k].numpy())
            for k, label in enumerate(task.classes)
        ),
        confusion=sum(
            confusion_matrix(truth, p.argmax(-1).numpy(), labels=range(len(task.classes))) for p in probabilities
        ).tolist(),
    )


def ensemble(probabilities: Sequence[Tensor]) -> Tensor:
    """The mean probability over networks, (N, classes)."""
    return torch.stack(list(probabilities)).mean(0)


def _roc(label: str, positive: np.ndarray, seeds: list[np.ndarray], together: np.ndarray) -> Roc:
    return Roc(
        label,
        Spread.of([float(roc_auc_score(positive, p)) for p in seeds]),
        float(roc_auc_score(positive, together)),
        tuple(_curve(positive, p) for p in seeds),
        _curve(positive, together),
    )


def _curve(positive: np.ndarray, probability: np.ndarray) -> tuple[list[float], list[float]]:
    """At most POINTS points of the ROC curve, evenly spaced along it; both ends are among them."""
    false, true, _ = roc_curve(positive, probability)
    if len(false) > POINTS:
        way = false + true  # grows from 0 to 2 along the curve
        keep = np.unique(np.searchsorted(way, np.linspace(0, 2, POINTS)).clip(max=len(way) - 1))
        false, true = false[keep], true[keep]
    return [round(float(v), 6) for v in false], [round(float(v), 6) for v in true]
