"""The baselines on the test split, and whether the configurations beat the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from nas.retraining.baselines import BaselineTraining, tested
from nas.retraining.job import NetworkResult, Retraining, finished, remeasured
from nas.retraining.scores import Spread, combined, estimated, spread_of
from nas.words import numbered
from search_space import cost
from studies.baselines import network
from trainers import metrics
from trainers.data import Dataset
from trainers.estimate import Estimate, intervals
from trainers.evaluate import metrics_of_views
from trainers.fitted import FITTED
from trainers.tasks import Task


@dataclass(frozen=True)
class Baseline:
    """One baseline on the test split: a network with several seeds, or trees."""

    name: str
    fitted: bool  # trees, which predict the same under every symmetry
    parameters: int | None  # of a network
    seeds: tuple[int, ...]
    seconds: float  # of one training or fit in its worker
    test: tuple[Mapping[str, float], ...]  # metrics of each seed
    spread: Mapping[str, Spread]
    ensemble: Mapping[str, float]  # metrics of the seeds' combined prediction
    interval: Mapping[str, tuple[float, float]]  # of the mean over the seeds, as in `Certainty`


@dataclass(frozen=True)
class Verdict:
    """One configuration against the best baseline, on the same test images."""

    trial: int
    baseline: str
    metric: str  # that decides
    difference: Mapping[str, tuple[float, float, float]]
    """The configuration's mean over the seeds minus the baseline's, and its interval, as in `Certainty`."""
    ahead: tuple[float, float, float]  # that of the deciding metric; positive where the configuration is better
    beats: bool  # the whole interval is positive
    given: bool = False  # the configuration, to the search

    @property
    def label(self) -> str:
        """`7`, or `7 (given)` if the configuration was given."""
        return numbered(self.trial, self.given)


def compare(
    baselines: Sequence[BaselineTraining], retrainings: Sequence[Retraining], objective: str, task: Task, data: Dataset
) -> tuple[tuple[Baseline, ...], tuple[Verdict, ...]]:
    """Score the finished baselines, and judge every retrained configuration by the best of them.

    The search's objective decides, or the metric that it is a value of: `auc` for `auc_d4_worst`. The best baseline is
    the best on the test images themselves, which is in its favour.
    """
    test = task.select(data.test)
    targets = task.targets(test).cpu()
    rivals, configurations = _results(baselines, task, targets), _results(retrainings, task, targets)
    if not rivals:
        return (), ()
    groups = {**rivals, **configurations}
    found = dict(zip(groups, estimated(list(groups.values()), task, test, objective), strict=True))
    usual = found[next(iter(rivals))]
    metric = next(m for m in (objective, metrics.base(objective), *usual) if m in usual)
    sign = 1 if metrics.direction(metric, task) == "maximize" else -1
    best = max(rivals, key=lambda name: sign * found[name][metric].value)
    return (
        tuple(_baseline(name, rivals[name], found[name], task, data) for name in rivals),
        tuple(_verdict(int(number), best, metric, sign, found[number], found[best]) for number in configurations),
    )


def _results(jobs: Sequence[Retraining], task: Task, targets: Tensor) -> dict[str, list[NetworkResult]]:
    """The finished results on all images of each baseline by name, or of each configuration by the trial's number."""
    found: dict[str, list[NetworkResult]] = {}
    for job in jobs:
        if job.images is None and finished(job) is not None:
            group = job.baseline if isinstance(job, BaselineTraining) else str(job.trial)
            found.setdefault(group, []).append(remeasured(tested(job, task), targets))
    return found


def _baseline(
    name: str, trained: Sequence[NetworkResult], found: Mapping[str, Estimate], task: Task, data: Dataset
) -> Baseline:
    shape = {"in_chans": data.in_chans, "image_size": data.image_size, "num_outputs": task.num_outputs}
    targets = task.targets(task.select(data.test)).cpu()
    return Baseline(
        name=name,
        fitted=name in FITTED,
        parameters=None if name in FITTED else cost(network(name), **shape).parameters,
        seeds=tuple(result.seed for result in trained),
        seconds=fmean(result.seconds for result in trained),
        test=tuple(result.metrics for result in trained),
        spread=spread_of(trained),
        ensemble=metrics_of_views(combined(trained, task), targets, task),
        interval=intervals(found),
    )


def _verdict(
    trial: int, baseline: str, metric: str, sign: int, found: Mapping[str, Estimate], rival: Mapping[str, Estimate]
) -> Verdict:
    differences = {name: found[name] - rival[name] for name in found}
    difference = {name: (d.value, *d.interval()) for name, d in differences.items()}
    value, *ends = difference[metric]
    low, high = sorted(sign * end for end in ends)
    return Verdict(trial, baseline, metric, difference, (sign * value, low, high), low > 0)
