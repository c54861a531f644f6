"""What single changes do to a network that the hybrid study begins with.

    python benchmarks/one_change.py --seeds 3
    python benchmarks/one_change.py normalisation=log batch_size=16 stages.0.depth=2

Each change replaces values among the given parameters; everything else stays. The networks are trained on the study's
default images, or those of `--data`, and their AUC is measured after the last epoch: upright, in the worst of the eight
symmetries, and over eight views.
"""

from __future__ import annotations

import argparse
import ast
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import studies
from nas.searching.drafts import draft, origin
from nas.searching.options import adapt
from nas.workers.training import Problem, set_up
from search_space.bounds import whole
from studies import Configuration, StudySpec
from trainers.data import Simulated, Split, load, source_to_dict
from trainers.evaluate import predictions
from trainers.fit import fit

CHANGES = (
    "", "normalisation=asinh", "normalisation=log", "normalisation=minmax", "batch_size=16", "learning_rate=1e-3",
    "learning_rate=5e-3", "ema=1.0", "augmentation=rotation-180+flip",
)  # fmt: skip

OUTSIDE = ("normalisation", "learning_rate", "ema")  # may take values outside the study's bounds


def configuration(spec: StudySpec, given: int, change: str) -> Configuration:
    """The given trial with `name=value, ...` changed, even to values outside the study's bounds."""
    pairs = dict(part.strip().split("=", 1) for part in change.split(",") if part.strip())
    parameters = {**spec.first[given], **{name: literal(value) for name, value in pairs.items()}}
    parameters = {name: value for name, value in parameters.items() if name in pairs or whole(name) not in pairs}
    batch_size = parameters.pop("batch_size")
    found: list[Configuration] = []
    drawn = draft(
        lambda trial: found.append(spec.sample(trial)), np.random.default_rng(0), {**parameters, "batch_size": 32}
    )
    made = found[-1]
    if lost := set(pairs) - {*(origin(name, pairs) for name in drawn.params), *OUTSIDE, "batch_size"}:
        raise SystemExit(
            f"{', '.join(sorted(lost))}: not a parameter of this network; its parameters: {', '.join(drawn.params)}"
        )
    for name in OUTSIDE:
        if name in pairs:
            made = replace(made, training=replace(made.training, **{name: parameters[name]}))
    return replace(made, training=replace(made.training, batch_size=batch_size))


def literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def moved(split: Split, farthest: int, seed: int) -> Split:
    """Every image moved by up to `farthest` whole pixels along each axis; what moves in repeats the edge."""
    side, rng = split.images.shape[-1], np.random.default_rng(seed)
    padded = F.pad(split.images[torch.arange(len(split))].float(), (farthest,) * 4, mode="replicate")
    corners = rng.integers(0, 2 * farthest + 1, (len(padded), 2))
    images = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(padded, corners, strict=True)]
    return replace(split, images=torch.stack(images))


def train(config: Configuration, spec: StudySpec, farthest: int = 0) -> dict[str, float]:
    """The AUC on validation and test images, upright and over eight views, and the processor time of the training."""
    training = set_up(config.to_dict(), Problem(source_to_dict(spec.data), spec.task))
    data, task, model = training.data, training.task, training.model
    if farthest:
        off = [moved(split, farthest, i) for i, split in enumerate((data.train, data.val, data.test))]
        data = replace(data, train=off[0], val=off[1], test=off[2])
    begin = time.process_time()
    for _ in fit(model, data.train, task, config.training, seed=config.seed):
        pass
    found = {"seconds": time.process_time() - begin}
    for name, split in (("validation", data.val), ("test", data.test)):
        truth = task.targets(split)
        views = [
            predictions(model, split, task, normalisation=config.training.normalisation, symmetry=k) for k in range(8)
        ]
        each = [task.metrics_in_full(view, truth)["auc"] for view in views]
        found[name], found[f"{name}, worst"] = each[0], min(each)
        found[f"{name}, eight views"] = task.metrics_in_full(torch.stack(views).mean(0), truth)["auc"]
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("changes", nargs="*", default=CHANGES, help="name=value, or several of them with commas")
    p.add_argument("--study", default="hybrid")
    p.add_argument("--given", type=int, default=0, help="which of the study's given trials")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--epochs", type=int)
    p.add_argument("--data", help="a folder of images (default: the study's, simulated)")
    p.add_argument("--preset", help="another population of simulated images")
    p.add_argument("--images", type=int, help="number of simulated images")
    p.add_argument("--image-size", type=int)
    p.add_argument("--off-centre", type=int, default=0, help="move each image by up to so many pixels along each axis")
    p.add_argument("--workers", type=int, default=2)
    args = p.parse_args()
    data = args.data or (Simulated(args.preset) if args.preset else None)
    spec = adapt(studies.load(args.study), data=data, images=args.images, image_size=args.image_size)
    epochs = args.epochs or spec.epochs
    spec = replace(spec, epochs=epochs, min_epochs=min(spec.min_epochs, epochs))
    load(spec.data)  # made once, before the workers open it
    configs = [
        replace(configuration(spec, args.given, change), seed=seed)
        for change in args.changes
        for seed in range(args.seeds)
    ]
    names = ("validation", "test", "test, worst", "test, eight views")
    print("| change |", " | ".join(names), "| processor time |")
    print("|---|" + "---|" * (len(names) + 1))
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        results = pool.map(partial(train, spec=spec, farthest=args.off_centre), configs)
        for change in args.changes:
            found = [next(results) for _ in range(args.seeds)]
            print(f"| {change or 'none'} | {' | '.join(spread(found, name) for name in names)} |", end="")
            print(f" {fmean(f['seconds'] for f in found):.0f} s |", flush=True)


def spread(found: list[Mapping[str, float]] | list[dict[str, float]], name: str) -> str:
    values = [each[name] for each in found]
    return f"{fmean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    main()
