"""What retrained networks are worth on the test split: over seeds, and together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve
from torch import Tensor

from nas.retraining.job import NetworkResult
from nas.retraining.training import MAIN
from trainers import metrics
from trainers.evaluate import metrics_of_views
from trainers.tasks import Task

POINTS = 300  # kept of each ROC curve
POINTS_SHOWN = 2000  # images in a plot of predicted against true


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
    precision: tuple[list[float], list[float]]  # (recall, precision) of the ensemble


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
    ensemble: Mapping[str, float]  # metrics of the seeds' combined prediction
    main: tuple[str, ...]  # the names of those that are shown first
    roc: tuple[Roc, ...]  # for classes
    confusion: list[list[int]]  # for classes: [true][predicted], counts summed over the seeds
    points: tuple[list[float], ...]  # for numbers: true, and predicted by the seeds together, with sigma where there is


@dataclass(frozen=True)
class Size:
    """One configuration trained on fewer images."""

    trial: int
    images: int
    seeds: tuple[int, ...]
    spread: Mapping[str, Spread]  # test metrics


@dataclass(frozen=True)
class Certainty:
    """95% bootstrap intervals over the test images, of the seeds' combined prediction of one configuration."""

    interval: Mapping[str, tuple[float, float]]
    difference: Mapping[str, tuple[float, float, float]]  # to the first configuration, and its interval, paired


def score(
    trial: int,
    config: Mapping[str, Any],
    validation: float,
    cost: Mapping[str, int | None],
    trained: Sequence[NetworkResult],
    task: Task,
    targets: Tensor,
) -> Scores:
    """Everything the report shows of one configuration. AUCs are computed from probabilities."""
    upright = [network.predictions[0] for network in trained]
    views = combined(trained, task)
    together, truth = views[0], targets.numpy()
    found = Scores(
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
        ensemble=metrics_of_views(views, targets, task),
        main=tuple(name for name in task.metrics(together, targets) if name in metrics.TURNED)[:MAIN],
        roc=(),
        confusion=[],
        points=(),
    )
    if not task.classifies:
        some = np.random.default_rng(0).permutation(len(truth))[:POINTS_SHOWN]
        return replace(found, points=tuple(v[some].tolist() for v in (truth, *together.numpy().T)))
    return replace(
        found,
        roc=tuple(
            _roc(label, truth == k, [p[:, k].numpy() for p in upright], together[:, k].numpy())
            for k, label in enumerate(task.classes)
        ),
        confusion=sum(
            confusion_matrix(truth, p.argmax(-1).numpy(), labels=range(len(task.classes))) for p in upright
        ).tolist(),
    )


def combined(trained: Sequence[NetworkResult], task: Task) -> Tensor:
    """What the seeds say together of the test images under each symmetry, (8, N, ...)."""
    return task.combine([network.predictions for network in trained])


def certainty(together: Sequence[Tensor], task: Task, targets: Tensor) -> list[Certainty]:
    """Of several configurations' combined predictions, each also against the first."""

    def metric(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        return task.metrics(torch.from_numpy(predicted), torch.from_numpy(truth))

    strata = targets.numpy() if task.classifies else None
    drawn = metrics.bootstrap(metric, [t.numpy() for t in together], targets.numpy(), strata=strata)
    value = [task.metrics(t, targets) for t in together]
    return [
        Certainty(
            interval={name: metrics.interval(values) for name, values in each.items()},
            difference={}
            if k == 0
            else {
                name: (value[k][name] - value[0][name], *metrics.interval(values - drawn[0][name]))
                for name, values in each.items()
            },
        )
        for k, each in enumerate(drawn)
    ]


def _roc(label: str, positive: np.ndarray, seeds: list[np.ndarray], together: np.ndarray) -> Roc:
    return Roc(
        label,
        Spread.of([metrics.auc(positive, p) for p in seeds]),
        metrics.auc(positive, together),
        tuple(_curve(positive, p) for p in seeds),
        _curve(positive, together),
        _precision(positive, together),
    )


def _curve(positive: np.ndarray, probability: np.ndarray) -> tuple[list[float], list[float]]:
    """At most POINTS points of the ROC curve, evenly spaced along it; both ends are among them."""
    false, true, _ = roc_curve(positive, probability)
    return _thinned(false, true, false + true)  # grows from 0 to 2 along the curve


def _precision(positive: np.ndarray, probability: np.ndarray) -> tuple[list[float], list[float]]:
    """The same of the precision-recall curve, by recall."""
    precision, recall, _ = precision_recall_curve(positive, probability)
    return _thinned(recall[::-1], precision[::-1], recall[::-1])


def _thinned(x: np.ndarray, y: np.ndarray, way: np.ndarray) -> tuple[list[float], list[float]]:
    if len(x) > POINTS:
        keep = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)).clip(max=len(way) - 1))
        x, y = x[keep], y[keep]
    return [round(float(v), 6) for v in x], [round(float(v), 6) for v in y]
