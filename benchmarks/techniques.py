"""All techniques on the same images, at equal processor time, each at its own learning rate, over three seeds.

    OMP_NUM_THREADS=1 python benchmarks/techniques.py --set deeplense-1 --size 1000     # resumes: run it again
    python benchmarks/techniques.py --set deeplense-1 --size 1000 --table --figure techniques.svg

Mixers and position embeddings differ in one body: `--depth` blocks of `--width` channels on a grid of 8 x 8 tokens,
with batch norm unless a technique is defined by another. Images have 32 pixels. Every training has d4, asinh, AdamW,
cosine, batches of 32, and as many epochs, from 1 to 100, as fit `--seconds` of processor time by the pace of its first
batches. The first seed chooses the rate by validation AUC; two more are trained at it. The table compares the test
images with the technique of the best validation AUC: differences and intervals are paired over images and seeds
(trainers/estimate.py), p-values are corrected after Holm.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

import studies
from nas.report.effects import holm
from nas.searching.drafts import draft
from search_space import Backbone, Hybrid, Stage, Toy, build_model, cost
from search_space.architecture import ABSOLUTE, Architecture
from studies import StudySpec
from trainers import tasks
from trainers.batch.normalise import resolve
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Folder, Simulated, load
from trainers.estimate import estimates
from trainers.evaluate import SYMMETRIES, predictions
from trainers.fit import fit

RATES, SEEDS = (1e-3, 3e-3), 3
LOW_RATES = {"plain ViT": (3e-4, 1e-3), "vit_tiny_patch16_224": (1e-4, 3e-4)}  # layer norm wants less
MOST_EPOCHS = 100
PROBE = 64  # images whose batches set the pace
SETS = ("deeplense-1", "fair", "lenses")


@dataclass(frozen=True)
class Line:
    """One training."""

    technique: str
    rate: float
    seed: int
    epochs: int
    seconds: float  # of processor time
    validation: float
    parameters: int
    macs: int
    auc: float
    auc_d4_mean: float
    auc_d4_worst: float
    auc_d4_views: float


def techniques(depth: int, width: int) -> dict[str, Architecture]:
    def body(mixer: str, variant: str | None = None, **more: object) -> Hybrid:
        heads = {"heads": 4} if mixer in ("attention", "linear_attention", "anisotropic", "window") else {}
        size = {"size": 4} if mixer == "window" else {}
        options = {**heads, **size, **({"variant": variant} if variant else {})}
        network = Hybrid((Stage(mixer, depth, width, 2.0, options=options),), patch=4, norm_layer="batch")
        return replace(network, **more)  # type: ignore[arg-type]

    found: dict[str, Architecture] = {
        "plain ViT": body("attention", norm_layer="layer", position="learnable", head="class_token")
    }
    found |= {
        f"attention, {kind}{' in blocks' * (place == 'blocks')}": body("attention", position=kind, position_place=place)
        for place in ("once", "blocks")
        for kind in (*ABSOLUTE, "relative", "rotary")
        if place == "once" or kind not in ("none", "relative", "rotary")
    }
    found |= {f"Swin {v}": _pyramid(body("window", v), depth) for v in ("v1", "v2")}
    anisotropic = ("local", "axial", "cross", "gaussian", "polar")
    found |= {f"anisotropic, {v}": body("anisotropic", v, position="fixed_2d") for v in anisotropic}
    found["linear attention"] = body("linear_attention", position="fixed_2d")
    names = {"fnet1d": "FNet, sequence", "fnet2d": "FNet, grid", "gfnet": "GFNet"}
    found |= {name: body("fourier", v) for v, name in names.items()}
    found |= {"MLP-Mixer": body("mlp", "mixer"), "ResMLP": body("mlp", "resmlp")}
    found |= {f"convolution, {v}": body("conv", v) for v in ("separable", "residual", "convnext", "mbconv", "gated")}
    spec = studies.load("hybrid")
    for first in spec.first:
        hybrid = given(spec, first)
        tied = "polar " * (hybrid.front_end == "polar") + "d4 " * (hybrid.symmetry == "d4")
        found[f"hybrid: {tied}{' '.join(f'{s.mixer} {s.width}' for s in hybrid.stages)}"] = hybrid
    found |= {name: Backbone(name) for name in ("resnet18", "densenet121", "vit_tiny_patch16_224")}
    return found | {name: Toy(name) for name in ("mlp", "lenet", "resnet2", "cnn")}


def given(spec: StudySpec, parameters: Mapping[str, Any]) -> Hybrid:
    """The network of a study's given trial."""
    drawn: list[Architecture] = []
    draft(lambda trial: drawn.append(spec.sample(trial, 32).architecture), np.random.default_rng(0), parameters)
    assert isinstance(drawn[0], Hybrid)
    return drawn[0]


