"""What a retraining hands out: the networks, the ensemble of each configuration's seeds, and one of configurations.

The number of views, the calibration and the members of the last are chosen on validation images, as predicted by
networks that were not trained on them. The test images choose nothing; they measure what was chosen.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
import torch
from torch import Tensor

from nas.files import link
from nas.models.contents import describe_member, describe_model
from nas.models.evaluation import rate_intervals
from nas.models.export import export
from nas.models.record import VIEWS
from nas.models.training_images import digests
from nas.retraining.ensembles import Group, Judge, of_trial, pooled, seen, select
from nas.retraining.job import Retraining, result
from nas.retraining.retrained import Exported, Retrained
from nas.retraining.scores import Spread
from trainers import calibrate, tasks
from trainers.data import Dataset, Folder, Split, joined, source_from_dict
from trainers.data.folder.image_file import AS_STORED
from trainers.evaluate import metrics_of_views
from trainers.tasks import Task

GREEDY = "ensemble"  # the name of its folder


def held_out_jobs(jobs: Sequence[Retraining], task: Task) -> list[Retraining]:
    """Trainings that keep the validation images out: one of each configuration, with its first seed.

    The first configuration is what most people use. If its weights make all views the same, one network does not show
    how cautious several are together (`_exported`), so each of its seeds is trained so. A task with standard deviations
    keeps these images out of every training and needs none.
    """
    if task.with_sigma:
        return []
    whole = [job for job in jobs if job.images is None]
    first = {job.trial: job for job in reversed(whole)}
    symmetric = whole[0].config["architecture"].get("symmetry") == "d4"
    wanted = [job for job in whole if job == first[job.trial] or (symmetric and job.trial == whole[0].trial)]
    return [replace(job, held_out=True) for job in wanted]


def hand_out(
    jobs: Sequence[Retraining], held_out: Sequence[Retraining], task: Task, data: Dataset, objective: str
) -> tuple[Exported, ...]:
    """Choose and measure every model: of each configuration the ensemble and its networks, then the greedy ensemble.

    jobs: the finished trainings on all images. held_out: those of `held_out_jobs`, finished or failed.
    """
    val, test = (task.select(split) for split in (data.val, data.test))
    judge = Judge(task, task.targets(val).cpu(), objective)
    models, groups = [], []
    for trial in dict.fromkeys(job.trial for job in jobs):
        group, *alone = of_trial(trial, jobs, held_out, task)
        models.append(_exported(f"trial-{trial}", group, group, judge, test))
        for one in alone:
            (member,) = one.members
            models.append(_exported(f"trial-{trial}-seed-{member.seed}", one, group, judge, test))
        groups.append(group)
    if known := [group for group in groups if group.held_out is not None]:
        times, views = select(known, judge)
        together = pooled(known, times, task)
        models.append(_exported(GREEDY, together, together, judge, test, views))
    return tuple(models)


def _exported(name: str, group: Group, peers: Group, judge: Judge, test: Split, views: int | None = None) -> Exported:
    """`peers` are the networks whose mean the model is compared with."""
    task, truth = judge.task, judge.task.targets(test).cpu()
    calibration: dict[str, calibrate.Factor] = {}
    if group.held_out is not None:
        views = views or judge.best_views(group.held_out)
        for number in VIEWS:
            # The combined prediction of several networks for one view is far less confident than that of each alone.
            # That of eight views is not: a temperature for fewer networks fits.
            if number > 1 or group.predicted_by == len(group.members):
                factor = calibrate.fit(seen(group.held_out, number, task), judge.truth, task)
                calibration |= {} if factor is None else {str(number): factor}
    views = views or 1
    repeated = [n.predictions for m, n in zip(group.members, group.networks, strict=True) for _ in range(m.times)]
    predicted = task.combine(repeated)

    def answers(views: int, factor: calibrate.Factor | None) -> Tensor:
        return calibrate.apply(factor, seen(predicted, views, task)[None] if views > 1 else predicted, task)

    def measured(views: int, factor: calibrate.Factor | None) -> dict[str, float]:
        return metrics_of_views(answers(views, factor), truth, task)

    alone = [metrics_of_views(network.predictions, truth, task) for network in peers.networks]
    return Exported(
        name=name,
        members=group.members,
        views=views,
        calibration=calibration,
        held_out={"images": len(judge.truth), "networks": group.predicted_by},
        test={str(number): measured(number, calibration.get(str(number))) for number in VIEWS},
        before=measured(views, None),
        alone={metric: Spread.of([of_network[metric] for of_network in alone]) for metric in alone[0]},
        interval=rate_intervals(answers(views, calibration.get(str(views)))[0], test, task),
        correlation=error_correlation([network.predictions[0] for network in group.networks], truth, task),
    )


def error_correlation(predictions: Sequence[Tensor], truth: Tensor, task: Task) -> float | None:
    """The correlation of two networks' errors over the images, the mean over all pairs, from upright predictions.

    The error is 1 minus the probability of the true class, or predicted minus true, the mean over several targets.
    None for a single network, or if one makes the same error on every image.
    """
    if len(predictions) < 2:
        return None
    if task.classifies:
        errors = torch.stack([1 - p.gather(1, truth[:, None])[:, 0] for p in predictions])[None]
    else:
        errors = torch.stack([p[:, : truth.shape[1]] - truth for p in predictions]).movedim(2, 0)
    if not (errors.std(2) > 0).all():
        return None
    above = torch.triu_indices(len(predictions), len(predictions), 1)
    return float(torch.stack([torch.corrcoef(of_target)[above[0], above[1]].mean() for of_target in errors]).mean())


def export_all(
    retrained: Retrained, jobs: Sequence[Retraining], data: Dataset, known: np.ndarray | None = None
) -> None:
    """Write every model. `best` links to the ensemble of the seeds of the first configuration.

    Networks that an earlier retraining exported of these configurations go: they are none of those in the ensembles.

    known: digests of the images that the weights had seen before, by `training_images.digests`.
    """
    task, source = tasks.create(retrained.task, data), source_from_dict(retrained.data["source"])
    reading = replace(source.reading(), fit=data.fit) if isinstance(source, Folder) else AS_STORED
    job_of = {(job.trial, job.seed): job for job in jobs}
    scores_of = {scores.trial: scores for scores in retrained.configurations}
    trained_on = digests(task.select(joined(data.train, data.val)).images)
    trained_on = trained_on if known is None else np.concatenate([known, trained_on])
    for model in retrained.exported:
        members, weights = [], []
        for member in model.members:
            job, scores = job_of[member.trial, member.seed], scores_of[member.trial]
            network = result(job)
            weights.append(network.weights)
            members.append(
                describe_member(
                    job.config, task_name=retrained.task, task=network.task, normalisation=network.normalisation,
                    times=member.times, trial=member.trial, given=scores.given, validation=scores.validation,
                    parameters=scores.parameters, macs=scores.macs,
                    pruning={"sparsity": network.sparsity, "nonzero_parameters": network.nonzero},
                )
            )  # fmt: skip
        config = describe_model(
            members, task_name=retrained.task, task=task, in_chans=data.in_chans, image_size=data.image_size,
            reading=reading, channels=data.channels, views=model.views, calibration=model.calibration,
            name=model.name.replace("-", " "),
            data={**retrained.data, "fingerprint": jobs[0].fingerprint},
            search={
                "study": retrained.study, "finished": retrained.finished, "objective": retrained.objective,
                "overridden": dict(retrained.overridden), "named": retrained.named, "greedy": model.name == GREEDY,
                "cost": retrained.cost, "finals": retrained.finals,
                "started": retrained.started,
            },
            held_out=dict(model.held_out),
            test={
                "views": {views: dict(found) for views, found in model.test.items()},
                "before": dict(model.before),
                "alone": {metric: asdict(spread) for metric, spread in model.alone.items()},
                "interval": {metric: list(limits) for metric, limits in model.interval.items()},
                "correlation": model.correlation,
            },
        )  # fmt: skip
        export(retrained.run.models / model.name, weights, config, trained_on)
    written = {model.name for model in retrained.exported}
    for trial in scores_of:
        for folder in retrained.run.models.glob(f"trial-{trial}-seed-*"):
            if folder.name not in written:
                shutil.rmtree(folder)
    link(retrained.run.best_model, retrained.run.model(retrained.configurations[0].trial).name)
