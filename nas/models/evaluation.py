"""`python -m nas.evaluate --model FOLDER --data OTHER`: the table of a retraining for other images. Needs no study."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from nas.commands.cli import Parser, run_command
from nas.files import write_text
from nas.models.export import LensModel, load_model
from trainers import metrics
from trainers.data import Dataset, Folder, Simulated, Split, joined, load
from trainers.evaluate import SYMMETRIES, metrics_of_views, predictions

SPLITS = ("all", "train", "val", "test")


@dataclass(frozen=True)
class Evaluation:
    data: str
    images: int
    metrics: dict[str, float]  # upright, and of some the mean and the worst over the eight symmetries
    interval: dict[str, tuple[float, float]]  # 95%, bootstrap over the images


def evaluate(model: LensModel, data: Dataset, split: str = "all") -> Evaluation:
    """The model on a data set that it was not trained on. ValueError where the two do not belong together."""
    check(model, data)
    task = model.task
    parts = [getattr(data, name) for name in (SPLITS[1:] if split == "all" else (split,))]
    images = task.select(_joined(parts))
    if not len(images):
        raise ValueError(f"{data.name} has no image in {split} with what the model measures")
    truth = task.targets(images).cpu()
    device = next(model.parameters()).device
    views = torch.stack(
        [
            predictions(model, images, task, normalisation=model.normalisation, device=device, symmetry=k)
            for k in SYMMETRIES
        ]
    )
    (drawn,) = metrics.bootstrap(
        lambda predicted, true: task.metrics(torch.from_numpy(predicted), torch.from_numpy(true)),
        [views[0].numpy()],
        truth.numpy(),
        strata=truth.numpy() if task.classifies else None,
    )
    interval = {name: metrics.interval(values) for name, values in drawn.items()}
    return Evaluation(data.name, len(images), metrics_of_views(views, truth, task), interval)


def check(model: LensModel, data: Dataset) -> None:
    if model.classes and set(data.classes) != set(model.classes):
        raise ValueError(
            f"{data.name} has the classes {', '.join(data.classes) or 'none'}; the model tells "
            f"{', '.join(model.classes)} apart"
        )
    if data.in_chans != model.in_chans:
        raise ValueError(f"{data.name} has {data.in_chans} channels, but the model was trained on {model.in_chans}")


def _joined(splits: Sequence[Split]) -> Split:
    whole, *more = splits
    for split in more:
        whole = joined(whole, split)
    return whole


def command(argv: list[str]) -> int:
    p = Parser(prog="python -m nas.evaluate", description="Measure an exported model on another data set.")
    p.add_argument("--model", type=Path, required=True, help="folder of a model, such as runs/hybrid/models/best")
    p.add_argument("--data", help="folder of images, in any layout that nas.run reads; or simulated lenses:")
    p.add_argument("--preset", help="population of simulated lenses, instead of --data")
    p.add_argument("--images", type=int, default=2000, help="number of simulated lenses (default 2000)")
    p.add_argument("--split", choices=SPLITS, default="all", help="which images (default all)")
    p.add_argument("--skip-bad", action="store_true", help="go on without unreadable images instead of refusing them")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = p.parse_args(argv)
    from nas.words import metric_name  # the report imports Optuna: evaluating from Python must not

    if (args.data is None) == (args.preset is None):
        raise ValueError("give either --data, a folder of images, or --preset, a population of simulated lenses")
    model = load_model(args.model, device="cuda" if torch.cuda.is_available() else "cpu")
    size = model.image_size
    if args.data is not None:
        data = load(Folder(args.data, image_size=size, skip_bad=args.skip_bad))
    else:  # other lenses than a training with the default seed saw
        data = load(Simulated(args.preset, images=args.images, image_size=size, seed=1_000_000))
    found = evaluate(model, data, args.split)
    table = Table("metric", "value", "95% interval", title=f"{args.model} on {found.images:,} images of {found.data}")
    for name, value in found.metrics.items():
        low, high = found.interval.get(name, (None, None))
        table.add_row(metric_name(name), f"{value:.4f}", "" if low is None else f"{low:.4f} to {high:.4f}")
    Console().print(table)
    if args.json:
        write_text(args.json, json.dumps({"model": str(args.model), **vars(found)}, indent=1) + "\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    return run_command(command, argv)


if __name__ == "__main__":
    sys.exit(main())