def _pyramid(network: Hybrid, depth: int) -> Hybrid:
    """Windows in two stages, the second of half the grid and twice the width, as they are meant."""
    stage = network.stages[0]
    half = replace(stage, depth=max(depth // 2, 1))
    return replace(network, stages=(half, replace(half, width=2 * stage.width, downsample=True)))


@lru_cache(maxsize=1)
def data_of(name: str, size: int, progress: bool = False) -> Dataset:
    """The images of a set, of which `size` are trained on."""
    if name == "lenses":
        source: Folder | Simulated = Folder("../shared/data/lenses", image_size=32)
    else:
        source = Simulated(name, images=4300, image_size=32)
    data = load(source, progress=progress)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    return replace(data, train=data.train.rows(order[:size]))


def train(
    name: str, architecture: Architecture, rate: float, seed: int, data: Dataset, seconds: float, out: Path
) -> Line:
    task = tasks.create("substructure", data)
    shape = {"in_chans": data.in_chans, "image_size": data.image_size, "num_outputs": task.num_outputs}
    config = TrainConfig(
        epochs=2, batch_size=32, learning_rate=rate, weight_decay=0.02, warmup_epochs=0.0, normalisation="asinh",
        augmentation=replace(NO_AUGMENTATION, d4=True),
    )  # fmt: skip

    def network() -> torch.nn.Module:
        torch.manual_seed(seed)
        return build_model(architecture, **shape)

    marks: list[float] = []
    for _ in fit(network(), data.train.rows(torch.arange(PROBE)), task, config, seed=seed):
        marks.append(time.process_time())
    pace = (marks[1] - marks[0]) / PROBE
    epochs = min(max(1, round(seconds / (pace * len(data.train)))), MOST_EPOCHS)
    config = replace(config, epochs=epochs, warmup_epochs=min(1.0, epochs / 10))
    model, begin = network(), time.process_time()
    for _ in fit(model, data.train, task, config, seed=seed):
        pass
    spent = time.process_time() - begin
    how = resolve(config, data.train.images)
    valid = task.metrics(predictions(model, data.val, task, normalisation=how), task.targets(data.val))["auc"]
    views = torch.stack([predictions(model, data.test, task, normalisation=how, symmetry=k) for k in SYMMETRIES])
    truth = task.targets(data.test)
    each = [task.metrics(view, truth)["auc"] for view in views]
    together = task.metrics(views.mean(0), truth)["auc"]
    out.mkdir(parents=True, exist_ok=True)
    np.save(out / f"{name}-{rate}-{seed}.npy", views[0].numpy().astype(np.float32))
    price = cost(architecture, **shape)
    return Line(
        name, rate, seed, epochs, round(spent, 2), valid, price.parameters, price.macs, each[0], fmean(each), min(each),
        together,
    )  # fmt: skip


def run(args: argparse.Namespace, place: Path) -> None:
    data_of(args.set, args.size, progress=True)  # made once, before the workers open it
    chosen = {
        name: each
        for name, each in techniques(args.depth, args.width).items()
        if any(part in name for part in args.only)
    }
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(train_all, args=args, place=place), chosen, chosen.values()))


def train_all(name: str, architecture: Architecture, args: argparse.Namespace, place: Path) -> None:
    """Train what is missing of one technique: the first seed at each rate, then the others at the better one."""
    torch.set_num_threads(1)
    data, path = data_of(args.set, args.size), place.with_suffix(".jsonl")
    done = read(path)
    rates = LOW_RATES.get(name, RATES)
    for seed in range(SEEDS):
        for rate in rates if seed == 0 else (best_rate(done, name),):
            if not any((line.technique, line.rate, line.seed) == (name, rate, seed) for line in done):
                done.append(train(name, architecture, rate, seed, data, args.seconds, place))
                print(done[-1], flush=True)
                with path.open("a") as out:  # a line is written at once, so those of several workers do not mix
                    out.write(json.dumps(asdict(done[-1])) + "\n")


def read(path: Path) -> list[Line]:
    return [Line(**json.loads(text)) for text in path.read_text().splitlines()] if path.exists() else []


def best_rate(lines: list[Line], name: str) -> float:
    return max((line for line in lines if line.technique == name and line.seed == 0), key=lambda x: x.validation).rate


@dataclass(frozen=True)
class Row:
    name: str
    lines: list[Line]
    interval: tuple[float, float]  # of the mean test AUC
    behind: tuple[float, float, float]  # the best one's mean less this one's, and its interval
    p: float  # that there is no difference, corrected

    def mean(self, key: str) -> float:
        return fmean(getattr(line, key) for line in self.lines)


