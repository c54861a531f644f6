"""`python -m nas.run --study hybrid --trials 20`: search, until the study holds that many finished trials."""

from __future__ import annotations

import argparse
import dataclasses
import fcntl
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console

import studies
from nas import checkpoints, schedulers
from nas.cli import run_command
from nas.display import Display, expected_epochs
from nas.engine import Admission, Engine, Event, SearchFailed
from nas.ledger import Ledger, open_storage
from search_space import cost, from_dict
from studies import StudySpec
from trainers import tasks
from trainers.data import Dataset, Folder, Simulated, load, source_to_dict


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m nas.run", description="Search, or go on searching: the same command resumes."
    )
    p.add_argument("--list", action="store_true", help="show the studies and what each asks, then stop")
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--trials", type=int, help="finished trials the study shall hold (default: the study's own number)")
    p.add_argument("--data", help="folder of class folders of images; without it, lenses are simulated")
    p.add_argument("--image-size", type=int, help="side in pixels to which images are brought (default 64)")
    p.add_argument("--images", type=int, help="number of simulated images")
    p.add_argument("--epochs", type=int, help="full budget; the lowest rung scales with it")
    p.add_argument("--max-parameters", type=int, help="larger networks are skipped")
    p.add_argument("--max-macs", type=int, help="networks that cost more multiply-accumulates an image are skipped")
    p.add_argument("--seed", type=int, help="of networks, training and sampler")
    p.add_argument("--workers", type=int, help="trials trained at once (default: one per CPU, or what the GPUs hold)")
    p.add_argument(
        "--gpus-per-trial", type=float, help="share of a GPU for each trial (default 1 where there are GPUs)"
    )
    p.add_argument("--runs", type=Path, default=Path("runs"), help="where results go (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")
    return p


def resolve(args: argparse.Namespace) -> StudySpec:
    """The study as the command line asks for it. ValueError for anything that cannot be."""
    spec = studies.load(args.study)
    changes: dict[str, Any] = {
        name: getattr(args, name)
        for name in ("trials", "max_parameters", "max_macs", "seed")
        if getattr(args, name) is not None
    }
    for name in ("trials", "max_parameters", "max_macs", "epochs", "images", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; expected 0 or more")
    if args.epochs is not None:
        scaled = max(round(args.epochs * spec.min_epochs / spec.epochs), 1)
        changes |= {"epochs": args.epochs, "min_epochs": scaled}
    if args.data is not None:
        if args.images is not None:
            raise ValueError("--images counts simulated images; with --data, all images of the folder are used")
        changes["data"] = Folder(args.data, image_size=args.image_size or 64)
    elif isinstance(spec.data, Simulated):
        given = {"images": args.images, "image_size": args.image_size}
        changes["data"] = dataclasses.replace(spec.data, **{k: v for k, v in given.items() if v is not None})
    return dataclasses.replace(spec, **changes)


def devices(args: argparse.Namespace) -> tuple[str, int, int, float]:
    """(device, workers, torch threads of each, GPUs of each) for this machine or the Ray cluster."""
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = torch.cuda.device_count()
    share = args.gpus_per_trial if args.gpus_per_trial is not None else float(gpus > 0)
    if share < 0 or share > gpus:
        raise ValueError(f"--gpus-per-trial is {share:g}, but there are {gpus} GPUs here")
    workers = args.workers or (int(gpus / share) if share else cpus)
    return ("cuda" if share else "cpu"), workers, max(cpus // workers, 1), share


def admission(spec: StudySpec, data: Dataset) -> Any:
    """Counts parameters and multiply-accumulates of a configuration and holds them against the study's limits."""
    outputs = tasks.load(spec.task, data).num_outputs

    def admit(config: dict[str, Any]) -> Admission:
        counted = cost(
            from_dict(config["architecture"]), in_chans=data.in_chans, image_size=data.image_size, num_outputs=outputs
        )
        return Admission(
            {"parameters": counted.parameters, "macs": counted.macs},
            {
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


def open_ledger(folder: Path, spec: StudySpec) -> Ledger:
    """The study in `folder`, which must be the one that `spec` describes."""
    path = folder / "study.db"
    stored = (
        len(optuna.load_study(study_name=spec.name, storage=open_storage(path)).get_trials(deepcopy=False))
        if path.exists() and spec.name in optuna.get_all_study_names(open_storage(path))
        else 0
    )
    if path.exists() and not stored and optuna.get_all_study_names(open_storage(path)) not in ([], [spec.name]):
        others = ", ".join(optuna.get_all_study_names(open_storage(path)))
        raise ValueError(f"{path} holds the study {others!r}, not {spec.name!r}; give this one a --name of its own")
    sampler = optuna.samplers.TPESampler(
        seed=spec.seed + stored,  # a resumed sampler must not repeat its first suggestions
        multivariate=False,
        constant_liar=True,
        n_startup_trials=10,
    )
    ledger = Ledger(open_storage(path), spec.name, direction=spec.direction, sampler=sampler)
    described = json.loads(json.dumps(spec.to_dict()))
    before = ledger.study.user_attrs.get("spec", described)
    if differing := sorted(k for k in {*described, *before} if described.get(k) != before.get(k)):
        k = differing[0]
        raise ValueError(
            f"{path} was searched with another {' and '.join(differing)} ({k}: {before.get(k)!r}, now {described.get(k)!r}); "
            "resume with the same, or give this search a --name of its own"
        )
    ledger.study.set_user_attr("spec", described)
    ledger.study.set_user_attr("question", spec.question)
    ledger.study.set_metric_names([spec.objective])
    return ledger


def command(argv: list[str]) -> int:
    args = parser().parse_args(argv)
    console = Console()
    if args.list:
        for name in studies.known():
            spec = studies.load(name)
            console.print(f"{name:14} {spec.question} ({spec.trials} trials)", soft_wrap=True, highlight=False)
        return 0
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    spec = resolve(args)
    device, workers, threads, share = devices(args)
    schedule = schedulers.load(spec.scheduler, spec.rungs, spec.factor)
    data = load(spec.data)
    tasks.load(spec.task, data)
    folder = args.runs / (args.name or spec.name)
    with owned(folder):
        ledger = open_ledger(folder, spec)
        kept = folder / "checkpoints"
        display = Display(
            console, trials=spec.trials, objective=spec.objective, maximize=spec.direction == "maximize",
            epochs=expected_epochs(spec.trials, spec.rungs, spec.factor),
        )  # fmt: skip

        def listen(event: Event) -> None:
            if event.kind in ("complete", "pruned", "failed"):
                checkpoints.remove(kept, event.trial)
            display(event)

        engine = Engine(
            ledger, schedule, sample=lambda trial: spec.sample(trial).to_dict(), trials=spec.trials,
            objective=spec.objective, admit=admission(spec, data),
            checkpoint=lambda number: checkpoints.epoch_of(kept, number), listen=listen,
        )  # fmt: skip
        display.watch(engine)
        console.print(f"data: {data.describe()}", soft_wrap=True, highlight=False)
        console.print(
            f"study: {spec.name} in {folder}/study.db, {engine.finished} of {spec.trials} trials finished; "
            f"{workers} workers on {device}, rungs at epochs {', '.join(map(str, spec.rungs))}",
            soft_wrap=True, highlight=False,
        )  # fmt: skip
        return conduct(engine, spec, folder, console, display, Settings(device, workers, threads, share))


@dataclasses.dataclass(frozen=True)
class Settings:
    """The machine's share of each trial."""

    device: str
    workers: int
    threads: int
    gpus: float


def conduct(engine: Engine, spec: StudySpec, folder: Path, console: Console, display: Display, use: Settings) -> int:
    """Search to the end, then report. The exit code: 0 done, 1 the search failed, 130 interrupted."""
    from nas import ray_backend
    from nas.trial import Problem

    problem = Problem(
        data=source_to_dict(spec.data), task=spec.task, checkpoints=str((folder / "checkpoints").absolute()),
        device=use.device, threads=use.threads,
    )  # fmt: skip
    try:
        with display:
            ray_backend.search(
                engine,
                problem,
                workers=use.workers,
                cpus_per_trial=1 if use.device == "cpu" else 0,
                gpus_per_trial=use.gpus,
            )
        if not engine.done:
            console.print(f"\nstopped at {engine.finished} of {spec.trials} trials; the same command goes on from here")
            return 130
        engine.close()
    except SearchFailed as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
