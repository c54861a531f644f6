"""From the finished trainings of a retraining to the scores of its configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.retraining.job import NetworkResult, Retraining, finished, remeasured, result
from nas.retraining.scores import Certainty, Scores, Size, certainty, combined, estimated, score, spread_of
from nas.trials import Trial
from trainers.data import Dataset
from trainers.estimate import intervals
from trainers.tasks import Task


@dataclass(frozen=True)
class Gathered:
    """The scores of every configuration with a finished training on all images, as in `Retrained`."""

    scores: tuple[Scores, ...]
    certainty: tuple[Certainty, ...]
    sizes: tuple[Size, ...]


def gather(
    trials: Sequence[Trial], validation: Mapping[int, float], jobs: Sequence[Retraining], task: Task, data: Dataset,
    objective: str,
) -> Gathered:  # fmt: skip
    """Score what the finished `jobs` left. validation: the search's values of the trials, where there are any."""
    test = task.select(data.test)
    targets = task.targets(test)
    groups: dict[tuple[int, int | None], list[NetworkResult]] = {}
    for job in jobs:
        if finished(job) is not None:
            groups.setdefault((job.trial, job.images), []).append(remeasured(result(job), targets))
    found = dict(zip(groups, estimated(list(groups.values()), task, test, objective), strict=True))
    trained = [trial for trial in trials if (trial.number, None) in groups]
    if not trained:
        return Gathered((), (), ())
    scores = [
        score(
            trial.number, trial.config, validation.get(trial.number),
            {"parameters": trial.parameters, "macs": trial.macs}, groups[trial.number, None], task, targets,
            objective, given=trial.given,
        )
        for trial in trained
    ]  # fmt: skip
    ensembles = [combined(groups[trial.number, None], task) for trial in trained]
    sizes = [
        Size(
            trial.number, images, tuple(network.seed for network in networks), spread_of(networks),
            intervals(found[trial.number, images]),
        )
        for trial in trained
        for (number, images), networks in groups.items()
        if number == trial.number and images is not None
    ]  # fmt: skip
    certain = certainty([found[trial.number, None] for trial in trained], ensembles, task, test, objective)
    return Gathered(tuple(scores), tuple(certain), tuple(sizes))
