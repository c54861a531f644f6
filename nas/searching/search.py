"""`nas.search`: from a study to its results."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import studies
from nas import loggers, samplers, schedulers
from nas.checks import check_number
from nas.errors import SearchFailed, Stopped, UserError, mendable
from nas.files import exclusive
from nas.paper import record
from nas.reading import load_results
from nas.results import Results
from nas.run_folder import RunFolder, run_folder
from nas.samplers import grid
from nas.searching.display import Display
from nas.searching.engine import Engine
from nas.searching.options import adapt, fetch
from nas.searching.preparation import prepare
from nas.searching.server import only_driver, place_study
from nas.searching.storage import explained, quiet_optuna
from nas.searching.work import Search
from nas.words import count
from nas.workers import checkpoints
from nas.workers.greeting import Home
from nas.workers.resources import Resources, attached, divide
from nas.workers.stopping import CODES, LONGEST, TIME_IS_UP, deadline_of
from nas.workers.training import Problem, cached_in, import_path
from search_space import BackboneSpace
from studies import StudySpec
from trainers import tasks
from trainers.data import Dataset, source_to_dict


@mendable
def search(
    study: str | Path | StudySpec = "hybrid",
    *,
    trials: int | None = None,
    data: Any = None,
    task: tasks.Named | None = None,
    target: str | Sequence[str] | None = None,
    unit: str | None = None,
    log: bool = False,
    objective: str | None = None,
    balance: str | None = None,
    sampler: str | None = None,
    scheduler: str | None = None,
    warm_start: str | Path | None = None,
    group: str | None = None,
    skip_bad: bool = False,
    hdu: str | Sequence[str] | None = None,
    clip: str | tuple[float, float] | None = None,
    key: str | Sequence[str] | None = None,
    classes: str | Sequence[str] | None = None,
    fit: str | None = None,
    split: str | Sequence[float] | None = None,
    image_size: int | None = None,
    images: int | None = None,
    data_seed: int | None = None,
    epochs: int | None = None,
    max_parameters: int | None = None,
    max_macs: int | None = None,
    max_seconds: float | None = None,
    seed: int | None = None,
    seeds: int | None = None,
    finals: float | None = None,
    folds: int | None = None,
    checkpoint: Mapping[str, str] | str | Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    time_limit: float | None = None,
    trial_timeout: float | None = None,
    logger: str | None = None,
    runs: str | Path = "runs",
    name: str | None = None,
    storage: str | None = None,
    quiet: bool = False,
) -> Results:
    """Search until the study holds `trials` finished trials. The same call resumes a search; more trials extend it.

    At the end the best configurations are trained again with fresh seeds, and the one with the best lower bound of its
    mean over seeds is the study's best.

    study: the name of one of ours, the path of a .py file with a STUDY, or a StudySpec.
    data: a folder of images; a .npz, .h5 or .pt file of images and labels; (images, labels) in memory; a torch Dataset
        of (image, label); a function that returns either, as "my_package.my_images:load"; or a source of
        `trainers.data` (default: the study's, simulated lenses).
    task, sampler, scheduler: the name of one of ours, or the dotted name of your own module.
    target: what the task regression or regression_sigma measures: names of numbers that the data gives, such as
        "theta_E,gamma". unit: of every target, or one for each with commas. log: measure log10 of them.
    objective: any metric of the task that has a direction, also with _d4_mean, _d4_worst or _d4_views (default: the
        study's, or the task's with another task). "auc,macs" or "auc,parameters": search for the front of the two, the
        best value at every cost.
    balance: none, weights or sampling, for classes of different size.
    warm_start: an earlier run, whose best configurations are tried first.
    group: a regular expression with one group, which names the object that an image shows, in its path below the
        folder; all images of an object go into one split (default: the names of files say it).
    skip_bad: discard unreadable images of a folder instead of refusing it.
    hdu: the HDUs of FITS files that are the channels, by name or number: ("G", "R") or "G,R" (default: by their names).
        clip: percentiles at which each channel of an image in a folder is clipped, such as (0.1, 99.9). key: the names
        of the images' and of the labels' array in .npz, .h5 and .pt files, such as ("x", "y") (default: common names).
        classes: names of classes that are the numbers 0, 1, ... there or in a table. fit: "crop", "pad" or "resize", to
        make images square and of one size. split: proportion of training, validation and test images where the data
        has no splits, such as (70, 15, 15) (default 80, 10, 10).
    images: number of simulated images. data_seed: draws other ones, test images included. image_size: side in pixels to
        which images are resized.
    epochs: of a full training; the lowest rung scales with it. max_parameters, max_macs: limits of a network.
    max_seconds: limit of a full training; a trial that would take longer ends after its first epochs.
    seed: of networks, training and sampler. seeds: trainings per cell of a grid.
    finals: cost of the finals, as a share of the search's epochs; 0 for none (default 0.2; a grid has none).
    folds: parts of the training and validation images on which the finals validate in turn (default 0: on those of the
        split).
    checkpoint: files of weights by the name of an existing network, or "name=FILE"; the study is then of
        these networks.
    settings: other values of the study by name: {"space.width": (32, 64), "training.ema": (0.0,), "min_epochs": 6}.
    workers: trainings at once (default: one per CPU, or as many as the GPUs hold). gpus_per_trial: 0 to 1.
    time_limit: seconds after which the search stops and returns what it has found. trial_timeout: seconds without an
        epoch after which a trial fails and its worker is renewed (default: 20 times the slowest epoch, and 10 minutes
        at least).
    logger: who else hears of every epoch: tensorboard, or the dotted name of your own module (`nas/loggers/`).
    runs, name: results go to the folder runs/name (default name: the study's).
    storage: postgresql://user@host/database, to keep the study there instead of in the folder, which remembers the
        address. The password comes from PGPASSWORD, ~/.pgpass or the address, and is not kept.
    quiet: show nothing.

    Raises UserError for mistakes of the caller, before any training; SearchFailed if the search cannot continue;
    Stopped, a KeyboardInterrupt, after Ctrl-C, SIGTERM or SIGUSR1, once the workers have stopped and the study is safe.
    """
    for option, seconds in (("time_limit", time_limit), ("trial_timeout", trial_timeout)):
        check_number(option, seconds, 1, LONGEST)
    deadline = deadline_of(time_limit)
    named = studies.load(study)
    spec = adapt(
        named, trials=trials, data=data, task=task, target=target, unit=unit, log=log,
        objective=objective, balance=balance, sampler=sampler, scheduler=scheduler, group=group, skip_bad=skip_bad,
        hdu=hdu, clip=clip, key=key, classes=classes, fit=fit, split=split, image_size=image_size, images=images,
        data_seed=data_seed, epochs=epochs, max_parameters=max_parameters, max_macs=max_macs,
        max_seconds=max_seconds, seed=seed, seeds=seeds, finals=finals, folds=folds, checkpoint=checkpoint,
        settings=settings,
    )  # fmt: skip
    resources, run = divide(workers, gpus_per_trial), run_folder(runs, spec.name if name is None else name)
    samplers.create(spec.sampler, spec.seed)  # to refuse a wrong name before anything is written
    if spec.sampler == "grid":
        grid.check(spec.sample)
    fetch(spec)
    made = None if logger is None else loggers.create(logger, run.log, spec.name)
    display = Display(
        trials=spec.trials, objective=spec.metric, maximize=spec.direction == "maximize",
        epochs=schedulers.of_study(spec).expected_epochs(spec.trials), quiet=quiet,
    )  # fmt: skip
    told = loggers.Safely(made, display.say)
    busy = f"another search is running in {run.path}; wait for it, or give this one a --name"
    with quiet_optuna(), exclusive(run.lock, busy), closing(told):
        place_study(run, storage, spec.name)
        with explained(run.database), only_driver(run.database) as guard:
            engine, dataset = prepare(spec, run, warm_start, display, told.epoch, guard)
            record.write(run.reproduce, engine.ledger.study, resources.describe())
            if settings and (out := len(named.first) - len(spec.first)):
                display.say(
                    f"note   {out} of {count(len(named.first), 'given configuration')} do not fit these settings, or "
                    "have become the same, and are left out"
                )
            display.say(f"search {resources.describe()}, rungs at epochs {engine.scheduler.rungs}")
            if resources.gpus and gpus_per_trial is None and workers is None:
                display.say(
                    "       a small network fills little of a GPU: --gpus-per-trial 0.25 trains four on each, with a "
                    "quarter of its memory"
                )
            try:
                _conduct(engine, spec, run, dataset, resources, display, deadline, trial_timeout)
            except Stopped as stop:
                if stop.reason != TIME_IS_UP:
                    raise
                display.say(f"{stop}; run the same command again to resume")
    return load_results(run.path)


def _conduct(
    engine: Engine,
    spec: StudySpec,
    run: RunFolder,
    data: Dataset,
    resources: Resources,
    display: Display,
    deadline: float | None,
    patience: float | None,
) -> None:
    """Train to the end of the search, then write the report, even after an error."""
    from nas.report.page import write_report  # only now: plotly and Ray take seconds to import
    from nas.workers.pool import work_through
    from nas.workers.trial import run_trial

    finals = 0.0 if spec.sampler == "grid" else spec.finals
    problem = Problem(
        data=source_to_dict(spec.data),
        task=spec.task,
        objective=spec.metric,
        device=resources.device,
        threads=resources.threads,
        gpus=resources.gpus,
        import_path=import_path(),
        checkpoints=str(run.checkpoints.absolute()),
        images=cached_in(data),
    )
    files = spec.space.checkpoints.values() if isinstance(spec.space, BackboneSpace) else ()
    home = Home.of(run.lock, data, files) if attached() else None
    work = Search(engine, finals, spec.folds, partial(checkpoints.newest, run.checkpoints))
    killed = False
    display.say("starting Ray ...")
    try:
        with display:
            work_through(
                work, partial(run_trial, problem=problem), resources, home=home, deadline=deadline, patience=patience
            )
    except KeyboardInterrupt as interrupt:
        stop = interrupt if isinstance(interrupt, Stopped) else Stopped("stopped", CODES[signal.SIGINT])
        killed = stop.code == CODES[signal.SIGTERM]  # SIGKILL may follow before a report could be finished
        where = "in the finals" if work.closed else f"at {engine.finished} of {spec.trials} trials"
        raise stop.told(f"{stop.reason} {where}") from None
    finally:
        if not killed:
            failing = sys.exception() is not None
            try:
                write_report(load_results(run.path), run.report)
            except (OSError, UserError) as error:
                if not failing:
                    raise SearchFailed(
                        f"the search is over, but its report cannot be written ({error}); python -m nas.report does it"
                    ) from error
                # A full disk: what ended the search says more.
                display.say(f"the report could not be written ({error})")
