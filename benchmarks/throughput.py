"""Training images per second of processor time: `fit` against a hand-written bare loop, for five fixed architectures.

    OMP_NUM_THREADS=1 python benchmarks/throughput.py --repeats 7

The bare loop has its images normalised and in memory, uses the same order of batches, optimiser, clipping and schedule,
and reports nothing. `fit` reads the stored images, normalises each batch, keeps a loss for its report and yields
epochs. Both run in turn on one thread of one process. Reports the median and quartiles of the ratios of neighbouring
runs, in processor time, because wall time depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from search_space import build_model
from search_space.architecture import Architecture
from search_space.space import HybridSpace
from trainers import tasks
from trainers.batch.normalise import normalise, resolve
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Simulated, load
from trainers.fit import fit
from trainers.optimise import learning_rate, optimiser_of

MIXERS = ("conv", "attention", "window", "fourier", "mlp")


def architecture(mixer: str) -> Architecture:
    """Two stages of one mixer, with the first choice of every parameter."""

    class First:
        def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
            return choices[0]

        def suggest_int(self, name: str, low: int, high: int, **_: object) -> int:
            return 2 if name in ("stages", "stages.0.depth", "stages.1.depth") and low <= 2 <= high else low

        def suggest_float(self, name: str, low: float, high: float, **_: object) -> float:
            return low

    return HybridSpace(mixers=(mixer,)).sample(First())


def bare(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, config: TrainConfig) -> None:
    optimizer = optimiser_of(model, config)
    model.train()
    steps = -(-len(labels) // config.batch_size)
    for epoch in range(config.epochs):
        for step, index in enumerate(torch.randperm(len(labels)).tensor_split(steps)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(epoch + (step + 0.5) / steps, config)
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
            optimizer.step()


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--repeats", type=int, default=7)
    p.add_argument("--images", type=int, default=1500)
    args = p.parse_args()
    torch.set_num_threads(1)
    data = load(Simulated(images=args.images))
    task = tasks.create("substructure", data)
    config = TrainConfig(epochs=2, warmup_epochs=1, batch_size=64, augmentation=NO_AUGMENTATION)
    ready = normalise(data.train.images[:], resolve(config, data.train.images))
    print(f"{'mixer':12}{'bare, images/s':>16}{'fit / bare':>12}{'quartiles':>16}")
    ratios = []
    for mixer in MIXERS:
        seconds: dict[str, list[float]] = {"bare": [], "fit": []}
        for _ in range(args.repeats + 1):
            for which in seconds:
                torch.manual_seed(0)
                model = build_model(architecture(mixer), in_chans=1, image_size=64, num_outputs=3)
                begin = time.process_time()
                if which == "bare":
                    bare(model, ready, data.train.labels, config)
                else:
                    list(fit(model, data.train, task, config, seed=0))
                seconds[which].append(time.process_time() - begin)
        pairs = [b / f for b, f in zip(seconds["bare"][1:], seconds["fit"][1:], strict=True)]  # the first warms up
        low, _, high = statistics.quantiles(pairs, n=4)
        ratios.append(statistics.median(pairs))
        speed = config.epochs * len(data.train) / statistics.median(seconds["bare"][1:])
        print(f"{mixer:12}{speed:16.0f}{ratios[-1]:12.3f}{low:9.3f}-{high:.3f}", flush=True)
    print(f"geometric mean {statistics.geometric_mean(ratios):.3f}")


if __name__ == "__main__":
    main()
