"""What the norm does: the networks that the hybrid study begins with, layer or batch norm, a ladder of learning rates.

    python benchmarks/norm_layer.py --seeds 1

Everything else is equal: eight epochs of 1,120 images of 32 pixels (`deeplense-1`), d4, z-score, batches of 32. A value
is the mean AUC of validation and test images after the last epoch, and over seeds.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace

import numpy as np
import torch

from nas.searching.drafts import draft
from search_space import Architecture, Hybrid, build_model
from studies import load as load_study
from trainers import tasks
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Simulated, load
from trainers.evaluate import evaluate
from trainers.fit import fit

RATES = (1e-4, 3e-4, 1e-3, 3e-3)


def auc(architecture: Hybrid, rate: float, seed: int, data: Dataset) -> float:
    task = tasks.create("substructure", data)
    config = TrainConfig(
        epochs=8, batch_size=32, learning_rate=rate, weight_decay=0.02, augmentation=replace(NO_AUGMENTATION, d4=True)
    )
    torch.manual_seed(seed)
    model = build_model(architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs)
    *_, last = fit(model, data.train, task, config, seed=seed, val=data.val)
    return (last.metrics["auc"] + evaluate(model, data.test, task, normalisation=config.normalisation)["auc"]) / 2


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--images", type=int, default=1600, help="in all; 70%% are trained on")
    args = p.parse_args()
    torch.set_num_threads(1)
    data, spec = load(Simulated("deeplense-1", images=args.images, image_size=32)), load_study("hybrid")
    print("| network | norm |", " | ".join(f"{rate:g}" for rate in RATES), "|")
    print("|---|---|" + "---|" * len(RATES))
    drawn: list[Architecture] = []
    for given in spec.first:
        draft(lambda trial: drawn.append(spec.sample(trial, 32).architecture), np.random.default_rng(0), given)
        network = drawn[-1]
        assert isinstance(network, Hybrid)
        mixers = ", ".join(stage.mixer for stage in network.stages)
        for norm_layer in ("layer", "batch"):
            values = [
                statistics.fmean(
                    auc(replace(network, norm_layer=norm_layer), rate, seed, data) for seed in range(args.seeds)
                )
                for rate in RATES
            ]
            print(f"| {mixers} | {norm_layer} |", " | ".join(f"{value:.3f}" for value in values), "|", flush=True)


if __name__ == "__main__":
    main()
