"""`nas.retrain`: train the best configurations of a search again over several seeds, test them once, export them."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from nas.errors import SearchFailed, UserError, mendable
from nas.files import exclusive, write_text
from nas.results import Results, Trial, load_results
from nas.retraining import baselines as rivals
from nas.retraining.comparison import compare
from nas.retraining.handing_out import export_all, hand_out, held_out_jobs
from nas.retraining.job import NetworkResult, Retraining, fingerprint, finished, remeasured, result
from nas.retraining.progress import Trainings
from nas.retraining.reads import count_call, recall
from nas.retraining.retrained import Retrained
from nas.retraining.scores import Certainty, Scores, Size, certainty, combined, estimated, intervals, score, spread_of
from nas.run_folder import RunFolder
from nas.searching.options import at_least
from nas.searching.study import other_images
from nas.words import count, override
from nas.workers.resources import Resources, divide
from nas.workers.training import Problem, import_path
from trainers import tasks
from trainers.config import TrainConfig
from trainers.data import Dataset, limit, load, source_from_dict


@mendable
def retrain(
    results: Results | str | Path,
    *,
    top_k: int = 3,
    seeds: int = 3,
    train_sizes: Sequence[int] = (),
    sparsity: float | None = None,
    rewind: int | None = None,
    baselines: bool = True,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    quiet: bool = False,
) -> Retrained:
    """Train the `top_k` best configurations again on training and validation images, test them once, export them.

    results: a study, or the folder of its run. Everything is written there; the same call resumes.
    seeds: trainings per configuration. train_sizes: further trainings on these numbers of images, for a learning curve.
    sparsity: share of the weights in mixers and MLPs to prune (default: as searched). rewind: the epoch to which the
        other weights return. baselines: also train the study's baselines, after the configurations, unless another
        retraining on the same images has. workers, gpus_per_trial, quiet: as in `search`.

    Raises UserError for mistakes of the caller, before any training; SearchFailed if every training failed;
    KeyboardInterrupt after Ctrl-C, which keeps the finished trainings.
    """
    for name, value in (("top_k", top_k), ("seeds", seeds)):
        at_least(name, value, 1)
    resources = divide(workers, gpus_per_trial)
    results = results if isinstance(results, Results) else load_results(results)
    sizes = tuple(sorted({operator.index(size) for size in train_sizes}))
    if results.database is None:
        raise UserError(f"the study {results.name!r} has no folder for its models; expected one read by load_results")
    run = RunFolder(results.database.parent)
    console = Console(quiet=quiet, soft_wrap=True, highlight=False)
    overridden = pruning(sparsity, rewind, results.rungs[-1])
    results = overriding(results, overridden) if overridden else results
    chosen = best(results, top_k)
    if not chosen:
        raise UserError(f"no trial of {run.path} has reached the full budget yet: continue it with python -m nas.run")
    if len(chosen) < top_k:
        reached = count(len(chosen), "different configuration")
        console.print(f"top_k is {top_k}, but only {reached} reached the full budget")
    with exclusive(run.retraining_lock, f"another retraining is running in {run.path}; wait for it"):
        return _conduct(results, run, chosen, overridden, seeds, sizes, baselines, resources, console)


def best(results: Results, k: int) -> list[Trial]:
    """One trial of each of the `k` best configurations at full budget: the first seed in a grid, else the best."""
    return [cell.trials[0] for cell in results.cells()[:k]]


def pruning(sparsity: float | None, rewind: int | None, epochs: int) -> dict[str, Any]:
    """The options of a training of `epochs` epochs that these two override."""
    if rewind is not None and not sparsity:
        raise UserError(f"rewind is {rewind}, but only pruned networks are rewound: give sparsity above 0 as well")
    if sparsity is None:
        return {}
    given = {"sparsity": sparsity} if rewind is None else {"sparsity": sparsity, "rewind": rewind}
    config = TrainConfig.from_dict({"epochs": epochs, "warmup_epochs": 0, **given})
    return {"sparsity": config.sparsity, "rewind": config.rewind}


def overriding(results: Results, training: Mapping[str, Any]) -> Results:
    """The study with these values in the training of every trial. Trials that differed only in them become equal."""
    trials = [
        dataclasses.replace(t, config={**t.config, "training": {**t.config.get("training", {}), **training}})
        for t in results.trials
    ]
    return dataclasses.replace(results, trials=tuple(trials))


def plan(
    results: Results, chosen: Sequence[Trial], seeds: int, data: Dataset, run: RunFolder, resources: Resources,
    sizes: Sequence[int], variant: str = "",
) -> list[Retraining]:  # fmt: skip
    """Every training of `chosen`, in the order in which they start: on all images, then on each of `sizes` images.

    The seeds follow those of the search, because a configuration may have been the best only with the initial weights
    of its seed.
    """
    first = 1 + results.last_seed
    problem = Problem(
        data=results.spec["data"],
        task=results.spec["task"],
        device=resources.device,
        threads=resources.threads,
        gpus=resources.gpus,
        import_path=import_path(),
    )
    digest, folder = fingerprint(data), str(run.retrained.absolute())
    return [
        Retraining(trial.number, {**trial.config, "seed": seed}, problem, digest, folder, images, variant)
        for images in (None, *sizes)
        for trial in chosen
        for seed in range(first, first + seeds)
    ]


def _conduct(
    results: Results,
    run: RunFolder,
    chosen: Sequence[Trial],
    overridden: Mapping[str, Any],
    seeds: int,
    sizes: Sequence[int],
    baselines: bool,
    resources: Resources,
    console: Console,
) -> Retrained:
    from nas.report.retraining_page import page  # only now: plotly and Ray take seconds to import
    from nas.workers.pool import work_through

    source = source_from_dict(results.spec["data"])
    data = load(source, progress=not console.quiet)
    task = tasks.create(results.spec["task"], data)
    available = len(task.select(data.train)) + (0 if task.with_sigma else len(task.select(data.val)))
    if impossible := [size for size in sizes if not 0 < size <= available]:
        raise UserError(f"train_sizes has {impossible[0]}; expected 1 to {available}, the number of images to train on")
    variant = "".join(f"-{name}-{value:g}" for name, value in sorted(overridden.items()))
    jobs = plan(results, chosen, seeds, data, run, resources, sizes, variant)
    held_out = held_out_jobs(jobs, task)
    todo = [job for job in (*jobs, *held_out) if finished(job) is None]
    console.print(f"data: {data.describe()}")
    if changed := other_images(results.images, data):
        console.print(f"the images have changed since the search, whose values do not hold for these: {changed}")
    console.print(
        f"retraining trial{'s'[: len(chosen) > 1]} {', '.join(t.label for t in chosen)} of {results.name} with "
        f"{count(seeds, 'seed')} each on {trained_on(task)}{override(overridden)}; {resources.describe()}"
    )
    if held_out:
        console.print("one more training of each without the validation images, to choose views and calibrate on these")
    if len(todo) < (total := len(jobs) + len(held_out)):
        console.print(f"{total - len(todo)} of {total} trainings were finished before")
    against = rivals.plan(results.baselines if baselines else (), jobs[0], seeds, run.baselines)
    before = recall(run)
    with rivals.unfinished(against, console) as more, Trainings([*todo, *more], console) as trainings:
        if todo or more:
            work_through(trainings, rivals.train_or_fit, resources)
    gathered = gather(results, chosen, jobs, data)
    failures = tuple(f"{name}: {reason}" for name, reason in sorted(trainings.failures.items()))
    if not gathered.scores:
        raise SearchFailed(f"every training failed: {'; '.join(failures)}")
    compared, verdicts = compare(against, jobs, results.objective, task, data)
    whole = [job for job in jobs if job.images is None and finished(job) is not None]
    images = {"train": available, "test": len(task.select(data.test))}
    retrained = Retrained(
        study=results.name, question=results.question, objective=results.objective,
        data={"source": results.spec["data"], "splits": trained_on(task), "limit": limit(source), **images},
        task=results.spec["task"], classes=task.classes,
        quantity=tasks.quantity(task), certainty=gathered.certainty, sizes=gathered.sizes, epochs=results.rungs[-1],
        finished=sum(results.counts()[state] for state in ("complete", "pruned", "failed")),
        exported=hand_out(whole, held_out, task, data, results.objective),
        configurations=gathered.scores, failures=failures, overridden=overridden, run=run,
        test_reads=count_call(before, run),
        baselines=compared,
        verdicts=tuple(dataclasses.replace(v, given=results.trial(v.trial).given) for v in verdicts),
    )  # fmt: skip
    write_text(run.retraining_record, json.dumps(retrained.to_dict()) + "\n")
    write_text(run.retraining_report, page(retrained))
    export_all(retrained, whole, data)
    return retrained


@dataclass(frozen=True)
class Gathered:
    """The scores of every configuration with a finished training on all images."""

    scores: tuple[Scores, ...]
    certainty: tuple[Certainty, ...]
    sizes: tuple[Size, ...]


def gather(results: Results, chosen: Sequence[Trial], jobs: Sequence[Retraining], data: Dataset) -> Gathered:
    task = tasks.create(results.spec["task"], data)
    targets = task.targets(task.select(data.test))
    chosen_by = {cell.trials[0].number: cell.value for cell in results.cells()}
    groups: dict[tuple[int, int | None], list[NetworkResult]] = {}
    for job in jobs:
        if finished(job) is not None:
            groups.setdefault((job.trial, job.images), []).append(remeasured(result(job), targets))
    found = dict(zip(groups, estimated(list(groups.values()), task, targets), strict=True))
    trained = [trial for trial in chosen if (trial.number, None) in groups]
    if not trained:
        return Gathered((), (), ())
    scores = [
        score(
            trial.number, trial.config, chosen_by[trial.number],
            {"parameters": trial.parameters, "macs": trial.macs}, groups[trial.number, None], task, targets,
            given=trial.given,
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
    certain = certainty([found[trial.number, None] for trial in trained], ensembles, task, targets)
    return Gathered(tuple(scores), tuple(certain), tuple(sizes))


def trained_on(task: tasks.Task) -> str:
    return "training images" if task.with_sigma else "training and validation images"
