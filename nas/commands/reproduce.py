"""`python -m nas.reproduce --study hybrid --trial 7`: train a trial again and compare it with its record."""

from __future__ import annotations

import math

from nas.commands.cli import Parser, parser
from nas.commands.finding import add_options, find_run


def options() -> Parser:
    p = parser(
        "reproduce",
        "Train one trial again as it was trained, and compare every epoch with the study's record. The same machine "
        "and versions give the same numbers on a CPU; elsewhere they differ by rounding, which training amplifies.",
    )
    add_options(p)
    p.add_argument("--trial", type=int, metavar="N", help="the trial (default: the study's best)")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from nas.errors import UserError  # only now: --help must not wait for torch
    from nas.paper.again import again, changed_versions
    from nas.words import count, objective_name

    results, run = find_run(args)
    number = args.trial
    if number is None:
        if results.best is None:
            raise UserError("no trial has been trained in full; name one with --trial")
        number = results.best.number
    epochs = again(results, number)
    for line in changed_versions(run):
        print(f"versions: {line}")
    print(f"trial {number}, {objective_name(results.objective)}")
    print(f"{'epoch':>6}{'recorded':>12}{'again':>12}{'difference':>12}")
    largest, no_number = 0.0, 0
    for epoch in epochs:
        recorded = "" if epoch.recorded is None else f"{epoch.recorded:.6f}"
        print(f"{epoch.number:6}{recorded:>12}{epoch.again:12.6f}{epoch.difference:+12.6f}", flush=True)
        if math.isnan(epoch.difference):
            no_number += 1
        else:
            largest = max(largest, abs(epoch.difference))
    if no_number:
        print(f"no number in {count(no_number, 'epoch')}, where the record has one; otherwise", end=" ")
    print("the same in every digit" if largest == 0 else f"differs by at most {largest:.2g}")
    return 0 if largest == 0 and not no_number else 1
