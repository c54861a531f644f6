"""The scores of retrained networks on the test split: each seed's, and those of the seeds' combined prediction."""

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
from nas.words import numbered, plus_minus
from trainers import metrics
from trainers.data import Split
from trainers.estimate import Estimate, estimates, intervals
from trainers.evaluate import as_floats, metrics_of_views, resampling
from trainers.regression import Regression
from trainers.tasks import Task

POINTS = 300  # kept of each ROC curve
POINTS_SHOWN = 2000  # images in a plot of predicted against true


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over the seeds."""

    mean: float
    sd: float | None  # None for a single seed
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))

    def __str__(self) -> str:
        return plus_minus(self.mean, self.sd)


@dataclass(frozen=True)
class Roc:
    """The ROC and precision-recall curves of one class against the rest."""

    label: str
    auc: Spread
    ensemble_auc: float
    seeds: tuple[tuple[list[float], list[float]], ...]  # (false positive rates, true positive rates) of each seed
    ensemble: tuple[list[float], list[float]]
    precision: tuple[list[float], list[float]]  # (recall, precision) of the ensemble


@dataclass(frozen=True)
class Scores:
    """One configuration on the test split."""

    trial: int
    config: Mapping[str, Any]  # as retrained, but with the seed of the search
    validation: float | None
    """The search's objective at full budget; None for other images than the search's, or if it was never trained in
    full."""
    parameters: int | None
    macs: int | None
    sparsity: float  # of the first seed's network; the other seeds differ by at most one weight
    nonzero: int | None  # parameters of the first seed's network
    seeds: tuple[int, ...]
    test: tuple[Mapping[str, float], ...]  # metrics of each seed
    spread: Mapping[str, Spread]
    ensemble: Mapping[str, float]  # metrics of the seeds' combined prediction
    main: tuple[str, ...]  # names of the metrics shown first
    roc: tuple[Roc, ...]  # for classes
    confusion: list[list[int]]  # for classes: [true][predicted], counts summed over the seeds
    points: tuple[tuple[list[float], ...], ...]
    """For each number: true values, the seeds' combined prediction and, if any, its sigma."""
    given: bool = False  # to the search, not found by it

    @property
    def label(self) -> str:
        """`7`, or `7 (given)` if the configuration was given."""
        return numbered(self.trial, self.given)


@dataclass(frozen=True)
class Size:
    """One configuration trained on fewer images."""

    trial: int
    images: int
    seeds: tuple[int, ...]
    spread: Mapping[str, Spread]  # test metrics
    interval: Mapping[str, tuple[float, float]]  # of the mean over the seeds, as in `Certainty`


@dataclass(frozen=True)
class Certainty:
    """95% confidence intervals for one configuration, by metric.

    Those of means are over test images and seeds (`trainers.estimate`), of a single seed over images only. That of the
    ensemble is over images only, since its seeds are part of the model.
    """

    interval: Mapping[str, tuple[float, float]]  # of the mean over the seeds
    ensemble: Mapping[str, tuple[float, float]]
    difference: Mapping[str, tuple[float, float, float]]
    """The mean over the seeds minus that of the first configuration, and its interval, paired over the images."""


def score(
    trial: int,
    config: Mapping[str, Any],
    validation: float | None,
    cost: Mapping[str, int | None],
    trained: Sequence[NetworkResult],
    task: Task,
    targets: Tensor,
    objective: str,
    *,
    given: bool = False,
) -> Scores:
    """Score one configuration, which was searched for by `objective`. AUCs are computed from probabilities."""
    upright = [network.predictions[0] for network in trained]
    views = combined(trained, task)
    ensemble, truth = views[0], targets.numpy()
    scores = Scores(
        trial=trial,
        config=config,
        validation=validation,
        parameters=cost.get("parameters"),
        macs=cost.get("macs"),
        sparsity=trained[0].sparsity,
        nonzero=trained[0].nonzero,
        seeds=tuple(network.seed for network in trained),
        test=tuple(network.metrics for network in trained),
        spread=spread_of(trained),
        ensemble=metrics_of_views(views, targets, task),
        main=main_metrics(task, list(measured(task, objective)(ensemble.numpy(), truth)), objective),
        roc=(),
        confusion=[],
        points=(),
        given=given,
    )
    if not task.classifies:
        rows = np.random.default_rng(0).permutation(len(truth))[:POINTS_SHOWN]
        count = truth.shape[1]
        each = [(truth[:, k], *ensemble.numpy().T[k::count]) for k in range(count)]
        return replace(scores, points=tuple(tuple(values[rows].tolist() for values in of_one) for of_one in each))
    return replace(
        scores,
        roc=tuple(
            _roc(label, truth == k, [p[:, k].numpy() for p in upright], ensemble[:, k].numpy())
            for k, label in enumerate(task.classes)
        ),
        confusion=sum(
            confusion_matrix(truth, p.argmax(-1).numpy(), labels=range(len(task.classes))) for p in upright
        ).tolist(),
    )


