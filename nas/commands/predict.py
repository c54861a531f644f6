"""`python -m nas.predict --model FOLDER images...`: classify or measure images with a model, without a study."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands.cli import Parser, add_model_options, model_of, parser
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.models.predicted import Measurement, Prediction


def options() -> Parser:
    p = parser("predict", "Classify or measure images with an exported model.")
    add_model_options(p)
    p.add_argument("images", type=Path, nargs="+", help="image files, stacked arrays, or folders of them")
    p.add_argument("--skip-bad", action="store_true", help="leave out and name unreadable images instead of stopping")
    p.add_argument(
        "--out", type=Path, metavar="FILE",
        help="write a CSV table instead: ID, then values and sigmas, or probabilities, as data challenges ask for",
    )  # fmt: skip
    p.add_argument(
        "--fdr", type=float, metavar="RATE",
        help="of a finder: select images so that on average at most this share of them is false (needs --calibration)",
    )  # fmt: skip
    p.add_argument("--calibration", metavar="DATA", help="with --fdr: labelled images like these, read as in training")
    p.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    from nas.files import check_writable  # only now: --help must not wait for torch
    from nas.models.answers import ids_of, write_answers
    from nas.models.inference import image_files, image_names, predict_files
    from nas.models.predicted import joined, rows
    from nas.models.selection import calibrating, selection
    from nas.words import count
    from trainers import tasks
    from trainers.plain import plain
    from trainers.regression import Regression

    if (args.fdr is None) != (args.calibration is None):
        raise UserError("--fdr and --calibration belong together: a rate, and labelled images to keep it by")
    if args.out is not None:
        check_writable(args.out, "--out")
    model = model_of(args)
    # Refused before any image is predicted.
    calibrated = None if args.fdr is None else calibrating(model, args.calibration, args.fdr)
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
    quantity = tasks.quantity(model.task)
    columns = model.task.quantities if isinstance(model.task, Regression) else (quantity,)
    if calibrated is not None:
        chosen = selection(model, joined([each for _, each in batches]), *calibrated, args.fdr)
        for row, selected in zip(predicted, chosen.selected.tolist(), strict=True):
            row["selected"] = selected
    found = summary([predictions for _, predictions in batches], len(bad or ()))
    if args.fdr is not None:
        found["selected"] = {
            "images": int(chosen.selected.sum()), "class": chosen.positive, "fdr": chosen.rate,
            "threshold": chosen.threshold if math.isfinite(chosen.threshold) else None,
            "calibration": chosen.calibration,
        }  # fmt: skip
    if args.out is not None:
        used = [ids[name] for batch, _ in batches for name in batch]
        selected = None if args.fdr is None else chosen.selected
        write_answers(args.out, used, [predicted for _, predicted in batches], model.task, selected)
        print(f"answers: {args.out} ({count(len(predicted), 'image')})", file=sys.stderr)
    if args.json:
        kind = {"classes": model.classes} if model.classes else {"quantity": quantity}
        print(json.dumps({"model": str(args.model), **kind, "predictions": predicted, "summary": found}, indent=2))
        return 0
    if args.out is None:
        print_table(predicted, model.classes, columns)
    print(plain(in_words(found)), file=sys.stdout if args.out is None else sys.stderr)
    return 0


def summary(batches: Sequence[Prediction | Measurement], left_out: int) -> dict[str, Any]:
    """The number of images, of those left out, and of each class with the mean confidence; or means of the numbers."""
    import torch

    from nas.models.predicted import Prediction, joined

    found: dict[str, Any] = {"images": 0, "left_out": left_out}
    if not batches:
        return found
    whole = joined(batches)
    if isinstance(whole, Prediction):
        p = whole.probabilities
        counts = torch.bincount(p.argmax(1), minlength=len(whole.classes)).tolist()
        classes = dict(zip(whole.classes, counts, strict=True))
        return {**found, "images": len(p), "classes": classes, "mean_confidence": float(p.max(1).values.mean())}
    found |= {"images": len(whole.values), "mean": whole.values.mean(0).tolist()}
    return found if whole.sigma is None else {**found, "mean_sigma": whole.sigma.mean(0).tolist()}


def in_words(found: Mapping[str, Any]) -> str:
    """`300 images: axion 90, cdm 100, no_sub 110; mean confidence 0.81; 2 left out`."""
    from nas.words import count, value

    parts = [count(found["images"], "image")]
    if "classes" in found:
        parts[0] += f": {', '.join(f'{name} {number:,}' for name, number in found['classes'].items())}"
        parts.append(f"mean confidence {found['mean_confidence']:.3f}")
    for key in ("mean", "mean_sigma"):
        numbers = found.get(key, [])
        each = numbers if isinstance(numbers, list) else [numbers]
        parts += [f"{key.replace('_', ' ')} {', '.join(map(value, each))}"] * bool(each)
    if "selected" in found:
        of = found["selected"]
        limit = "" if of["threshold"] is None else f" (probability from {value(of['threshold'])})"
        parts.append(
            f"{of['images']:,} selected as {of['class']}{limit} at a false discovery rate of at most {of['fdr']:g}, by "
            f"{count(of['calibration'], 'labelled image')} without it"
        )
    parts += [f"{found['left_out']:,} left out"] * bool(found["left_out"])
    return "; ".join(parts)


def print_table(predicted: Sequence[dict[str, Any]], classes: Sequence[str], quantities: Sequence[str]) -> None:
    from rich.table import Table

    from nas.terminal import Terminal
    from nas.words import value

    with_sigma = any("sigma" in row for row in predicted)
    several = len(quantities) > 1
    sigmas = [f"sigma of {quantity}" if several else "sigma" for quantity in quantities]
    measured = [*quantities, *(sigmas if with_sigma else ())]
    table = Table("file", *(["class", *classes] if classes else measured))
    for column in table.columns[2 if classes else 1 :]:
        column.justify = "right"
    if selecting := any("selected" in row for row in predicted):
        table.add_column("selected")
    for row in predicted:
        if classes:
            table.add_row(
                row["file"],
                row["class"],
                *(f"{p:.3f}" for p in row["probabilities"].values()),
                *(["yes" if row["selected"] else ""] if selecting else []),
            )
        else:
            numbers = [row[key] for key in ("value", "sigma") if key in row]
            each = [number for some in numbers for number in (some.values() if isinstance(some, dict) else [some])]
            table.add_row(row["file"], *map(value, each))
    console = Terminal()
    (console if console.is_terminal else Terminal(width=10_000)).print(table)  # do not cut file names in a pipe
