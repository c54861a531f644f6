"""What predicts a full training on our own space? Early epochs, fewer images or pixels, sizes, zero-cost scores.

    OMP_NUM_THREADS=1 python benchmarks/fidelity.py --images 4000 --epochs 12 --out ../fidelity.jsonl
    OMP_NUM_THREADS=1 python benchmarks/fidelity.py --preset deeplense-1 --images 1800 --pixels 32 --fewer-pixels 16 \\
        --epochs 12 --configurations 26

Random configurations of the hybrid study, made for this image size and admitted by the study's own limits, are trained
in full with two seeds (initial weights, order, augmentation). With further seeds they are trained once on fewer pixels
and once on fewer images. All are judged by the AUC on the same images, validation and test split together; "the end" is
the AUC after the last epoch. Correlations are Spearman's. Brackets hold 95 % intervals: percentiles of 4,000 bootstrap
samples of the configurations. Costs are in percent of the first training's time.

First table: how well the early values of a training predict its own end, and the end of the second training, which
shares none of its noise. The correlation between the two ends ("itself") is the upper limit for any predictor.

Second table: network size, and scores of the untrained network from one batch (`zero_cost.py`), against the mean of
both ends. Such scores grow with the network, so the parameter count is their control. The rule, fixed before any
training: a score proves itself if its partial correlation given the (logarithm of the) parameters differs from zero and
its correlation exceeds the parameters' own in absolute value, both with their whole intervals. The gradient norm passed
that in a first result, but only because it revealed the norm layer, a parameter that a sampler sees without any score.
So a condition was added: the score must also predict among networks of one norm.

With 1,500 images of `fair` of 32 pixels nothing is learnt in nine epochs (two given networks reach 0.57 and 0.59), so
there is nothing to predict. Hence more images, in the study's own size. Lines of --out with the same settings are not
trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zero_cost
from scipy.stats import rankdata
from torch import nn

import studies
from nas.searching.drafts import draft
from nas.searching.study import admission
from search_space import build_model
from studies import Configuration, StudySpec
from trainers import tasks
from trainers.batch.normalise import normalise, resolve
from trainers.data import Dataset, Simulated, Split, joined, load
from trainers.fit import fit

TRAININGS = ("first", "second", "fewer pixels", "fewer images")
BATCH = 64  # images for a zero-cost score
FEWER = 4  # factor by which there are fewer images
SAMPLES = 4000  # bootstrap samples


@dataclass(frozen=True)
class Setting:
    """Everything that a line of results depends on."""

    images: int
    pixels: int
    fewer_pixels: int
    epochs: int
    index: int  # of the configuration
    preset: str = "fair"  # lines of before have none


def spec_of(setting: Setting, pixels: int) -> StudySpec:
    spec = studies.load("hybrid")
    data = Simulated(setting.preset, setting.images, pixels)
    return replace(spec, data=data, epochs=setting.epochs, min_epochs=setting.epochs)


def configuration(setting: Setting) -> tuple[Configuration, dict[str, int]]:
    """Return the configuration of this index, the first admitted one from its own seed, and its parameters and MACs."""
    spec = spec_of(setting, setting.pixels)
    admit = admission(spec, load(spec.data, progress=False))
    rng = np.random.default_rng([setting.index, 2026])
    found: list[Configuration] = []
    while True:
        draft(lambda trial: found.append(spec.sample(trial, setting.pixels)), rng)
        admitted = admit(found[-1].to_dict())
        if all(excess <= 0 for excess in admitted.excess.values()):
            return found[-1], dict(admitted.attributes)


def built(config: Configuration, data: Dataset) -> nn.Module:
    outputs = len(data.classes)
    return build_model(config.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=outputs)


def train(config: Configuration, data: Dataset, seed: int, share: int = 1) -> dict[str, Any]:
    """Train on every `share`-th image; return the AUC after every epoch and the seconds in all."""
    task = tasks.create("substructure", data)
    unseen = joined(data.val, data.test)
    images = Split(data.train.images[::share], data.train.labels[::share], {})
    torch.manual_seed(seed)
    model = built(config, data)
    begin, values = time.perf_counter(), []
    try:
        for epoch in fit(model, images, task, config.training, seed=seed, val=unseen):
            values.append(epoch.metrics["auc"])
    except FloatingPointError as error:  # a result like any other: the table counts those it leaves out
        return {"error": str(error), "values": values}
    return {"values": values, "seconds": time.perf_counter() - begin}


def scores(config: Configuration, data: Dataset) -> dict[str, dict[str, float]]:
    """Compute the value of each zero-cost score, and its seconds."""
    torch.manual_seed(config.seed)
    model = built(config, data)
    batch = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:BATCH]
    x, y = normalise(data.train.images[batch], resolve(config.training, data.train.images)), data.train.labels[batch]
    zero_cost.gradient_norm(deepcopy(model), x, y)  # the very first call is slower
    found: dict[str, dict[str, float]] = {}
    for name, score in (
        ("gradient norm", lambda m: zero_cost.gradient_norm(m, x, y)),
        ("synflow", lambda m: zero_cost.synflow(m, x)),
        ("NASWOT", lambda m: zero_cost.naswot(m, x)),
    ):
        copy, begin = deepcopy(model), time.perf_counter()
        found[name] = {"value": score(copy), "seconds": time.perf_counter() - begin}
    return found


def measure(setting: Setting) -> dict[str, Any]:
    """Measure one line of results."""
    torch.set_num_threads(1)
    config, size = configuration(setting)
    data = load(spec_of(setting, setting.pixels).data, progress=False)
    coarse = load(spec_of(setting, setting.fewer_pixels).data, progress=False)
    return {
        "setting": setting.__dict__,
        "config": config.to_dict(),
        **size,
        "zero_cost": scores(config, data),
        "first": train(config, data, seed=config.seed),
        "second": train(config, data, seed=config.seed + 1),
        "fewer pixels": train(config, coarse, seed=config.seed + 2),
        "fewer images": train(config, data, seed=config.seed + 3, share=FEWER),
    }


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Spearman's correlation of arrays (samples, configurations), row by row."""
    x, y = (rankdata(v, axis=-1) for v in (x, y))
    x, y = (v - v.mean(-1, keepdims=True) for v in (x, y))
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


