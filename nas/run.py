"""`python -m nas.run --study hybrid --trials 20`: search, until the study holds that many finished trials."""

from __future__ import annotations

import fcntl
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy.exc
from rich.console import Console

import studies
from nas import checkpoints, options, samplers, schedulers
from nas.cli import run_command
from nas.display import Display, expected_epochs
from nas.engine import Admission, Engine, Event, SearchFailed
from nas.ledger import Ledger, open_storage
from search_space import cost, from_dict
from studies import StudySpec
from trainers import tasks
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


def open_ledger(path: Path, spec: StudySpec) -> Ledger:
    """The study in the database at `path`: a new one, or the very one that `spec` describes, else ValueError."""
    try:
        storage = open_storage(path)
        names = optuna.get_all_study_names(storage)
    except (sqlalchemy.exc.SQLAlchemyError, RuntimeError) as error:
        raise ValueError(
            f"{path} is no study database ({type(error).__name__}); move it away or use a --name"
        ) from error
    if names and spec.name not in names:
        raise ValueError(f"{path} holds the study {names[0]!r}, not {spec.name!r}; give this one a --name of its own")
    described = json.loads(json.dumps(spec.to_dict()))
    seen = 0
    if names:
        study = optuna.load_study(study_name=spec.name, storage=storage)
        before, seen = completed(study.user_attrs.get("spec", {})), len(study.get_trials(deepcopy=False))
        if differing := sorted(key for key in {*described, *before} if described.get(key) != before.get(key)):
            key = differing[0]
            raise ValueError(
                f"{path} was searched with other {', '.join(differing)} ({key} was {before.get(key)!r}, is now "
                f"{described.get(key)!r}); resume with the same, or give this search a --name of its own"
            )
    sampler = samplers.load(spec.sampler, spec.seed + seen)  # + seen: never the same start twice
    ledger = Ledger(storage, spec.name, direction=spec.direction, sampler=sampler)
    for name, value in {"spec": described, "question": spec.question}.items():
        ledger.study.set_user_attr(name, value)
    return ledger


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
    data = load(spec.data)
    admit = admission(spec, data)
    folder = args.runs / (args.name or spec.name)
    with owned(folder):
        ledger = open_ledger(folder / "study.db", spec)
        kept = folder / "checkpoints"
        display = Display(
            console,
            trials=spec.trials,
            objective=spec.objective,
            maximize=spec.direction == "maximize",
            epochs=expected_epochs(spec.trials, spec.rungs, spec.factor),
        )

        def listen(event: Event) -> None:
            if event.kind in ("complete", "pruned", "failed"):
                checkpoints.remove(kept, event.trial)
            display(event)

        engine = Engine(
            ledger,
            scheduler,
            sample=lambda trial: spec.sample(trial).to_dict(),
            trials=spec.trials,
            first=spec.first,
            objective=spec.objective,
            admit=admit,
            checkpoint=lambda number: checkpoints.epoch_of(kept, number),
            listen=listen,
        )
        display.watch(engine)
        console.print(f"data   {data.describe()}")
        console.print(f"study  {folder / 'study.db'}: {engine.finished} of {spec.trials} trials finished")
        console.print(f"search {share.workers} workers on {share.device}, rungs at epochs {spec.rungs}")
        return conduct(engine, spec, folder, share, display)


def conduct(engine: Engine, spec: StudySpec, folder: Path, share: options.Share, display: Display) -> int:
    """Search to the end, then report. The exit code: 0 done, 1 the search failed, 130 interrupted."""
    from nas import ray_backend  # only now, since importing Ray and torch takes seconds
    from nas.report import top_table, write_report
    from nas.trial import Problem

    problem = Problem(
        data=source_to_dict(spec.data),
        task=spec.task,
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
    display.console.print(top_table(engine.ledger.study))
    display.console.print(f"report    {page}\ndashboard optuna-dashboard sqlite:///{folder / 'study.db'}")
    named = "" if folder.name == spec.name else f" --name {folder.name}"
    display.console.print(f"next      python -m nas.retrain --study {spec.name}{named} --top-k 3 --seeds 3")
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
