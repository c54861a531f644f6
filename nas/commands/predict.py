"""`python -m nas.predict --model FOLDER images...`: classify or measure images with a model, without a study."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.commands.cli import Parser, add_model_options, parser
from nas.errors import UserError


def options() -> Parser:
    p = parser("predict", "Classify or measure images with an exported model.")
    add_model_options(p)
    p.add_argument("images", type=Path, nargs="+", help="image files, stacked arrays, or folders of them")
    p.add_argument("--skip-bad", action="store_true", help="leave out and name unreadable images instead of stopping")
    p.add_argument(
        "--out", type=Path, metavar="FILE",
        help="write a CSV table instead: ID, then values and sigmas, or probabilities, as data challenges ask for",
    )  # fmt: skip
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    import torch  # only now: --help must not wait for it

    from nas.files import check_writable
    from nas.models.answers import ids_of, write_answers
    from nas.models.export import load_model
    from nas.models.inference import image_files, image_names, predict_files, rows
    from nas.words import count
    from trainers import tasks
    from trainers.plain import plain
    from trainers.regression import Regression

    if args.out is not None:
        check_writable(args.out, "--out")
    model = load_model(args.model, views=args.views, device="cuda" if torch.cuda.is_available() else "cpu")
    files = image_files(args.images)
    ids: dict[str, str] = {}
    if args.out is not None:  # two images of one ID are refused before they are predicted
        named = image_names(model, files, hdu=args.hdu, key=args.key)
        ids = ids_of(named, bands=len(files) > len(named))
    bad: list[str] | None = [] if args.skip_bad else None
    batches = list(predict_files(model, files, bad=bad, hdu=args.hdu, key=args.key))
    predicted = [
        {"file": name, **row}
        for batch, predictions in batches
        for name, row in zip(batch, rows(predictions), strict=True)
    ]
    for fault in bad or ():
        print(plain(f"left out: {fault}"), file=sys.stderr)
    if bad and not predicted:
        raise UserError(f"none of the {len(bad)} images can be used")
    if args.out is not None:
        used = [ids[name] for batch, _ in batches for name in batch]
        write_answers(args.out, used, [predicted for _, predicted in batches], model.task)
        print(f"answers: {args.out} ({count(len(predicted), 'image')})", file=sys.stderr)
    quantity = tasks.quantity(model.task)
    columns = model.task.quantities if isinstance(model.task, Regression) else (quantity,)
    if args.json:
        kind = {"classes": model.classes} if model.classes else {"quantity": quantity}
        print(json.dumps({"model": str(args.model), **kind, "predictions": predicted}, indent=2))
    elif args.out is None:
        print_table(predicted, model.classes, columns)
    return 0


def print_table(predicted: Sequence[dict[str, Any]], classes: Sequence[str], quantities: Sequence[str]) -> None:
    from rich.table import Table

    from nas.terminal import Terminal

    with_sigma = any("sigma" in row for row in predicted)
    several = len(quantities) > 1
    sigmas = [f"sigma of {quantity}" if several else "sigma" for quantity in quantities]
    measured = [*quantities, *(sigmas if with_sigma else ())]
    table = Table("file", *(["class", *classes] if classes else measured))
    for column in table.columns[2 if classes else 1 :]:
        column.justify = "right"
    for row in predicted:
        if classes:
            table.add_row(row["file"], row["class"], *(f"{p:.3f}" for p in row["probabilities"].values()))
        else:
            numbers = [row[key] for key in ("value", "sigma") if key in row]
            each = [number for some in numbers for number in (some.values() if isinstance(some, dict) else [some])]
            table.add_row(row["file"], *(f"{number:.4f}" for number in each))
    console = Terminal()
    (console if console.is_terminal else Terminal(width=10_000)).print(table)  # do not cut file names in a pipe
