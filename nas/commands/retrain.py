"""`python -m nas.retrain --study hybrid --top-k 3 --seeds 3`: train the best again, test them, export them."""

from __future__ import annotations

import argparse
import re
import sys

from nas.commands.cli import Parser, add_limits, add_reading_options, parser
from nas.commands.finding import add_options, find_results


def numbers(text: str) -> tuple[int, ...]:
    """`300,1000` -> (300, 1000)."""
    if re.fullmatch(r"\d{1,18}(,\d{1,18})*", text) is None:
        raise argparse.ArgumentTypeError(f"expected numbers such as 300,1000, not {text!r}")
    return tuple(sorted({int(part) for part in text.split(",")}))


def options() -> Parser:
    p = parser(
        "retrain",
        "Train the best configurations of a search again on training and validation images, test them once and export "
        "them. Run the same command again to resume.",
    )
    add_options(p)
    p.add_argument(
        "--from", dest="start", metavar="MODEL",
        help="instead of a study: the folder of an exported model, whose networks are fine-tuned on --data",
    )  # fmt: skip
    which = p.add_mutually_exclusive_group()
    which.add_argument("--top-k", type=int, help="number of the best configurations to retrain (default 3)")
    which.add_argument(
        "--trial", type=int, action="append", default=[], dest="trials", metavar="N",
        help="retrain this trial instead, also one that was stopped early or given; may be given several times",
    )  # fmt: skip
    p.add_argument("--seeds", type=int, default=3, help="trainings per configuration, with fresh seeds (default 3)")
    p.add_argument(
        "--train-sizes", type=numbers, default=(), metavar="N,N,...", help="also train on these numbers of images"
    )
    p.add_argument("--epochs", type=int, help="epochs of every training; schedules follow (default: as searched)")
    p.add_argument(
        "--data", metavar="OTHER",
        help="train and test on other images, a folder or a function as in nas.run; results go to data-... in the run",
    )  # fmt: skip
    add_reading_options(p)
    p.add_argument(
        "--sparsity", type=float, help="share of the weights in mixers and MLPs to prune (default: as searched)"
    )
    p.add_argument(
        "--rewind", type=int, help="with --sparsity: the epoch to which the other weights return (default 1)"
    )
    p.add_argument(
        "--no-baselines", dest="baselines", action="store_false", help="do not compare with the study's baselines"
    )
    add_limits(p)
    return p


def command(argv: list[str]) -> int:
    args = vars(options().parse_args(argv))
    import nas  # only now: --help must not wait for torch
    from nas.errors import UserError
    from nas.report import baselines
    from nas.report.retraining_table import describe, fitting, table
    from nas.report.retraining_verdict import verdict
    from nas.terminal import Terminal
    from nas.words import count
    from trainers.plain import plain

    study, storage, start = args.pop("study"), args.pop("storage"), args["start"]
    if start is not None and (storage is not None or study != "hybrid"):
        raise UserError("--from begins with a model, not with a study; leave --study and --storage out")
    if start is None:
        args |= {"results": find_results(study, args.pop("runs"), args.pop("name"), storage)}
    retrained = nas.retrain(**args)
    console = Terminal()
    console.print(table(retrained))
    for scores in retrained.configurations:
        console.print(f"trial {scores.label}: {describe(scores)}", soft_wrap=True)
    if retrained.baselines:
        console.print(baselines.table(retrained, fitting(retrained)))
    for line in verdict(retrained):
        console.print(line, soft_wrap=False)
    console.print(f"report: {retrained.run.retraining_report}", soft_wrap=True)
    first = retrained.exported[0]
    networks, views = count(len(first.members), "network"), count(first.views, "view")
    models = f"models: {retrained.run.models}, with all seeds of the first configuration as best/ ({networks}, {views})"
    console.print(models, soft_wrap=True)
    for reason in retrained.failures:
        print(f"error: {plain(reason)}", file=sys.stderr)
    return 1 if retrained.failures else 0
