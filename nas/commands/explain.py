"""`python -m nas.explain --model FOLDER`: show where in the images a model looks, and measure it."""

from __future__ import annotations

from pathlib import Path

from nas.commands.cli import Parser, add_group, add_model_options, model_of, parser
from nas.errors import UserError


def options() -> Parser:
    p = parser(
        "explain",
        "Attribute a model's answers to the pixels of images, and write a page. For simulated lenses it says how much "
        "of the attribution is where the substructure is.",
    )
    add_model_options(p)
    p.add_argument("--data", help="folder of images, in any layout that nas.run reads (default: as in training)")
    p.add_argument("--preset", help="population of simulated lenses to use instead of --data")
    p.add_argument("--images", type=int, default=60, help="number of images, drawn at random (default 60)")
    p.add_argument("--of", metavar="NAME", help="class or quantity to explain (default: each image's own class)")
    p.add_argument("--classes", metavar="NAME,NAME", help="names of classes 0, 1, ... (default: as in training)")
    p.add_argument(
        "--split", choices=("all", "train", "val", "test"), default="all", help="images of a folder (default all)"
    )
    add_group(p)
    p.add_argument("--out", type=Path, default=Path("explain.html"), help="page to write (default explain.html)")
    p.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers to this file")
    return p


def command(argv: list[str]) -> int:
    args = options().parse_args(argv)
    if args.data is not None and args.preset is not None:
        raise UserError("give --data, a folder of images, or --preset, a population of simulated lenses, not both")
    from nas.files import check_writable, write_json, write_text  # only now: --help must not wait for torch
    from nas.models.explanation import OTHER_SEED, explain, record
    from nas.report.explanation_page import page, table, verdict
    from nas.terminal import Terminal
    from trainers.data import Simulated

    for option, path in (("--out", args.out), ("--json", args.json)):
        if path is not None:
            check_writable(path, option)
    model = model_of(args)
    reading = {name: getattr(args, name) for name in ("hdu", "key", "classes", "group", "skip_bad")}
    data = Simulated(args.preset, seed=OTHER_SEED) if args.preset is not None else args.data
    found = explain(model, data, images=args.images, of=args.of, split=args.split, **reading)
    console = Terminal()
    if found.regions:
        console.print(table(found))
    for sentence in verdict(found):
        console.print(sentence)
    write_text(args.out, page(found, str(args.model)))
    console.print(f"page: {args.out}", soft_wrap=True)
    if args.json is not None:
        write_json(args.json, {"model": str(args.model), **record(found)})
    return 0
