"""`python -m nas.run --study hybrid --trials 20`: search until the study holds 20 finished trials."""

from __future__ import annotations

import shlex
import shutil
import sys
import textwrap

from nas.commands.cli import Parser, add_group, add_limits, add_reading_options, names_in, parser, whole
from nas.commands.finding import add_options

TASKS, SAMPLERS, SCHEDULERS = "trainers.tasks", "nas.samplers", "nas.schedulers"


def options() -> Parser:
    p = parser("run", "Search for networks. Run the same command again to resume.")
    own = "; or the dotted name of your own module"
    p.add_argument("--list", action="store_true", help="list the studies and their questions, then stop")
    add_options(p)
    p.add_argument("--trials", type=int, help="finished trials of the whole study (default: the study's own number)")
    p.add_argument("--task", help=f"what to predict (default: the study's): {_among(TASKS)}{own}")
    p.add_argument(
        "--target", metavar="NAME,NAME", help="what task regression or regression_sigma measures: numbers of the data"
    )
    p.add_argument("--unit", help="unit of every target, or one for each with commas")
    p.add_argument("--log", action="store_true", help="measure log10 of the targets")
    p.add_argument(
        "--objective",
        help="the metric to optimise, such as auc_d4_views; auc,macs searches for the front (default: the study's)",
    )
    p.add_argument("--balance", help="how to balance classes of different size: none, weights, sampling")
    p.add_argument("--sampler", help=f"proposes configurations (default: the study's): {_among(SAMPLERS)}{own}")
    p.add_argument("--scheduler", help=f"stops trials early (default: the study's): {_among(SCHEDULERS)}{own}")
    p.add_argument(
        "--warm-start",
        metavar="RUN",
        help="start with the best of an earlier search: its folder, its name in --runs, or its study.db",
    )
    p.add_argument(
        "--data", help="a folder of images, or a function such as my_package.my_images:load (default: simulated lenses)"
    )
    add_group(p)
    add_reading_options(p)
    p.add_argument(
        "--image-size",
        type=int,
        help="resize images to this side, in pixels (default: 64 for a folder; images of a function keep their size)",
    )
    p.add_argument("--images", type=int, help="number of simulated images")
    p.add_argument("--data-seed", type=int, help="draw other simulated images, test images included (default 0)")
    p.add_argument("--epochs", type=int, help="epochs of a full training; the lowest rung scales with it")
    p.add_argument("--max-parameters", type=whole, help="skip networks with more parameters")
    p.add_argument("--max-macs", type=whole, help="skip networks with more multiply-accumulates per image")
    p.add_argument(
        "--max-seconds", type=float, help="end a trial whose full training would take longer on these workers"
    )
    p.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="NAME=VALUE",
        help="another bound or budget, such as space.width=32..192:32, space.mixers=conv,window, "
        "training.learning_rate=1e-4..1e-2:log or min_epochs=6; may be given several times",
    )  # fmt: skip
    p.add_argument(
        "--checkpoint", action="append", metavar="NAME=FILE",
        help="start this existing network from weights in a file, in the study pretrained; may be given several times",
    )  # fmt: skip
    p.add_argument("--seed", type=int, help="seed of networks, training and sampler")
    p.add_argument("--seeds", type=int, help="trainings per cell of a grid; the number of trials scales with it")
    p.add_argument(
        "--finals", type=float, metavar="SHARE",
        help="cost of training the best again with fresh seeds, as a share of the search's (default 0.2; 0: none)",
    )  # fmt: skip
    p.add_argument(
        "--folds", type=int, metavar="N",
        help="validate the trainings of the finals on N folds in turn, for few validation images (default 0: none)",
    )  # fmt: skip
    p.add_argument("--logger", help=f"who else hears of every epoch: {_among('nas.loggers')}{own}")
    add_limits(p)
    return p


def _among(package: str) -> str:
    return ", ".join(names_in(package))


def command(argv: list[str]) -> int:
    args = vars(options().parse_args(argv))
    if args.pop("list"):
        return list_studies()
    import nas  # only now: --help must not wait for torch
    from nas.report.page import retrain_command
    from nas.report.remarks import remarks
    from nas.report.table import tables
    from nas.report.verdict import verdict
    from nas.run_folder import RunFolder
    from nas.searching.settings import parse_all
    from nas.terminal import Terminal

    args["settings"] = parse_all(args["settings"])
    results = nas.search(**args)
    console = Terminal(soft_wrap=True)
    for table in tables(results):
        console.print(table)
    for line in (*verdict(results), *remarks(results)):
        console.print(line, soft_wrap=False)
    assert results.database is not None
    run = RunFolder(results.database.parent)
    options_of_run = shlex.join(run.options(results.name))
    console.print(f"report    {run.report}\ndashboard python -m nas.dashboard {options_of_run}")
    if results.best is not None:
        console.print(f"next      {retrain_command(results, run.report)}")
    return 0


def list_studies() -> int:
    import studies

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None  # a pipe gets one line for each
    for name in studies.known():
        spec = studies.load(name)
        line = f"{name:14} {spec.trials:3} trials  {spec.question}"
        print(textwrap.fill(line, width, subsequent_indent=" " * 27) if width else line)
    return 0
