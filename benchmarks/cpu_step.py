"""What a training step costs on a CPU core in other layouts and number formats, for networks of our own space.

    OMP_NUM_THREADS=1 python benchmarks/cpu_step.py

Measures the processor time of forward, backward and optimiser on one thread, for random configurations of the hybrid
study (below a quarter of its cost limit) and random images in batches of 64. Four variants: as they are (float32;
tokens are channels-last already); with convolution weights in `channels_last`; with bfloat16 autocast, which oneDNN
computes natively if the CPU supports it (`lscpu | grep avx512_bf16`); and with both. Evaluation is measured likewise,
and with batches of different sizes. Results are ratios to today's code; below one is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import studies
from nas.searching.drafts import draft
from search_space import Architecture, Hybrid, build_model, cost

SIZE, CLASSES, BATCH = 64, 3, 64


def architectures(count: int) -> list[Hybrid]:
    spec, rng = studies.load("hybrid"), np.random.default_rng(0)
    drawn: list[Architecture] = []
    found: list[Hybrid] = []
    while len(found) < count:
        draft(lambda trial: drawn.append(spec.sample(trial).architecture), rng)
        made = drawn[-1]
        assert isinstance(made, Hybrid)
        if cost(made, in_chans=1, image_size=SIZE, num_outputs=CLASSES).macs < spec.max_macs / 4:
            found.append(made)
    return found


def training(architecture: Architecture, *, last: bool, bf16: bool) -> Callable[[], None]:
    torch.manual_seed(0)
    model = build_model(architecture, in_chans=1, image_size=SIZE, num_outputs=CLASSES)
    if last:
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    x, y = torch.randn(BATCH, 1, SIZE, SIZE), torch.arange(BATCH) % CLASSES

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = model(x)
        optimizer.zero_grad()
        F.cross_entropy(outputs.float(), y).backward()
        optimizer.step()

    return step


def evaluation(architecture: Architecture, *, batch: int, bf16: bool) -> Callable[[], None]:
    torch.manual_seed(0)
    model = build_model(architecture, in_chans=1, image_size=SIZE, num_outputs=CLASSES).eval()
    batches = torch.randn(1024, 1, SIZE, SIZE).split(batch)

    def step() -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for x in batches:
                model(x)

    return step


def seconds(step: Callable[[], None], repeats: int) -> float:
    """Return the least of several timings, because other work on the core can only add time."""
    step()
    spent = []
    for _ in range(repeats):
        begin = time.process_time()
        step()
        spent.append(time.process_time() - begin)
    return min(spent)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--networks", type=int, default=12)
    p.add_argument("--repeats", type=int, default=5)
    args = p.parse_args()
    torch.set_num_threads(1)
    ratios: dict[str, list[float]] = defaultdict(list)
    for architecture in architectures(args.networks):
        today = seconds(training(architecture, last=False, bf16=False), args.repeats)
        for name, last, bf16 in (("channels-last", True, False), ("bf16", False, True), ("both", True, True)):
            ratios[name].append(seconds(training(architecture, last=last, bf16=bf16), args.repeats) / today)
        today = seconds(evaluation(architecture, batch=256, bf16=False), 2)
        for batch in (64, 1024):
            ratios[f"evaluation by {batch}"].append(
                seconds(evaluation(architecture, batch=batch, bf16=False), 2) / today
            )
        ratios["evaluation, bf16"].append(seconds(evaluation(architecture, batch=256, bf16=True), 2) / today)
        mixers = "+".join(stage.mixer for stage in architecture.stages)
        print(f"{mixers:40}" + "".join(f"  {name} {found[-1]:.2f}" for name, found in ratios.items()), flush=True)
    print("geometric means: " + ", ".join(f"{n} {statistics.geometric_mean(found):.3f}" for n, found in ratios.items()))


if __name__ == "__main__":
    main()
