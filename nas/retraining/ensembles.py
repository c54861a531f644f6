"""Which networks are combined, and how: the seeds of a configuration, and a greedy ensemble of configurations.

Views and members are chosen on validation images, as predicted by networks that were not trained on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nas.models.record import VIEWS
from nas.retraining.job import NetworkResult, Retraining, held_out_predictions, result
from nas.retraining.retrained import Member
from trainers import metrics
from trainers.tasks import Task

SAME = 1e-3  # of the spread between images: how far rounding moves what a symmetric network predicts
ROUNDS = 10  # of greedy selection


@dataclass(frozen=True)
class Group:
    """Networks whose predictions are combined, and what their number of views and calibration are chosen by."""

    members: tuple[Member, ...]
    networks: tuple[NetworkResult, ...]  # of the members
    held_out: Tensor | None = None
    """(8, N, ...): the validation images under each symmetry, as predicted together by networks of the same
    configurations that were not trained on them: the members themselves, or fewer others. None: there are none."""
    predicted_by: int = 0  # the number of these networks
    each: tuple[Tensor, ...] = ()  # the predictions of each, of one configuration


@dataclass(frozen=True)
class Judge:
    """Judges predictions of the validation images by the objective of the search: higher is better."""

    task: Task
    truth: Tensor
    objective: str

    def __call__(self, predicted: Tensor) -> float:
        value = self.task.metrics_in_full(predicted, self.truth)[metrics.base(self.objective)]
        sign = 1 if metrics.direction(self.objective, self.task) == "maximize" else -1
        return -math.inf if math.isnan(value) else float(f"{sign * value:.9g}")  # more digits are rounding

    def best_views(self, held_out: Tensor) -> int:
        """8, unless one view is better, as for a network that relies on an axis, or all are the same."""
        return max(different_views([held_out]), key=lambda views: (self(seen(held_out, views, self.task)), views))


def of_trial(trial: int, jobs: Sequence[Retraining], held_out: Sequence[Retraining], task: Task) -> list[Group]:
    """All seeds of one configuration together; if there are several, then each alone."""
    own = [job for job in jobs if job.trial == trial]
    members, networks = [Member(trial, job.seed) for job in own], [result(job) for job in own]
    known: dict[int, Tensor] = {}  # by seed
    for job in (*own, *held_out):
        if job.trial == trial and (predicted := held_out_predictions(job)) is not None:
            known[job.seed] = predicted
    of_members = [known[job.seed] for job in own if job.seed in known]
    each = of_members if len(of_members) == len(own) else list(known.values())[:1]  # one stands for the others
    together = task.combine(each) if each else None
    groups = [Group(tuple(members), tuple(networks), together, len(each), tuple(each))]
    if len(own) == 1:
        return groups
    for member, network in zip(members, networks, strict=True):
        alone = known.get(member.seed, next(iter(known.values()), None))
        groups.append(Group((member,), (network,), alone, int(alone is not None)))
    return groups


def select(groups: Sequence[Group], judge: Judge) -> tuple[list[int], int]:
    """The times that each configuration counts in the greedy ensemble, and its number of views.

    Every configuration is judged by as many networks, since several together predict better than one.
    """
    task, fewest = judge.task, min(len(group.each) for group in groups)
    known = [task.combine(group.each[:fewest]) for group in groups]
    found = {v: greedy([seen(p, v, task) for p in known], judge, task.combine) for v in different_views(known)}
    views = max(found, key=lambda views: (found[views][1], views))
    return found[views][0], views


def greedy(
    predictions: Sequence[Tensor],
    judge: Callable[[Tensor], float],
    combine: Callable[[Sequence[Tensor]], Tensor],
    rounds: int = ROUNDS,
) -> tuple[list[int], float]:
    """Choose an ensemble by forward selection with replacement (Caruana et al. 2004): the times that each one counts.

    Each of the `rounds` adds the prediction that makes the ensemble best by `judge`. The best ensemble on the way is
    returned, with its value; of equals it is the smallest.
    """
    chosen: list[int] = []
    path: list[float] = []
    for _ in range(rounds):
        values = [judge(combine([*(predictions[i] for i in chosen), each])) for each in predictions]
        best = max(range(len(values)), key=values.__getitem__)
        chosen.append(best)
        path.append(values[best])
    size = 1 + max(range(rounds), key=path.__getitem__)
    return [chosen[:size].count(i) for i in range(len(predictions))], path[size - 1]


def pooled(groups: Sequence[Group], times: Sequence[int], task: Task) -> Group:
    """The networks of all configurations that count, each so often that its configuration counts `times`."""
    counted = [(group, n) for group, n in zip(groups, times, strict=True) if n]
    most = math.lcm(*(len(group.members) for group, _ in counted))
    weights = [n * most // len(group.members) for group, n in counted]
    members = [
        replace(member, times=weight // math.gcd(*weights))
        for (group, _), weight in zip(counted, weights, strict=True)
        for member in group.members
    ]
    held_out = [group.held_out for group, n in counted for _ in range(n) if group.held_out is not None]
    return Group(
        tuple(members),
        tuple(network for group, _ in counted for network in group.networks),
        task.combine(held_out),
        sum(group.predicted_by for group, _ in counted),
    )


def different_views(predicted: Sequence[Tensor]) -> tuple[int, ...]:
    """The numbers of views to choose from, by predictions (8, N, ...): only one, if all views are the same but for
    rounding."""
    symmetric = all(bool((p - p[0]).abs().max() <= SAME * p[0].std()) for p in predicted)
    return (1,) if symmetric else VIEWS


def seen(predicted: Tensor, views: int, task: Task) -> Tensor:
    """Combine predictions (8, N, ...) by symmetry into one for the first `views`."""
    return task.combine(list(predicted[:views]))
