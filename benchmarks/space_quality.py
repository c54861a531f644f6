"""What a study's space is worth: random configurations of it, each trained in full.

    python benchmarks/space_quality.py --study hybrid    # deeplense-1, 1,120 images of 32 px, 8 epochs
    python benchmarks/space_quality.py --study hybrid --preset fair --images 4000 --image-size 64 --epochs 12

A space is worth searching if few of its configurations stay at chance and architectures differ by more than the noise.
Configurations above the study's limits are not drawn. The value is the mean AUC of validation and test images, so that
neither a search nor early stopping is involved. `--good-training` trains all architectures with one good training
(batch norm, learning rate 2e-3, batches of 32, z-score, d4): their spread is then that of the architectures.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

import studies
from nas.searching.drafts import draft
from nas.searching.study import admission
from search_space import Hybrid, build_model
from studies import Configuration, StudySpec
from trainers import tasks
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Simulated, load
from trainers.evaluate import evaluate
from trainers.fit import fit

CHANCE = 0.6


def configurations(spec: StudySpec, good_training: bool) -> Iterator[Configuration]:
    """Random configurations within the limits, always the same ones."""
    data = load(spec.data, progress=False)
    admit, rng = admission(spec, data), np.random.default_rng(2026)
    good = TrainConfig(
        epochs=spec.epochs, batch_size=32, learning_rate=2e-3, weight_decay=0.02, normalisation="zscore",
        augmentation=replace(NO_AUGMENTATION, d4=True),
    )  # fmt: skip
    found: list[Configuration] = []
    while True:
        draft(lambda trial: found.append(spec.sample(trial, data.image_size)), rng)
        config = found[-1]
        if good_training:
            assert isinstance(config.architecture, Hybrid)
            config = replace(config, training=good, architecture=replace(config.architecture, norm_layer="batch"))
        if all(excess <= 0 for excess in admit(config.to_dict()).excess.values()):
            yield config


def value(config: Configuration, spec: StudySpec) -> float:
    """Mean AUC of validation and test images after the last epoch; 0.5 if the training diverged."""
    torch.set_num_threads(1)
    data = load(spec.data, progress=False)
    task = tasks.create(spec.task, data)
    torch.manual_seed(config.seed)
    model = build_model(
        config.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    try:
        for epoch in fit(model, data.train, task, config.training, seed=config.seed, val=data.val):
            last = epoch.metrics["auc"]
        test = evaluate(model, data.test, task, normalisation=config.training.normalisation)["auc"]
    except FloatingPointError:
        return 0.5
    return (last + test) / 2


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--study", default="hybrid")
    p.add_argument("--configurations", type=int, default=40)
    p.add_argument("--good-training", action="store_true")
    p.add_argument("--preset", default="deeplense-1")
    p.add_argument("--images", type=int, default=1600, help="in all; 70%% are trained on")
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--out", type=Path, help="JSON lines, one for each configuration")
    args = p.parse_args()
    spec = studies.load(args.study)
    data = Simulated(args.preset, images=args.images, image_size=args.image_size)
    load(data)  # made once, before the workers open it
    spec = replace(spec, data=data, epochs=args.epochs, min_epochs=max(round(args.epochs / 3), 2))
    drawn = configurations(spec, args.good_training)
    chosen = [next(drawn) for _ in range(args.configurations)]
    lines: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for config, auc in zip(chosen, pool.map(partial(value, spec=spec), chosen), strict=True):
            lines.append({"auc": auc, "config": config.to_dict()})
            if args.out:
                args.out.write_text("".join(json.dumps(line) + "\n" for line in lines))
    aucs = np.array([line["auc"] for line in lines])
    low, median, high = np.quantile(aucs, [0.25, 0.5, 0.75])
    print(
        f"{args.study}: {len(aucs)} random configurations, AUC quartiles {low:.3f} / {median:.3f} / {high:.3f}, "
        f"best {aucs.max():.3f}, at chance (below {CHANCE}) {np.mean(aucs < CHANCE):.0%}"
    )


if __name__ == "__main__":
    main()
