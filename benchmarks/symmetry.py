"""What symmetry buys with few images: the network of the study `symmetry`, trained on 300, 1,000 and 3,000 lenses.

    OMP_NUM_THREADS=1 python benchmarks/symmetry.py --out symmetry.jsonl --seeds 5
    OMP_NUM_THREADS=1 python benchmarks/symmetry.py --out symmetry.jsonl --table

Arms: no symmetry; d4 augmentation; weights tied over c4, over d4, and over a wrong group ("scrambled"). Augmentation
with the mean of eight views is the second arm, evaluated otherwise. Every training takes `--steps` batches of 32, in
whole epochs, so all arms of one size have equal epochs. `--time` then trains each arm once more for the epochs that
take the processor time of the arm without symmetry, by the seconds of the first runs, which a loaded machine distorts.
A line of `--out` is one training; what is there is not trained again. Metrics are those of the test images; intervals
are those of the paired t-test over seeds, which share the images of each seed and its order.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, median
from typing import Any

import optuna
import torch

from nas.report.effects import Difference
from search_space import build_model, cost
from studies.symmetry import STUDY
from trainers import tasks
from trainers.data import Simulated, load
from trainers.evaluate import evaluate
from trainers.fit import fit

ARMS = {  # symmetry of the weights, augmentation
    "none": ("none", "none"), "d4 augmentation": ("none", "d4"), "c4 tied": ("c4", "none"), "d4 tied": ("d4", "none"),
    "scrambled": ("scrambled", "none"),
}  # fmt: skip
REFERENCE = "d4 augmentation"
BATCH, RATE = 32, 2e-3
Line = dict[str, Any]


def train(arm: str, size: int, seed: int, epochs: int, source: Simulated) -> Line:
    torch.set_num_threads(1)
    data = load(source, progress=False)
    symmetry, augmentation = ARMS[arm]
    given = {"symmetry": symmetry, "augmentation": augmentation, "seed": seed}
    spec = replace(STUDY, epochs=epochs, min_epochs=epochs, training=replace(STUDY.training, learning_rate=(RATE,)))
    config = spec.sample(optuna.trial.FixedTrial(given), data.image_size)
    task = tasks.create("substructure", data)
    shape = {"in_chans": data.in_chans, "image_size": data.image_size, "num_outputs": task.num_outputs}
    images = data.train.rows(torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))[:size])
    torch.manual_seed(seed)
    model = build_model(config.architecture, **shape)
    begin = time.process_time()
    for _ in fit(model, images, task, config.training, seed=seed):
        pass
    seconds = time.process_time() - begin
    found = evaluate(model, data.test, task, normalisation=config.training.normalisation, symmetric=True)
    kept = {name: round(value, 5) for name, value in found.items() if name.startswith("auc")}
    parameters = cost(config.architecture, **shape).parameters
    return {
        "arm": arm, "size": size, "seed": seed, "epochs": epochs, "seconds": round(seconds, 2), "parameters": parameters
    } | kept  # fmt: skip


def train_and_write(job: tuple[str, int, int, int], source: Simulated, out: Path) -> None:
    line = json.dumps(train(*job, source)) + "\n"
    with out.open("a") as file:  # a line is written at once, so those of several workers do not mix
        file.write(line)


def epochs_of(size: int, steps: int) -> int:
    return max(2, round(steps / math.ceil(size / BATCH)))


def equal_time(arm: str, size: int, epochs: int, lines: list[Line]) -> int:
    """The epochs that `arm` has in the processor time in which the arm without symmetry has `epochs`."""
    pace = {
        name: median(line["seconds"] / line["epochs"] for line in lines if (line["arm"], line["size"]) == (name, size))
        for name in ("none", arm)
    }
    return max(2, round(epochs * pace["none"] / pace[arm]))


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def rows(lines: list[Line], size: int, epochs: dict[str, int]) -> Iterator[str]:
    """The table of one size: each arm's means over seeds, and its difference to REFERENCE in the mean of eight."""
    chosen = {arm: {x["seed"]: x for x in lines if (x["arm"], x["size"], x["epochs"]) == (arm, size, n)}
              for arm, n in epochs.items()}  # fmt: skip
    views = {seed: x["auc_d4_views"] for seed, x in chosen[REFERENCE].items()}
    reference = {seed: x["auc_d4_mean"] for seed, x in chosen[REFERENCE].items()}
    for arm, of_arm in chosen.items():
        if not of_arm:
            continue
        upright, mean, worst, seconds = (
            fmean(x[name] for x in of_arm.values()) for name in ("auc", "auc_d4_mean", "auc_d4_worst", "seconds")
        )
        differences = [x["auc_d4_mean"] - reference[seed] for seed, x in of_arm.items() if seed in reference]
        yield (
            f"| {size} | {arm} | {of_arm[min(of_arm)]['parameters']:,} | {epochs[arm]} | {seconds:.0f} | {len(of_arm)} "
            f"| {upright:.3f} | {mean:.3f} | {worst:.3f} | {said(Difference.of(differences), arm == REFERENCE)} |"
        )
        if arm == REFERENCE:
            gain = Difference.of([views[seed] - reference[seed] for seed in views])
            value = fmean(views.values())
            yield f"| {size} | + eight views | | | | {len(views)} |" + f" {value:.3f} |" * 3 + f" {said(gain)} |"


def said(difference: Difference | None, itself: bool = False) -> str:
    if difference is None or difference.half is None or itself:
        return ""
    return f"{difference.mean:+.3f} ± {difference.half:.3f}"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, default=Path("symmetry.jsonl"))
    p.add_argument("--sizes", type=int, nargs="+", default=[300, 1000, 3000])
    p.add_argument("--seeds", type=int, default=5)
    p.add_argument("--steps", type=int, default=400)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--images", type=int, default=4300, help="simulated in all; 70 %% are for training")
    p.add_argument("--time", action="store_true", help="equal processor time in place of equal epochs")
    p.add_argument("--table", action="store_true", help="only print what is there")
    args = p.parse_args()
    data = Simulated("deeplense-1", images=args.images, image_size=32)
    if not args.table:
        load(data)  # made once, before the workers open it
    for size in args.sizes:
        epochs = dict.fromkeys(ARMS, epochs_of(size, args.steps))
        if args.time:
            epochs = {arm: equal_time(arm, size, epochs[arm], read(args.out)) for arm in ARMS}
        known = {(x["arm"], x["size"], x["seed"], x["epochs"]) for x in read(args.out)}
        wanted = [(arm, size, seed, epochs[arm]) for seed in range(args.seeds) for arm in ARMS]
        jobs = [] if args.table else [job for job in wanted if job not in known]
        with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(partial(train_and_write, source=data, out=args.out), jobs))
        if size == args.sizes[0]:
            print("| images | arm | parameters | epochs | seconds | seeds | upright | mean of 8 | worst | difference |")
            print("|---|---|---|---|---|---|---|---|---|---|")
        print("\n".join(rows(read(args.out), size, epochs)), flush=True)


if __name__ == "__main__":
    main()
