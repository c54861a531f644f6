"""`nas.retrain`: train the best configurations of a search again over several seeds, test them once, export them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.checks import check_number, path_of, whole_numbers
from nas.errors import SearchFailed, UserError, mendable
from nas.files import exclusive, write_text
from nas.own_code import edited
from nas.paper.record import command
from nas.reading import load_results
from nas.results import Results
from nas.retraining import baselines as rivals
from nas.retraining import elsewhere
from nas.retraining.choice import Choice, choose, fitted
from nas.retraining.comparison import compare
from nas.retraining.finetuning import Origin, check_run, read_model, with_objective
from nas.retraining.gathered import gather
from nas.retraining.handing_out import export_all, hand_out, held_out_jobs
from nas.retraining.job import Retraining, finished, known_fingerprint
from nas.retraining.progress import Trainings
from nas.retraining.reads import count_call, recall
from nas.retraining.retrained import UNFINISHED, Retrained
from nas.run_folder import RunFolder
from nas.searching.study import other_images
from nas.terminal import Terminal
from nas.words import count, describe_data, override
from nas.workers.greeting import Home
from nas.workers.resources import Resources, attached, divide
from nas.workers.stopping import LONGEST, deadline_of
from nas.workers.training import Problem, cached_in, import_path
from trainers import tasks
from trainers.config import MOST_EPOCHS
from trainers.data import Dataset, limit, load, source_from_dict


@mendable
def retrain(
    results: Results | str | Path | None = None,
    *,
    start: str | Path | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    top_k: int | None = None,
    trials: Sequence[int] = (),
    seeds: int = 3,
    train_sizes: Sequence[int] = (),
    epochs: int | None = None,
    data: Any = None,
    hdu: str | Sequence[str] | None = None,
    clip: str | tuple[float, float] | None = None,
    key: str | Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    fit: str | None = None,
    split: str | Sequence[float] | None = None,
    sparsity: float | None = None,
    rewind: int | None = None,
    baselines: bool = True,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    time_limit: float | None = None,
    trial_timeout: float | None = None,
    quiet: bool = False,
) -> Retrained:
    """Train the best configurations again on training and validation images, test them once, export them.

    results: a study, or the folder of its run. Everything is written there; the same call resumes.
    start: the folder of an exported model, instead of `results`: its networks are fine-tuned on the images of `data`.
        Every seed starts from the weights of one of them, with a new last layer if the classes are others.
        runs, name: the run that this is written to (default: `<study>-from-<folder>` in runs/).
    top_k: the number of configurations (default 3). trials: the numbers of trials to train instead, in any state.
    epochs: length of every training (default: as searched); schedules follow, warm-up and running means stay.
    data: other images to train and test on, as in `search`; the results go to a folder data-... below the run's. hdu,
        clip, key, classes, fit, split: how these are read, as in `search`.
    seeds: trainings per configuration. train_sizes: further trainings on these numbers of images, for a learning curve.
    sparsity: share of the weights in mixers and MLPs to prune (default: as searched). rewind: the epoch to which the
        other weights return. baselines: also train the study's baselines, after the configurations, unless a retraining
        on the same images has trained them already. workers, gpus_per_trial, trial_timeout, quiet: as in `search`.
    time_limit: seconds after which the call stops.

    Raises UserError for mistakes of the caller, before any training; SearchFailed if every training failed; Stopped, a
    KeyboardInterrupt, after Ctrl-C, SIGTERM, SIGUSR1 or the time limit. The same call then goes on where this one was.
    """
    for what, seconds in (("time_limit", time_limit), ("trial_timeout", trial_timeout)):
        check_number(what, seconds, 1, LONGEST)
    limits = {"deadline": deadline_of(time_limit), "patience": trial_timeout}
    for what, value, highest in (("top_k", top_k, 1e6), ("seeds", seeds, 1000), ("epochs", epochs, MOST_EPOCHS)):
        check_number(what, value, 1, highest, whole=True)
    trials, sizes = whole_numbers("trials", trials), tuple(sorted({*whole_numbers("train_sizes", train_sizes)}))
    if trials and top_k is not None:
        raise UserError(f"top_k is {top_k}, but trials are named as well; give one of the two")
    resources = divide(workers, gpus_per_trial)
    origin = None
    if (results is None) == (start is None):
        raise UserError("give either a study (results), or a model to start from (start)")
    if start is None and name is not None:
        raise UserError(f"name is {name!r}, but a study is retrained in its own run; leave it out")
    if start is not None:
        if data is None:
            raise UserError(f"data is missing; to fine-tune the model {start}, give other images")
        if top_k is not None:
            raise UserError(f"top_k is {top_k}, but all networks of the model {start} are fine-tuned; leave it out")
        results, origin = read_model(path_of("start", start), runs, name)
        trials = trials or tuple(trial.number for trial in results.trials)
    results = results if isinstance(results, Results) else load_results(results)  # type: ignore[arg-type]
    if results.database is None:
        raise UserError(f"the study {results.name!r} has no folder for its models; expected one read by load_results")
    run = RunFolder(results.database.parent)
    console = Terminal(quiet=quiet, soft_wrap=True)
    wanted = len(trials) or top_k or 3
    choice = choose(results, wanted, trials, epochs=epochs, sparsity=sparsity, rewind=rewind)
    if not choice.trials:
        raise UserError(f"no trial of {run.path} has reached the full budget yet: continue it with python -m nas.run")
    if (found := len(choice.trials)) < wanted:
        known = f"{wanted} trials are named, of" if trials else f"top_k is {wanted}, but only"
        reached = "" if trials else " reached the full budget"
        console.print(f"{known} {count(found, 'different configuration')}{reached}")
    searched = None
    reading = {"hdu": hdu, "clip": clip, "key": key, "classes": classes, "fit": fit, "split": split}
    if data is None and (given := [name for name, value in reading.items() if value is not None]):
        raise UserError(f"{given[0]} says how other images are read; give data as well")
    if data is not None and (source := elsewhere.other_source(results, data, **reading)):
        searched, run = results.spec["data"], run.below(elsewhere.folder_name(source))
        results = elsewhere.moved(results, source)
    check_run(run, "" if origin is None else str(origin.folder))
    images = load(source_from_dict(results.spec["data"]), progress=not quiet)
    results = results if origin is None else with_objective(results, images)
    choice = fitted(choice, results, images)  # before the folder is made
    if searched:  # the values of the search are of other images
        choice = replace(choice, validation={})
    with exclusive(run.retraining_lock, f"another retraining is running in {run.path}; wait for it"):
        return _conduct(
            results, run, choice, images, searched, seeds, sizes, baselines, resources, limits, console, origin
        )


def plan(
    results: Results, choice: Choice, seeds: int, data: Dataset, run: RunFolder, resources: Resources,
    sizes: Sequence[int],
) -> list[Retraining]:  # fmt: skip
    """Every training of the choice, in the order in which they start: on all images, then on each of `sizes` images.

    The seeds follow those of the search, because a configuration may have been the best only with the initial weights
    of its seed.
    """
    first = 1 + results.last_seed
    problem = Problem(
        data=results.spec["data"],
        task=results.task,
        device=resources.device,
        threads=resources.threads,
        gpus=resources.gpus,
        import_path=import_path(),
        images=cached_in(data),
    )
    digest, folder = known_fingerprint(data), str(run.retrained.absolute())
    variant = "".join(f"-{name}-{value:g}" for name, value in sorted(choice.overridden.items()))
    return [
        Retraining(trial.number, {**trial.config, "seed": seed}, problem, digest, folder, images, variant)
        for images in (None, *sizes)
        for trial in choice.trials
        for seed in range(first, first + seeds)
    ]


def _conduct(
    results: Results,
    run: RunFolder,
    choice: Choice,
    data: Dataset,
    searched: Mapping[str, Any] | None,
    seeds: int,
    sizes: Sequence[int],
    baselines: bool,
    resources: Resources,
    limits: Mapping[str, float | None],
    console: Terminal,
    origin: Origin | None,
) -> Retrained:
    from nas.report.page import write_report  # only now: plotly and Ray take seconds to import
    from nas.report.retraining_page import page
    from nas.workers.pool import work_through

    task = tasks.create(results.task, data)
    available = len(task.select(data.train)) + (0 if task.with_sigma else len(task.select(data.val)))
    if impossible := [size for size in sizes if not 0 < size <= available]:
        raise UserError(f"train_sizes has {impossible[0]}; expected 1 to {available}, the number of images to train on")
    jobs = plan(results, choice, seeds, data, run, resources, sizes)
    jobs = jobs if origin is None else origin.starting(jobs, data, task)
    held_out = held_out_jobs(jobs, task)
    todo = [job for job in (*jobs, *held_out) if finished(job) is None]
    console.print(f"data: {data.describe()}")
    if origin is not None:
        head = "" if jobs[0].start is None or jobs[0].start.keep_head else " and a new last layer"
        console.print(f"fine-tuning: starting from the weights of {origin.folder}{head}")
    if searched:
        begun = "searched on" if origin is None else "the model was trained on"
        console.print(f"{begun}: {describe_data(searched)}")
    if changed := other_images(results.images, data, task):
        console.print(
            f"the images or their numbers have changed since the search, whose values do not hold for these: {changed}"
        )
    if names := edited(results.code):
        console.print(f"edited since the search was begun: {names}; its trials may be of other networks")
    console.print(
        f"retraining trial{'s'[: len(choice.trials) > 1]} {', '.join(t.label for t in choice.trials)} of "
        f"{results.name} with {count(seeds, 'seed')} each on {trained_on(task)}{override(choice.overridden)}; "
        f"{resources.describe()}"
    )
    if held_out:
        number = count(len(held_out), "more training")
        console.print(f"{number} without the validation images, to choose views and calibrate on these")
    if len(todo) < (total := len(jobs) + len(held_out)):
        console.print(f"{total - len(todo)} of {total} trainings were finished before")
    files = {job.config["architecture"].get("checkpoint") for job in todo} - {None}
    home = Home.of(run.retraining_lock, data, files) if attached() else None
    against = rivals.plan(results.baselines if baselines else (), jobs[0], seeds, run.baselines)
    before = recall(run)
    with rivals.unfinished(against, console) as more, Trainings([*todo, *more], console) as trainings:
        if todo or more:
            work_through(trainings, rivals.train_or_fit, resources, home=home, **limits)
    gathered = gather(choice.trials, choice.validation, jobs, task, data, results.objective)
    failures = tuple(f"{name}: {reason}" for name, reason in sorted(trainings.failures.items()))
    if not gathered.scores:
        raise SearchFailed(f"every training failed: {'; '.join(failures)}")
    compared, verdicts = compare(against, jobs, results.objective, task, data)
    whole = [job for job in jobs if job.images is None and finished(job) is not None]
    images = {"train": available, "test": len(task.select(data.test))}
    retrained = Retrained(
        study=results.name, question=results.question, objective=results.objective,
        data={
            "source": results.spec["data"], "searched": searched, "splits": trained_on(task),
            "limit": limit(source_from_dict(results.spec["data"])), **images,
        },
        task=results.task, classes=task.classes,
        quantity=tasks.quantity(task), certainty=gathered.certainty, sizes=gathered.sizes, epochs=jobs[0].epochs,
        finished=sum(results.counts()[state] for state in ("complete", "pruned", "failed")),
        exported=hand_out(whole, held_out, task, data, results.objective),
        configurations=gathered.scores, failures=failures, overridden=choice.overridden, run=run, named=choice.named,
        finals=choice.finals and not searched,
        cost=results.cost, command=command("retrain"),
        started="" if origin is None else str(origin.folder), asked=tuple(trial.number for trial in choice.trials),
        test_reads=count_call(before, run),
        baselines=compared,
        verdicts=tuple(replace(v, given=results.trial(v.trial).given) for v in verdicts),
    )  # fmt: skip
    record = retrained.to_dict()
    write_text(run.retraining_record, json.dumps({**record, UNFINISHED: True}) + "\n")  # the count of test reads stays
    export_all(retrained, whole, data, None if origin is None else origin.model.trained_on)
    write_text(run.retraining_record, json.dumps(record) + "\n")
    write_text(run.retraining_report, page(retrained))
    if not searched and origin is None:  # the search's own page: its verdict names the baselines
        assert results.database is not None
        write_report(load_results(results.database), run.report)  # read again: the search may have gone on
    return retrained


def trained_on(task: tasks.Task) -> str:
    return "training images" if task.with_sigma else "training and validation images"
