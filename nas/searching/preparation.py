"""Makes the engine of a search from its study and its images, before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from optuna.distributions import BaseDistribution, check_distribution_compatibility

from nas import schedulers
from nas.errors import UserError
from nas.own_code import edited
from nas.reading import AXIS, CODE, IMAGES, LIMIT, SHAPE, load_results
from nas.run_folder import RunFolder
from nas.searching import warm_start as warm_starts
from nas.searching.display import Display
from nas.searching.drafts import Sample, draft
from nas.searching.engine import Engine
from nas.searching.jobs import Event
from nas.searching.notes import ENDED, Notes
from nas.searching.renewal import Renewal
from nas.searching.server import Guard
from nas.searching.storage import place
from nas.searching.study import (
    admission,
    check_same_images,
    code_of,
    describe_images,
    open_ledger,
    stored_study,
    task_of,
)
from nas.words import advice_on_axis, audit_line
from nas.workers import checkpoints
from studies import Configuration, StudySpec
from trainers.audit import shortcut
from trainers.data import Dataset, limit, load
from trainers.data.axis import preferred_axis
from trainers.data.folds import fold
from trainers.regression import Regression

DRAWS = 64


def refuse_varying(sample: Sample) -> None:
    """UserError if a parameter has other choices in some of DRAWS random configurations than in others."""
    rng, known = np.random.default_rng(0), dict[str, BaseDistribution]()
    for _ in range(DRAWS):
        for name, distribution in draft(sample, rng).distributions.items():
            try:
                check_distribution_compatibility(known.setdefault(name, distribution), distribution)
            except ValueError as error:
                raise UserError(
                    f"the parameter {name!r} has other choices in another network: {error} Give each set of choices a "
                    "name of its own, as search_space.bounds.pick_up_to does"
                ) from error


def prepare(
    spec: StudySpec,
    run: RunFolder,
    warm_start: str | Path | None,
    display: Display,
    tell: Callable[[int, int, Mapping[str, float]], None],
    guard: Guard,
) -> tuple[Engine, Dataset]:
    """Make the engine of a new or resumed search, and open its images.

    UserError if the stored study or the data does not fit `spec`. tell: hears of every epoch, as `Logger.epoch`.
    guard: of `only_driver`.
    """
    study = stored_study(run.database, spec)  # before loading images, which may take minutes
    code = code_of(spec)  # refuses what workers cannot import
    former = warm_starts.find(warm_start, run.path.parent, study)
    data = load(spec.data, progress=not display.quiet)
    task = task_of(spec, data)
    if spec.folds:
        fold(data, 0, spec.folds, by_class=task.classifies)  # refuses what cannot be divided, before any training
    if isinstance(spec.task, Regression) and spec.training.always_turned:
        display.say(
            "note   every training turns or mirrors its images: a number that changes with them, such as an angle or "
            "a position, needs --set training.policies=none --set space.symmetry=none --set space.front_end=none "
            "(--set training.flip=False in a study without policies)"
        )
    if study is not None:
        check_same_images(study, data, task)
        if names := edited(study.user_attrs.get(CODE, {})):
            display.say(f"note   edited since the study was begun: {names}; earlier trials may be of other networks")
    sample = partial(spec.sample, image_size=data.image_size)
    refuse_varying(sample)
    warm = warm_starts.begin(former, spec, sample)
    ledger = open_ledger(run.database, spec, warm, guard)
    ledger.study.set_user_attr(IMAGES, describe_images(data, task))
    if CODE not in ledger.study.user_attrs:  # a study keeps that of its first trials
        ledger.study.set_user_attr(CODE, code)
    shape = {"channels": data.in_chans, "side": data.image_size, "outputs": task.num_outputs}
    ledger.study.set_user_attr(SHAPE, shape)
    scheduler = schedulers.of_study(spec)
    notes = Notes(ledger, run, spec.metric, scheduler.rungs, shape, display.say)
    axis = preferred_axis(data.train)
    ledger.study.set_user_attr(AXIS, asdict(axis))
    ledger.study.set_user_attr(LIMIT, found := limit(spec.data, progress=not display.quiet))
    for trial in ledger.history:
        if trial.state.is_finished():  # an earlier process may have died before removing them
            checkpoints.remove(run.checkpoints, trial.number)

    def write() -> None:
        from nas.report.page import write_report  # only now: plotly takes seconds to import

        write_report(load_results(run.path), run.report)

    renew = Renewal(write, display.say)

    def listen(event: Event) -> None:
        if event.kind in ENDED:
            checkpoints.remove(run.checkpoints, event.trial)
        notes(event)
        display(event)
        if event.kind == "epoch":
            tell(event.trial, event.epoch, event.metrics)
            renew()

    engine = Engine(
        ledger,
        scheduler,
        sample=sample,
        record=Configuration.to_dict,
        trials=spec.trials,
        first=warm.first if warm else spec.first,
        objective=spec.metric,
        max_seconds=spec.max_seconds,
        admit=admission(spec, data),
        checkpoint=partial(checkpoints.newest, run.checkpoints),
        listen=listen,
    )
    display.watch(ledger.history)
    display.say(f"data   {data.describe()}")
    if found:
        display.say(f"limit  {found}")
    display.say(f"study  {place(run.database)}: {engine.finished} of {spec.trials} trials finished")
    if not display.quiet:
        trees = shortcut("statistics", data) if len(data.classes) > 1 else None
        display.say(f"audit  {audit_line(axis, trees)}")
    if axis.found and (advice := advice_on_axis(spec.metric)):
        display.say(f"axis   {advice}")
    if warm:
        display.say(f"start  from trials {', '.join(map(str, warm.trials))} of {warm.source}")
    return engine, data
