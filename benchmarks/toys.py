"""Toy networks on the data and budget of the hybrid study, to compare with the table of `nas.retrain`.

    python benchmarks/toys.py --seeds 3

Each toy (MLP, LeNet, two-block ResNet) is trained at several learning rates. The rate is chosen on the validation
split, as the search chooses its configuration. The toy is then trained again with each seed on training and validation
images together and tested once, as `nas.retrain` does.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from search_space import Toy, build_model, cost
from studies import load as load_study
from trainers import tasks
from trainers.config import Augmentation, TrainConfig
from trainers.data import Dataset, Folder, Split, joined, load
from trainers.evaluate import evaluate
from trainers.fit import fit

RATES = (3e-4, 1e-3, 3e-3)


def train(
    toy: Toy, data: Dataset, split: Split, config: TrainConfig, seed: int, val: Split | None
) -> tuple[float, float]:
    """Return the validation AUC after the last epoch and nan or, without validation, nan and the test AUC."""
    task = tasks.create("substructure", data)
    torch.manual_seed(seed)
    model = build_model(toy, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs)
    *_, last = fit(model, split, task, config, seed=seed, val=val)
    if val is not None:
        return last.metrics["auc"], float("nan")
    return float("nan"), evaluate(model, data.test, task, normalisation=config.normalisation)["auc"]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", help="folder of class folders (default: the study's simulated lenses)")
    p.add_argument("--seeds", type=int, default=3)
    args = p.parse_args()
    spec = load_study("hybrid")
    data = load(Folder(args.data, image_size=64) if args.data else spec.data)
    both = joined(data.train, data.val)
    print(f"{data.describe()}; {spec.epochs} epochs")
    for name in ("mlp", "lenet", "resnet2"):
        toy = Toy(name)
        size = cost(toy, in_chans=data.in_chans, image_size=data.image_size, num_outputs=len(data.classes))
        configs = [
            TrainConfig(epochs=spec.epochs, batch_size=32, learning_rate=rate, augmentation=Augmentation(0, True))
            for rate in RATES
        ]
        ladder = [train(toy, data, data.train, config, 0, data.val)[0] for config in configs]
        best = configs[ladder.index(max(ladder))]
        test = [train(toy, data, both, best, seed, None)[1] for seed in range(args.seeds)]
        spread = statistics.stdev(test) if len(test) > 1 else float("nan")
        rungs = ", ".join(f"{rate:g}: {auc:.4f}" for rate, auc in zip(RATES, ladder, strict=True))
        print(
            f"{name:8} {size.parameters:>9,} parameters  validation AUC by rate {rungs}  "
            f"test AUC {statistics.mean(test):.4f} ± {spread:.4f} ({args.seeds} seeds)",
            flush=True,
        )


if __name__ == "__main__":
    main()