def compare(args: argparse.Namespace, place: Path) -> list[Row]:
    """The techniques with all seeds, best first."""
    done, data = read(place.with_suffix(".jsonl")), data_of(args.set, args.size)
    task = tasks.create("substructure", data)
    truth = task.targets(data.test)
    of: dict[str, list[Line]] = {}
    for line in done:
        if line.rate == best_rate(done, line.technique):
            of.setdefault(line.technique, []).append(line)
    of = {name: lines for name, lines in of.items() if len(lines) == SEEDS}

    def metric(predicted: np.ndarray, true: np.ndarray) -> Mapping[str, float]:
        return {"auc": task.metrics(torch.from_numpy(predicted), torch.from_numpy(true))["auc"]}

    methods = [[np.load(place / f"{x.technique}-{x.rate}-{x.seed}.npy") for x in lines] for lines in of.values()]
    found = [e["auc"] for e in estimates(metric, methods, truth.numpy(), strata=truth.numpy())]
    names = list(of)
    best = names.index(args.reference or max(names, key=lambda n: fmean(line.validation for line in of[n])))
    gaps = [found[best] - estimate for estimate in found]
    others = [k for k in range(len(found)) if k != best]
    p = dict(zip(others, holm([gaps[k].p_value() for k in others]), strict=True)) | {best: math.nan}
    rows = [
        Row(name, lines, found[k].interval(), (gaps[k].value, *gaps[k].interval()), p[k])
        for k, (name, lines) in enumerate(of.items())
    ]
    return sorted(rows, key=lambda row: -row.mean("auc"))


def table(rows: list[Row], reference: str) -> str:
    head = f"technique | AUC (95% interval) | behind {reference} | mean of eight | worst | eight views | "
    head += "parameters | MACs | rate | epochs | seconds"
    lines = [f"| {head} |", "|---" * 11 + "|"]
    for row in rows:
        first, (gap, low, high) = row.lines[0], row.behind
        behind = "–" if math.isnan(row.p) else f"{gap:.3f} ({low:.3f} to {high:.3f}){'*' * (row.p < 0.05)}"
        lines.append(
            f"| {row.name} | {row.mean('auc'):.3f} ({row.interval[0]:.3f} to {row.interval[1]:.3f}) | {behind} | "
            f"{row.mean('auc_d4_mean'):.3f} | {row.mean('auc_d4_worst'):.3f} | {row.mean('auc_d4_views'):.3f} | "
            f"{first.parameters / 1e3:,.0f} k | {first.macs / 1e6:,.1f} M | {first.rate:g} | "
            f"{row.mean('epochs'):.0f} | {row.mean('seconds'):.0f} |"
        )
    return "\n".join(lines)


def draw(rows: list[Row], path: Path) -> None:
    """One line for each technique; filled where it is told apart from the reference, which is a diamond."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 0.21 * len(rows) + 0.8), layout="constrained")
    for y, row in enumerate(reversed(rows)):
        shape, filled = ("D", True) if math.isnan(row.p) else ("o", row.p < 0.05)
        axes.plot(row.interval, (y, y), color="#8a94a6", lw=1.5, zorder=1)
        axes.plot(row.mean("auc"), y, shape, color="#2b6fd3", mfc="#2b6fd3" if filled else "white", ms=5, zorder=2)
    axes.set_yticks(range(len(rows)), [row.name for row in reversed(rows)], fontsize=8)
    axes.set_xlabel("test AUC, 95% interval over images and seeds")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--set", choices=SETS, default="deeplense-1")
    p.add_argument("--size", type=int, default=1000, help="training images")
    p.add_argument("--seconds", type=float, default=20, help="processor time of a training")
    p.add_argument("--depth", type=int, default=3)
    p.add_argument("--width", type=int, default=64)
    p.add_argument("--only", nargs="+", default=[""], help="techniques whose name contains one of these")
    p.add_argument("--workers", type=int, default=1, help="processes, each with a technique of its own")
    p.add_argument("--out", type=Path, default=Path("techniques"), help="folder of results")
    p.add_argument("--table", action="store_true", help="train nothing")
    p.add_argument("--reference", help="the technique to compare with (default: the best by validation)")
    p.add_argument("--figure", type=Path)
    args = p.parse_args()
    if args.reference and args.reference not in techniques(args.depth, args.width):
        p.error(f"--reference {args.reference!r} is no technique")
    place = args.out / f"{args.set}-{args.size}-{args.depth}x{args.width}-{args.seconds:g}s"
    if not args.table:
        run(args, place)
    rows = compare(args, place)
    print(table(rows, args.reference or "the best by validation"))
    if args.figure:
        draw(rows, args.figure)


if __name__ == "__main__":
    main()
