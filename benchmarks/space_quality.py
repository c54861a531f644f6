"""What a study's space is worth: random configurations of it, each trained in full.

    python benchmarks/space_quality.py --study hybrid    # deeplense-1, 1,120 images of 32 px, 8 epochs
    python benchmarks/space_quality.py --study hybrid --preset fair --images 4000 --image-size 64 --epochs 12
    python benchmarks/space_quality.py --good-training --seeds 2
    python benchmarks/space_quality.py --workers 6 --device cuda
    python benchmarks/space_quality.py --change stem=patch   # what this does to each random network

A space is worth searching if few of its configurations stay at chance and architectures differ by more than the noise.
Configurations above the study's limits are not drawn. The value is the mean AUC of validation and test images, so that
neither a search nor early stopping is involved. The study's given trials stand beside them. `--good-training` trains
all architectures with one good training (batch norm, learning rate 2e-3, batches of 32, z-score, d4): their spread is
then that of the architectures, to be compared with the spread of `--seeds`. `--change` trains each random network once
more with a part of its architecture changed, and prints the mean of the paired differences. Another line is Spearman's
correlation of the validation AUC at each rung with the value at the end.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

import studies
from nas import schedulers
from nas.searching.drafts import draft
from nas.searching.study import admission
from nas.workers.training import Problem, set_up
from search_space import Hybrid
from studies import Configuration, StudySpec
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Simulated, load, source_to_dict
from trainers.evaluate import evaluate
from trainers.fit import fit

CHANCE = 0.6


def configurations(spec: StudySpec, good_training: bool, given: bool = False) -> Iterator[Configuration]:
    """Random configurations within the limits, always the same ones; or the given ones within the limits."""
    data = load(spec.data, progress=False)
    admit, rng = admission(spec, data), np.random.default_rng(2026)
    good = TrainConfig(
        epochs=spec.epochs, batch_size=32, learning_rate=2e-3, weight_decay=0.02, normalisation="zscore",
        augmentation=replace(NO_AUGMENTATION, d4=True),
    )  # fmt: skip
    found: list[Configuration] = []
    parameters = iter(spec.first) if given else None
    while True:
        parent = {} if parameters is None else next(parameters, None)
        if parent is None:
            return
        draft(lambda trial: found.append(spec.sample(trial, data.image_size)), rng, parent)
        config = found[-1]
        if good_training and isinstance(config.architecture, Hybrid):
            config = replace(config, training=good, architecture=replace(config.architecture, norm_layer="batch"))
        if all(excess <= 0 for excess in admit(config.to_dict()).excess.values()):
            yield config


def train(config: Configuration, problem: Problem, epochs: int) -> dict[str, Any]:
    """The validation AUC after each epoch, and the mean of it and the test AUC at the end; 0.5 if it diverged."""
    training = set_up(config.to_dict(), problem)
    data, task, model, device = training.data, training.task, training.model, training.device
    curve: list[float] = []
    try:
        for epoch in fit(model, data.train, task, config.training, seed=config.seed, val=data.val, device=device):
            curve.append(epoch.metrics["auc"])
        test = evaluate(model, data.test, task, normalisation=config.training.normalisation, device=device)["auc"]
    except FloatingPointError:
        return {"auc": 0.5, "curve": curve + [0.5] * (epochs - len(curve)), "config": config.to_dict()}
    return {"auc": (curve[-1] + test) / 2, "curve": curve, "config": config.to_dict()}


def describe(lines: list[dict[str, Any]], given: list[dict[str, Any]], seeds: int, spec: StudySpec) -> str:
    """The quartiles; with several seeds, the spread of architectures beside that of seeds."""
    aucs = np.array([line["auc"] for line in lines]).reshape(-1, seeds)
    means = aucs.mean(1)
    low, median, high = np.quantile(means, [0.25, 0.5, 0.75])
    parts = [
        f"{spec.name}: {len(means)} random configurations, AUC quartiles {low:.3f} / {median:.3f} / {high:.3f}, "
        f"best {means.max():.3f}, at chance (below {CHANCE}) {np.mean(means < CHANCE):.0%}"
    ]
    if given:
        of_given = np.array([line["auc"] for line in given]).reshape(-1, seeds).mean(1)
        parts.append("given: " + ", ".join(f"{auc:.3f}" for auc in of_given))
    if seeds > 1:
        of_seeds = aucs.var(1, ddof=1).mean()
        between = max(means.var(ddof=1) - of_seeds / seeds, 0.0)
        parts.append(
            f"standard deviation between configurations {between**0.5:.4f}, between seeds {of_seeds**0.5:.4f}, "
            f"ratio {(between / of_seeds) ** 0.5:.1f}"
        )
    curves = np.array([line["curve"] for line in lines])
    ends = np.array([line["auc"] for line in lines])
    rungs = schedulers.of_study(spec).rungs
    ranks = (f"{rung}: {spearmanr(curves[:, rung - 1], ends).statistic:.2f}" for rung in rungs)
    return "\n".join([*parts, f"rank correlation of rungs with the end {', '.join(ranks)}"])


def differences(lines: list[dict[str, Any]], changed: list[dict[str, Any]]) -> str:
    by = np.array([after["auc"] - before["auc"] for before, after in zip(lines, changed, strict=True)])
    error = by.std(ddof=1) / len(by) ** 0.5
    pairs = f"standard error of {len(by)} pairs"
    return f"changed: AUC {by.mean():+.3f} ± {error:.3f} ({pairs}), better in {np.mean(by > 0):.0%}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--study", default="hybrid")
    p.add_argument("--configurations", type=int, default=40)
    p.add_argument("--good-training", action="store_true")
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--change", metavar="NAME=VALUE", help="of the architecture, such as stem=patch")
    p.add_argument("--preset", default="deeplense-1")
    p.add_argument("--images", type=int, default=1600, help="in all; 70%% are trained on")
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--device", default="cpu", help='or "cuda", which all workers share')
    p.add_argument("--out", type=Path, help="JSON lines, one for each training")
    args = p.parse_args()
    spec = studies.load(args.study)
    data = Simulated(args.preset, images=args.images, image_size=args.image_size)
    load(data)  # made once, before the workers open it
    spec = replace(spec, data=data, epochs=args.epochs, min_epochs=max(round(args.epochs / 3), 2))
    given = list(configurations(spec, args.good_training, given=True)) if spec.first else []
    random = list(islice(configurations(spec, args.good_training), args.configurations))
    chosen = [replace(config, seed=seed) for config in [*given, *random] for seed in range(args.seeds)]
    ends = len(chosen)
    if args.change:
        name, _, value = args.change.partition("=")
        own = chosen[len(given) * args.seeds :]
        chosen += [replace(config, architecture=replace(config.architecture, **{name: value})) for config in own]
    share = 1 / args.workers if args.device == "cuda" else 0.0
    problem = Problem(source_to_dict(spec.data), spec.task, device=args.device, gpus=share)
    lines: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for line in pool.map(partial(train, problem=problem, epochs=spec.epochs), chosen):
            lines.append(line)
            if args.out:
                args.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    split = len(given) * args.seeds
    print(describe(lines[split:ends], lines[:split], args.seeds, spec))
    if args.change:
        print(differences(lines[split:ends], lines[ends:]))


if __name__ == "__main__":
    main()
