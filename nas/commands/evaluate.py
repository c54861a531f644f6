"""`python -m nas.evaluate --model FOLDER --data OTHER`: measure an exported model on other images, without a study."""

from __future__ import annotations

import sys
from pathlib import Path

from nas.checks import check_number
from nas.commands.cli import Parser, add_group, add_model_options, model_of, parser
from nas.errors import UserError

SIMULATED = 2000  # images
OTHER_SEED = 1_000_000  # for lenses that no training with the default seed saw


def options() -> Parser:
    p = parser("evaluate", "Measure an exported model on another data set.")
    add_model_options(p)
    p.add_argument("--data", help="folder of images, in any layout that nas.run reads")
    p.add_argument("--preset", help="population of simulated lenses to use instead of --data")
    p.add_argument("--images", type=int, help=f"number of simulated lenses (default {SIMULATED})")
    p.add_argument("--data-seed", type=int, help=f"seed of the simulated lenses (default {OTHER_SEED})")
    p.add_argument("--classes", metavar="NAME,NAME", help="names of classes 0, 1, ... (default: as in training)")
    p.add_argument(
        "--map", dest="mapping", metavar="NAME=CLASS,...",
        help="which class of the model each class of the data is, such as 0=no_sub,1=cdm; several may be one",
    )  # fmt: skip
    p.add_argument(
        "--split", choices=("all", "train", "val", "test"), default="all", help="images to use (default all)"
    )
    add_group(p)
    p.add_argument(
        "--with-training-images",
        action="store_true",
        help="keep the images that the model was trained on (default: not)",
    )
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the metrics to this file")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    if (args.data is None) == (args.preset is None):
        raise UserError("give either --data, a folder of images, or --preset, a population of simulated lenses")
    from rich.table import Table  # only now: --help must not wait for torch

    from nas.files import check_writable, write_json
    from nas.models.evaluation import evaluate, source_for
    from nas.terminal import Terminal
    from nas.words import between, count, metric_name, value
    from trainers.data import Simulated, load

    if args.json is not None:
        check_writable(args.json, "--json")
    for name, given, lowest in (("images", args.images, 1), ("data_seed", args.data_seed, 0)):
        check_number(name, given, lowest, whole=True)
    model = model_of(args)
    images = args.data if args.data is not None else Simulated(args.preset, images=SIMULATED, seed=OTHER_SEED)
    source = source_for(
        model,
        images,
        args.images,
        args.data_seed,
        skip_bad=args.skip_bad,
        group=args.group,
        hdu=args.hdu,
        key=args.key,
        classes=args.classes,
    )
    data = load(source, partial=True)
    evaluation = evaluate(model, data, args.split, mapping=args.mapping, with_training_images=args.with_training_images)
    how = f"{count(len(model.networks), 'network')}, {count(evaluation.views, 'view')}"
    title = f"{args.model} ({how}) on {evaluation.images:,} images of {evaluation.data}"
    table = Table("metric", "value", "95% interval", title=title)
    for name, number in evaluation.metrics.items():
        ends = evaluation.interval.get(name)
        table.add_row(metric_name(name), value(number), between(*ends) if ends else "")
    Terminal().print(table)
    if evaluation.trained_on:
        kept = "they count here" if args.with_training_images else "left out (--with-training-images keeps them)"
        print(f"The model was trained on {evaluation.trained_on:,} of these images: {kept}", file=sys.stderr)
    if args.json is not None:
        write_json(args.json, {"model": str(args.model), **vars(evaluation)})
    return 0
