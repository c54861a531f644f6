"""What views, seeds and calibration are worth, and what it costs to keep the validation images out of the training.

    OMP_NUM_THREADS=1 python benchmarks/handing_out.py --images 1000 --seeds 3

The first given network of the hybrid study is trained on training and validation images, and on training images alone,
and tested on other images of the same population. Temperatures are fitted to the validation images, as predicted by
networks trained without them: by one seed, or by the ensemble of all; the best possible one is fitted to the test.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from nas.searching.drafts import draft
from search_space import build_model
from studies import Configuration, hybrid
from trainers import calibrate, metrics, tasks
from trainers.batch.normalise import resolve
from trainers.data import Split, joined, load
from trainers.evaluate import SYMMETRIES, predictions
from trainers.fit import fit
from trainers.tasks import Task

TEST_SEED = 1_000_000


def trained(images: Split, to_predict: Sequence[Split], task: Task, seed: int) -> list[Tensor]:
    """The predictions (8, N, classes) of a network trained on `images`, for each split."""
    drawn: list[Configuration] = []
    draft(lambda trial: drawn.append(hybrid.STUDY.sample(trial)), np.random.default_rng(0), hybrid.FIRST[0])
    (config,) = drawn
    torch.manual_seed(seed)
    model = build_model(config.architecture, in_chans=1, image_size=images.images.shape[-1], num_outputs=3)
    for _ in fit(model, images, task, config.training, seed=seed):
        pass
    how = resolve(config.training, images.images)
    return [
        torch.stack([predictions(model, split, task, normalisation=how, symmetry=k) for k in SYMMETRIES])
        for split in to_predict
    ]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=1000, help="to train, validate (and not to test)")
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--test", type=int, default=2000, help="other images to test on")
    args = p.parse_args()
    data = load(replace(hybrid.STUDY.data, images=args.images))
    other = load(replace(hybrid.STUDY.data, images=args.test, seed=TEST_SEED))
    test = joined(joined(other.train, other.val), other.test)
    task = tasks.create("substructure", data)
    labels, val_labels = test.labels, data.val.labels
    found = {
        "all": [trained(joined(data.train, data.val), [test], task, seed) for seed in range(args.seeds)],
        "training only": [trained(data.train, [test, data.val], task, seed) for seed in range(args.seeds)],
    }
    for views in (1, 8):
        of = {name: [[split[:views].mean(0) for split in splits] for splits in each] for name, each in found.items()}
        for name, each in of.items():
            single = fmean(metrics.macro_auc(splits[0].numpy(), labels.numpy()) for splits in each)
            together = torch.stack([splits[0] for splits in each]).mean(0)
            auc = metrics.macro_auc(together.numpy(), labels.numpy())
            print(f"{views} views, trained on {name}: AUC of one network {single:.4f}, together {auc:.4f}", flush=True)
        held_out = [splits[1] for splits in of["training only"]]
        one = [calibrate.temperature(predicted, val_labels) for predicted in held_out]
        every = calibrate.temperature(torch.stack(held_out).mean(0), val_labels)
        for name, each in of.items():
            together = torch.stack([splits[0] for splits in each]).mean(0)
            best = calibrate.temperature(together, labels)
            fitted = [("none", [1.0]), ("of one seed", one), ("of the ensemble", [every]), ("of the test", [best])]
            for by, temperatures in fitted:
                scaled = [calibrate.tempered(together, t).numpy() for t in temperatures]
                loss = fmean(metrics.log_loss(q, labels.numpy()) for q in scaled)
                ece = fmean(metrics.expected_calibration_error(q, labels.numpy()) for q in scaled)
                values = ", ".join(f"{t:.2f}" for t in temperatures)
                print(f"  ensemble on {name}, temperature {by} ({values}): log loss {loss:.4f}, ECE {ece:.4f}")


if __name__ == "__main__":
    main()
