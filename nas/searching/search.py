"""`python -m nas.run --study hybrid --trials 20`: search, until the study holds that many finished trials."""

from __future__ import annotations

import fcntl
import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.exceptions import ExperimentalWarning
from rich.console import Console

import studies
from nas import samplers, schedulers
from nas.commands.cli import run_command
from nas.searching import options, warm_start
from nas.searching.display import Display
from nas.searching.engine import Admission, Engine, Event, SearchFailed
from nas.searching.ledger import Ledger
from nas.searching.storage import open_existing, open_storage
from nas.searching.warm_start import WarmStart
from nas.workers import checkpoints
from search_space import cost, from_dict
from studies import Configuration, StudySpec
from trainers import metrics, tasks
from trainers.data import Dataset, load, source_to_dict


def admission(spec: StudySpec, data: Dataset) -> Callable[[dict[str, Any]], Admission]:
    """Counts parameters and multiply-accumulates of a configuration and holds them against the study's limits."""
    shape = {
        "in_chans": data.in_chans,
        "image_size": data.image_size,
        "num_outputs": tasks.load(spec.task, data).num_outputs,
    }

    def admit(config: dict[str, Any]) -> Admission:
        counted = cost(from_dict(config["architecture"]), **shape)
        return Admission(
            attributes={"parameters": counted.parameters, "macs": counted.macs},
            excess={
                "parameters": counted.parameters / spec.max_parameters - 1,
                "macs": counted.macs / spec.max_macs - 1,
            },
        )

    return admit


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """The folder is this process's alone: two searches that write one study would spoil each other's rungs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another search is running in {folder}; wait for it, or give this one a --name") from None
        yield


def completed(record: dict[str, Any]) -> dict[str, Any]:
    """The record of a study with the fields that it was made before: their defaults are what it was searched with."""
    defaults = json.loads(json.dumps(StudySpec(name="", question="").to_dict()))
    return {**defaults, **record, "training": {**defaults["training"], **record.get("training", {})}}


def stored_study(path: Path, spec: StudySpec) -> optuna.Study | None:
    """The very study that `spec` describes in the database at `path`, None for none yet; ValueError for another."""
    if not path.exists():
        return None
    storage, names = open_existing(path)
    if not names:
        return None
    if spec.name not in names:
        raise ValueError(f"{path} holds the study {names[0]!r}, not {spec.name!r}; give this one a --name of its own")
    study = optuna.load_study(study_name=spec.name, storage=storage)
    described, before = plain(spec), completed(study.user_attrs.get("spec", {}))
    if differing := sorted(key for key in {*described, *before} if described.get(key) != before.get(key)):
        key = differing[0]
        raise ValueError(
            f"{path} was searched with other {', '.join(differing)} ({key} was {before.get(key)!r}, is now "
            f"{described.get(key)!r}); resume with the same, or give this search a --name of its own"
        )
    return study


def plain(spec: StudySpec) -> dict[str, Any]:
    """The spec as it comes back from JSON, tuples as lists."""
    record: dict[str, Any] = json.loads(json.dumps(spec.to_dict()))
    return record


def open_ledger(path: Path, spec: StudySpec, warm: WarmStart | None = None) -> Ledger:
    """The study in the database at `path`: a new one, or the very one that `spec` describes, else ValueError."""
    study = stored_study(path, spec)
    seen = len(study.get_trials(deepcopy=False)) if study else 0
    sampler = samplers.load(spec.sampler, spec.seed + seen)  # + seen: never the same start twice
    ledger = Ledger(open_storage(path), spec.name, direction=spec.direction, sampler=sampler)
    begun = {warm_start.ATTRIBUTE: warm.to_dict()} if warm else {}  # written before what makes the study resumable
    for name, value in {**begun, "spec": plain(spec), "question": spec.question}.items():
        ledger.study.set_user_attr(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        ledger.study.set_metric_names([spec.objective])  # what the dashboard writes on its axes
    return ledger


def check_task(spec: StudySpec, data: Dataset) -> None:
    """ValueError unless the data has what the study's task needs, and the task the metric that the study is after."""
    task = tasks.load(spec.task, data)
    val = task.select(data.val)
    known = task.metrics_in_full(task.predict(torch.zeros(len(val), task.num_outputs)), task.targets(val))
    if metrics.base(spec.objective) not in known or spec.objective.startswith("turned_"):
        endings = " or ".join(metrics.SYMMETRIC)
        raise ValueError(
            f"task {spec.task!r} has no metric {spec.objective!r}; known: {', '.join(known)}, and each with {endings}"
        )
    if (sensible := metrics.direction(spec.objective)) != spec.direction:
        raise ValueError(f"the study would {spec.direction} {spec.objective}; expected to {sensible} it")
    if not task.classifies and set(spec.training.balance) != {"none"}:
        raise ValueError(f"task {spec.task!r} has no classes to balance; expected --balance none")