def main_metrics(task: Task, names: Sequence[str], objective: str) -> tuple[str, ...]:
    """The metrics shown first: three, that of the objective among them and first; or with several numbers the mean over
    them and that of each."""
    if isinstance(task, Regression) and len(task.target) > 1:
        return (task.objective, *(f"{task.objective}_{target}" for target in task.target))
    own = (*getattr(task, "higher_is_better", ()), *getattr(task, "lower_is_better", ()))
    usual = [name for name in names if name in (*metrics.TURNED, *own)]
    return tuple(dict.fromkeys(name for name in (metrics.base(objective), *usual) if name in names))[:MAIN]


def spread_of(trained: Sequence[NetworkResult]) -> dict[str, Spread]:
    return {name: Spread.of([network.metrics[name] for network in trained]) for name in trained[0].metrics}


def combined(trained: Sequence[NetworkResult], task: Task) -> Tensor:
    """The seeds' combined prediction for the test images under each symmetry, (8, N, ...)."""
    return task.combine([network.predictions for network in trained])


def estimated(
    groups: Sequence[Sequence[NetworkResult]], task: Task, test: Split, objective: str
) -> list[dict[str, Estimate]]:
    """The test metrics of groups of networks that differ only by seed; their differences are paired over the images."""
    methods = [[network.predictions[0].numpy() for network in group] for group in groups]
    return estimates(measured(task, objective), methods, task.targets(test).cpu().numpy(), **resampling(task, test))


def certainty(
    configurations: Sequence[Mapping[str, Estimate]], ensembles: Sequence[Tensor], task: Task, test: Split,
    objective: str,
) -> list[Certainty]:  # fmt: skip
    """Intervals for several configurations, and for their differences from the first one.

    ensembles: the seeds' combined predictions under each symmetry, (8, N, ...).
    """
    first, upright = configurations[0], [views[0].numpy() for views in ensembles]
    truth = task.targets(test).cpu().numpy()
    together = estimates(measured(task, objective), [[one] for one in upright], truth, **resampling(task, test))
    differences = [{name: found[name] - first[name] for name in found} for found in configurations]
    return [
        Certainty(
            interval=intervals(found),
            ensemble=intervals(ensemble),
            difference={name: (d.value, *d.interval()) for name, d in difference.items()} if k else {},
        )
        for k, (found, ensemble, difference) in enumerate(zip(configurations, together, differences, strict=True))
    ]


def measured(task: Task, objective: str) -> metrics.Metric:
    """The metrics of every epoch, and the one that the objective is a value of."""
    name = metrics.base(objective)

    def found(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        arrays = torch.from_numpy(predicted), torch.from_numpy(truth)
        usual = task.metrics(*arrays)
        if name not in usual and name in (more := task.metrics_in_full(*arrays)):
            usual = usual | {name: more[name]}
        return as_floats(usual)

    return found


def _roc(label: str, positive: np.ndarray, seeds: list[np.ndarray], ensemble: np.ndarray) -> Roc:
    return Roc(
        label,
        Spread.of([metrics.auc(positive, p) for p in seeds]),
        metrics.auc(positive, ensemble),
        tuple(_curve(positive, p) for p in seeds),
        _curve(positive, ensemble),
        _precision(positive, ensemble),
    )


def _curve(positive: np.ndarray, probability: np.ndarray) -> tuple[list[float], list[float]]:
    """At most POINTS points of the ROC curve, both ends included, evenly spaced along it."""
    false, true, _ = roc_curve(positive, probability)
    return _thinned(false, true, false + true)  # the sum grows from 0 to 2 along the curve


def _precision(positive: np.ndarray, probability: np.ndarray) -> tuple[list[float], list[float]]:
    """At most POINTS points of the precision-recall curve, both ends included, evenly spaced in recall."""
    precision, recall, _ = precision_recall_curve(positive, probability)
    return _thinned(recall[::-1], precision[::-1], recall[::-1])


def _thinned(x: np.ndarray, y: np.ndarray, along: np.ndarray) -> tuple[list[float], list[float]]:
    if len(x) > POINTS:
        keep = np.unique(np.searchsorted(along, np.linspace(0, along[-1], POINTS)).clip(max=len(along) - 1))
        x, y = x[keep], y[keep]
    return [round(float(v), 6) for v in x], [round(float(v), 6) for v in y]
