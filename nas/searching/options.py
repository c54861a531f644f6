"""The command line of a search: from its words to a checked study and the machine's share of each trial."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import studies
from nas import samplers, schedulers
from nas.commands.cli import Parser
from studies import StudySpec
from trainers import metrics, tasks
from trainers.config import BALANCES
from trainers.data import Folder, Simulated


def parser() -> Parser:
    p = Parser(prog="python -m nas.run", description="Search; the same command resumes a search.")
    p.add_argument("--list", action="store_true", help="show the studies and what each asks, then stop")
    p.add_argument("--study", default="hybrid", help="a study's name, or the path of a .py file with a STUDY")
    p.add_argument("--trials", type=int, help="finished trials the study shall hold (default: the study's own number)")
    p.add_argument("--task", choices=tasks.known(), help="what is predicted (default: the study's)")
    p.add_argument("--objective", help="the metric searched for, such as auc_d4_mean (default: the task's)")
    p.add_argument("--balance", choices=BALANCES, help="how classes of different size are made to count alike")
    p.add_argument("--sampler", choices=samplers.known(), help="who proposes configurations (default: the study's)")
    p.add_argument("--scheduler", choices=schedulers.known(), help="who stops trials early (default: the study's)")
    p.add_argument("--warm-start", metavar="RUN", help="begin with the best of a former search: its folder or study.db")
    p.add_argument("--data", help="folder of class folders of images; without it, lenses are simulated")
    p.add_argument("--skip-bad", action="store_true", help="go on without unreadable images instead of refusing them")
    p.add_argument("--image-size", type=int, help="side in pixels to which images are brought (default 64)")
    p.add_argument("--images", type=int, help="number of simulated images")
    p.add_argument("--epochs", type=int, help="full budget; the lowest rung scales with it")
    p.add_argument("--max-parameters", type=int, help="larger networks are skipped")
    p.add_argument("--max-macs", type=int, help="networks that cost more multiply-accumulates an image are skipped")
    p.add_argument("--seed", type=int, help="of networks, training and sampler")
    p.add_argument("--seeds", type=int, help="trainings of every cell of a grid; its number of trials scales with it")
    p.add_argument("--workers", type=int, help="trials trained at once (default: one per CPU, or what the GPUs hold)")
    p.add_argument(
        "--gpus-per-trial", type=float, help="share of a GPU for each trial (default 1 where there are GPUs)"
    )
    p.add_argument("--runs", type=Path, default=Path("runs"), help="where results go (default runs/)")
    p.add_argument("--name", help="folder below --runs (default: the study's name)")
    return p


def resolve(args: argparse.Namespace) -> StudySpec:
    """The study as the command line asks for it. ValueError for anything that cannot be."""
    for name in ("trials", "max_parameters", "max_macs", "epochs", "images", "image_size", "workers", "seeds"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}; expected at least 1")
    if args.seed is not None and args.seed < 0:
        raise ValueError(f"--seed is {args.seed}; expected 0 or more")

    def given(*names: str) -> dict[str, Any]:
        return {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    spec = studies.load(args.study)
    changes = given("trials", "max_parameters", "max_macs", "seed", "task", "sampler", "scheduler")
    if args.task is not None or args.objective is not None:
        objective = args.objective or tasks.of_name(args.task).objective
        changes |= {"objective": objective, "direction": metrics.direction(objective)}
    if args.task not in (None, spec.task):
        changes["question"] = f"{spec.question} (task {args.task})"
    if args.balance is not None:
        changes["training"] = replace(spec.training, balance=(args.balance,))
    if args.epochs is not None:
        scaled = max(round(args.epochs * spec.min_epochs / spec.epochs), 1)
        changes |= {"epochs": args.epochs, "min_epochs": scaled}
    if args.seeds is not None:
        if spec.seeds == 1:
            raise ValueError(f"--seeds is for grids that train every cell several times; {spec.name} has one seed")
        changes = {"trials": spec.trials // spec.seeds * args.seeds, **changes, "seeds": args.seeds}
    if args.data is not None:
        if args.images is not None:
            raise ValueError("--images counts simulated images; with --data, all images of the folder are used")
        changes["data"] = Folder(args.data, image_size=args.image_size or 64, skip_bad=args.skip_bad)
    elif isinstance(spec.data, Simulated):
        changes["data"] = replace(spec.data, **given("images", "image_size"))
    elif args.image_size is not None:
        changes["data"] = replace(spec.data, image_size=args.image_size)
    return replace(spec, **changes)


@dataclass(frozen=True)
class Share:
    """What each trial gets of the machine."""

    device: str
    workers: int  # trials at once
    threads: int  # of torch, for each trial
    gpus: float


def share(args: argparse.Namespace) -> Share:
    """Divide this machine, or the Ray cluster that RAY_ADDRESS names, among the workers."""
    import torch

    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = torch.cuda.device_count()
    each = args.gpus_per_trial if args.gpus_per_trial is not None else float(gpus > 0)
    if not 0 <= each <= gpus and not os.environ.get("RAY_ADDRESS"):
        raise ValueError(f"--gpus-per-trial is {each:g}; expected 0 to {gpus}, the GPUs of this machine")
    workers = args.workers or (max(int(gpus / each), 1) if each else cpus)
    return Share("cuda" if each else "cpu", workers, max(cpus // workers, 1), each)
