"""`python -m nas.retrain --study hybrid --top-k 3 --seeds 3`: train the best found again, test them, export them."""

from __future__ import annotations

import sys

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_results


def numbers(text: str) -> tuple[int, ...]:
    """`300,1000` -> (300, 1000)."""
    return tuple(sorted({int(part) for part in text.split(",")}))


def options() -> Parser:
    p = parser("retrain", "Retrain the best of a search on training and validation images, test once, export. Resumes.")
    add_options(p)
    p.add_argument("--top-k", type=int, default=3, help="how many of the best configurations (default 3)")
    p.add_argument("--seeds", type=int, default=3, help="trainings of each, with fresh seeds (default 3)")
    p.add_argument("--train-sizes", type=numbers, default=(), metavar="N,N,...", help="train on so few images too")
    p.add_argument(
        "--sparsity", type=float, help="share of the weights in mixers and MLPs to prune (default: as searched)"
    )
    p.add_argument("--rewind", type=int, help="with --sparsity: epoch to whose weights the others go back (default 1)")
    p.add_argument("--workers", type=int, help="trainings at once (default: one per CPU, or what the GPUs hold)")
    p.add_argument("--gpus-per-trial", type=float, help="share of a GPU for each (default 1 where there are GPUs)")
    return p


def command(argv: list[str]) -> int:
    args = vars(options().parse_args(argv))
    from rich.console import Console  # only now: --help must not wait for torch

    import nas
    from nas.report.retraining_page import describe, table

    results = find_results(args.pop("study"), args.pop("runs"), args.pop("name"))
    retrained = nas.retrain(results, **args)
    console = Console()
    console.print(table(retrained))
    for scores in retrained.configurations:
        console.print(f"trial {scores.trial}: {describe(scores)}", soft_wrap=True, highlight=False)
    console.print(f"report: {retrained.run.retraining_report}", soft_wrap=True, highlight=False)
    models = f"models: {retrained.run.models}, the first by validation as best/"
    console.print(models, soft_wrap=True, highlight=False)
    for reason in retrained.failures:
        print(f"error: {reason}", file=sys.stderr)
    return 1 if retrained.failures else 0