def partial(x: np.ndarray, y: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Spearman's partial correlation of x and y given `given`."""
    xy, xz, yz = spearman(x, y), spearman(x, given), spearman(y, given)
    return (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))


def within(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Spearman's correlation of the differences within each group; all arrays are (samples, configurations)."""
    x, y = rankdata(x, axis=-1), rankdata(y, axis=-1)
    for member in np.unique(group):
        inside = group == member
        count = np.maximum(inside.sum(-1, keepdims=True), 1)
        x, y = (v - inside * (v * inside).sum(-1, keepdims=True) / count for v in (x, y))
    return (x * y).sum(-1) / np.sqrt((x * x).sum(-1) * (y * y).sum(-1))


@dataclass(frozen=True)
class Estimate:
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def estimate(statistic: Callable[..., np.ndarray], *columns: np.ndarray) -> Estimate:
    """Return `statistic` of the columns (configurations,), with its bootstrap interval."""
    count = len(columns[0])
    drawn = np.random.default_rng(0).integers(count, size=(SAMPLES, count))
    sampled = statistic(*(column[drawn] for column in columns))
    return Estimate(float(statistic(*(c[None] for c in columns))[0]), *np.nanquantile(sampled, (0.025, 0.975)))


def report(lines: list[dict[str, Any]], epochs: int, fewer_pixels: int) -> None:
    failed = sum(any("error" in line[t] for t in TRAININGS) for line in lines)
    lines = [line for line in lines if not any("error" in line[t] for t in TRAININGS)]
    values = {t: np.array([line[t]["values"] for line in lines]) for t in TRAININGS}  # (configurations, epochs)
    seconds = {t: np.mean([line[t]["seconds"] for line in lines]) for t in TRAININGS}
    first, second = values["first"], values["second"][:, -1]
    ends = np.quantile(first[:, -1], (0, 0.25, 0.5, 0.75, 1))
    print(f"{len(lines)} configurations, {failed} more failed; the end: " + ", ".join(f"{end:.3f}" for end in ends))
    print("(least, quartiles, most); the same by norm: " + by_norm(lines, first[:, -1]))

    third = max(epochs // 3, 1)
    rows = {f"epoch {e}": (first[:, e - 1], e / epochs) for e in sorted({1, third, 2 * third})}
    rows[f"mean of epochs {epochs - third + 1} to {epochs}"] = (first[:, -third:].mean(1), 1.0)
    rows["itself"] = (first[:, -1], 1.0)
    for name, what in (("fewer pixels", f"{fewer_pixels} pixels a side"), ("fewer images", f"1/{FEWER} of the images")):
        rows[what] = (values[name][:, -1], seconds[name] / seconds["first"])
    print("\n| what | with the end | with the end of another seed | cost |\n|---|---|---|---|")
    for name, (x, cost) in rows.items():
        own = "1" if name == "itself" else estimate(spearman, x, first[:, -1])
        print(f"| {name} | {own} | {estimate(spearman, x, second)} | {100 * cost:.0f} % |")

    mean, size = (first[:, -1] + second) / 2, np.array([line["parameters"] for line in lines])
    scores = {name: np.array([line["zero_cost"][name]["value"] for line in lines]) for name in lines[0]["zero_cost"]}
    norm = np.array([line["config"]["architecture"]["norm_layer"] == "batch" for line in lines])
    print("\n| score | with the end | with the mean of both ends | partial, given parameters | lead | ", end="")
    print("among networks of one norm | cost |\n|---|---|---|---|---|---|---|")
    proven = []
    controls = {"parameters": size, "MACs": np.array([line["macs"] for line in lines])}
    for name, x in (controls | scores).items():
        alike = estimate(within, x, mean, norm)  # the norm is a parameter: a sampler knows it without a score
        cells = [str(estimate(spearman, x, first[:, -1])), str(estimate(spearman, x, mean)), "", "", str(alike), ""]
        if name != "parameters":
            given = estimate(partial, x, mean, size)
            ahead = estimate(lambda x, y, z: np.abs(spearman(x, y)) - np.abs(spearman(z, y)), x, mean, size)
            cells[2:4] = str(given), str(ahead)
            if name in scores and given.low * given.high > 0 and ahead.low > 0 and alike.low * alike.high > 0:
                proven.append(name)
        if name in scores:
            cost = np.mean([line["zero_cost"][name]["seconds"] for line in lines]) / seconds["first"]
            cells[5] = f"{100 * cost:.1f} %"
        print(f"| {name} | " + " | ".join(cells) + " |")
    print(
        f"\nScores that prove themselves, against the parameter count and within a norm: {', '.join(proven) or 'none'}."
    )


def by_norm(lines: list[dict[str, Any]], ends: np.ndarray) -> str:
    """Mean end and number of the networks with each norm, which decides most on these images (README)."""
    norms = np.array([line["config"]["architecture"]["norm_layer"] for line in lines])
    return ", ".join(f"{norm} {ends[norms == norm].mean():.3f} ({(norms == norm).sum()})" for norm in np.unique(norms))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--configurations", type=int, default=40)
    p.add_argument("--preset", default="fair")
    p.add_argument("--images", type=int, default=2000)
    p.add_argument("--pixels", type=int, default=64)
    p.add_argument("--fewer-pixels", type=int, default=32)
    p.add_argument("--epochs", type=int, default=9)
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--out", type=Path, default=Path("fidelity.jsonl"), help="raw results, one line per configuration")
    args = p.parse_args()
    begin = time.perf_counter()
    settings = [
        Setting(args.images, args.pixels, args.fewer_pixels, args.epochs, index, args.preset)
        for index in range(args.configurations)
    ]
    for pixels in (args.pixels, args.fewer_pixels):
        print(load(spec_of(settings[0], pixels).data).describe(), flush=True)  # simulated once, before the processes
    kept = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    lines = {Setting(**line["setting"]): line for line in kept}
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool, args.out.open("a") as out:
        for done in as_completed([pool.submit(measure, setting) for setting in settings if setting not in lines]):
            line = done.result()
            lines[Setting(**line["setting"])] = line
            out.write(json.dumps(line) + "\n")
            out.flush()
    report([lines[setting] for setting in settings], args.epochs, args.fewer_pixels)
    print(f"{time.perf_counter() - begin:.0f} s")


if __name__ == "__main__":
    main()