def command(argv: list[str]) -> int:
    args = options.parser().parse_args(argv)
    console = Console(soft_wrap=True, highlight=False)
    if args.list:
        for name in studies.known():
            spec = studies.load(name)
            console.print(f"{name:14} {spec.question} ({spec.trials} trials)")
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)

    spec, share = options.resolve(args), options.share(args)
    scheduler = schedulers.load(spec.scheduler, spec.rungs, spec.factor)
    samplers.load(spec.sampler, spec.seed)
    folder = args.runs / (args.name or spec.name)
    with owned(folder):
        study = stored_study(folder / "study.db", spec)  # before minutes may go into images
        warm = warm_start.begin(args.warm_start, args.runs, study, spec)
        data = load(spec.data)
        check_task(spec, data)
        admit = admission(spec, data)
        ledger = open_ledger(folder / "study.db", spec, warm)
        kept = folder / "checkpoints"
        for trial in ledger.history:
            if trial.state.is_finished():  # killed between a trial's end and its tidying
                checkpoints.remove(kept, trial.number)
        display = Display(
            console,
            trials=spec.trials,
            objective=spec.objective,
            maximize=spec.direction == "maximize",
            epochs=scheduler.expected_epochs(spec.trials),
        )

        def listen(event: Event) -> None:
            if event.kind in ("complete", "pruned", "failed"):
                checkpoints.remove(kept, event.trial)
            display(event)

        engine = Engine(
            ledger,
            scheduler,
            sample=spec.sample,
            record=Configuration.to_dict,
            trials=spec.trials,
            first=warm.first if warm else spec.first,
            objective=spec.objective,
            admit=admit,
            checkpoint=lambda number, at_most: checkpoints.newest(kept, number, at_most),
            listen=listen,
        )
        display.watch(ledger.history)
        console.print(f"data   {data.describe()}")
        console.print(f"study  {folder / 'study.db'}: {engine.finished} of {spec.trials} trials finished")
        if warm:
            console.print(f"start  from trials {', '.join(map(str, warm.trials))} of {warm.source}")
        console.print(f"search {share.workers} workers on {share.device}, rungs at epochs {spec.rungs}")
        return conduct(engine, spec, folder, share, display)


def conduct(engine: Engine, spec: StudySpec, folder: Path, share: options.Share, display: Display) -> int:
    """Search to the end, then report. The exit code: 0 done, 1 the search failed, 130 interrupted."""
    from nas.report import tables, write_report
    from nas.workers import pool as ray_backend  # only now, since importing Ray takes seconds
    from nas.workers.trial import Problem

    problem = Problem(
        data=source_to_dict(spec.data),
        task=spec.task,
        objective=spec.objective,
        checkpoints=str((folder / "checkpoints").absolute()),
        device=share.device,
        threads=share.threads,
    )
    try:
        with display:
            ray_backend.search(engine, problem, workers=share.workers, gpus_per_trial=share.gpus)
        if not engine.done:
            display.console.print(f"stopped at {engine.finished} of {spec.trials} trials; the same command goes on")
            return 130
        engine.close()
    except SearchFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    finally:
        page = write_report(engine.ledger.study, folder / "report.html")
    for table in tables(engine.ledger.study):
        display.console.print(table)
    display.console.print(f"report    {page}\ndashboard optuna-dashboard sqlite:///{folder / 'study.db'}")
    where = "" if folder.parent == Path("runs") else f" --runs {folder.parent}"
    where += "" if folder.name == spec.name else f" --name {folder.name}"
    display.console.print(f"next      python -m nas.retrain --study {spec.name}{where} --top-k 3 --seeds 3")
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
