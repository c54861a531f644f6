"""Does the search find a network that is better than the given ones? Several searches, each judged by fresh seeds.

    python benchmarks/winners.py --searches 10 --trials 40
    python benchmarks/winners.py --searches 1 --trials 80 --without-given

Every search has images, initial weights and proposals of its own. Its winner and the best of its given trials are then
trained again on training and validation images with three seeds that the search did not use, and tested; if the winner
is the given trial, both are the same. A layout is the mixers of a network in order, with the places of halving.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch

import nas
import studies
from nas.results import Results
from nas.trials import Trial
from nas.workers.training import Problem, set_up
from studies import StudySpec
from trainers.batch.normalise import resolve
from trainers.data import Simulated, source_to_dict
from trainers.data.dataset import joined
from trainers.evaluate import predictions
from trainers.fit import fit


def test_aucs(config: Mapping[str, Any], spec: StudySpec) -> tuple[float, float]:
    """The test AUC of a configuration trained on training and validation images, upright and over eight views."""
    training = set_up(config, Problem(source_to_dict(spec.data), spec.task))
    made, data, task, model = training.config, training.data, training.task, training.model
    images = joined(data.train, data.val)
    for _ in fit(model, images, task, made.training, seed=made.seed):
        pass
    normalisation, truth = resolve(made.training, images.images), task.targets(data.test)
    views = [predictions(model, data.test, task, normalisation=normalisation, symmetry=k) for k in range(8)]
    upright, eight = (
        task.metrics_in_full(predicted, truth)["auc"] for predicted in (views[0], torch.stack(views).mean(0))
    )
    return upright, eight


def layout(trial: Trial) -> str:
    stages = trial.config["architecture"]["stages"]
    return " ".join(("v" if s["downsample"] else "") + s["mixer"] for s in stages)


def describe(results: Results) -> dict[str, Any]:
    """Counts of what the search tried after its twentieth trial, and in full."""
    given = {layout(t) for t in results.trained if t.given}
    late = results.trained[20:]
    full = {layout(t) for t in results.ranked()}
    return {
        "other layouts after the twentieth": sum(layout(t) not in given for t in late) / max(len(late), 1),
        "layouts trained in full": len(full),
        "epochs": sum(t.epochs for t in results.trained),
        "finals": len(results.repeats),
    }


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--study", default="hybrid")
    p.add_argument("--searches", type=int, default=10)
    p.add_argument("--first", type=int, default=1, help="seed of the first search")
    p.add_argument("--trials", type=int, default=40)
    p.add_argument("--without-given", action="store_true")
    p.add_argument("--preset", default="deeplense-1")
    p.add_argument("--images", type=int, default=1739, help="in all; 70%% are trained on in the search")
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--runs", type=Path, help="keep the searches here (default: nowhere)")
    p.add_argument("--out", type=Path, help="JSON lines, one for each search")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.first, args.first + args.searches):
            data = Simulated(args.preset, images=args.images, image_size=args.image_size, seed=seed)
            spec = replace(
                studies.load(args.study), data=data, epochs=args.epochs, min_epochs=max(args.epochs // 3, 2), seed=seed,
                trials=args.trials,
            )  # fmt: skip
            if args.without_given:
                spec = replace(spec, first=())
            results = nas.search(spec, runs=args.runs or scratch, name=f"{args.trials}-{seed}", quiet=True)
            given = next((c.trials[0] for c in results.cells() if c.trials[0].given), None)
            assert results.best is not None
            compared = {"winner": results.best} | ({} if given in (None, results.best) else {"given": given})
            jobs = [{**t.config, "seed": 1000 + s} for t in compared.values() for s in range(args.seeds)]
            with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
                aucs = list(pool.map(partial(test_aucs, spec=spec), jobs))
            line: dict[str, Any] = {"seed": seed, **describe(results)}
            for i, (name, trial) in enumerate(compared.items()):
                of_name = aucs[i * args.seeds : (i + 1) * args.seeds]
                line[name] = {
                    "trial": trial.number,
                    "given": trial.given,
                    "architecture": trial.architecture,
                    "validation": trial.value,
                    "test": [upright for upright, _ in of_name],
                    "eight views": [eight for _, eight in of_name],
                }
            print(in_words(line), flush=True)
            if args.out:
                with args.out.open("a") as out:
                    out.write(json.dumps(line) + "\n")


def in_words(line: Mapping[str, Any]) -> str:
    parts = [f"search {line['seed']}"]
    for name in ("winner", "given"):
        if name in line:
            found, test, views = line[name], line[name]["test"], fmean(line[name]["eight views"])
            which = f"{name}, trial {found['trial']}{' (given)' if found['given'] else ''}"
            parts.append(
                f"{which}: {fmean(test):.4f} ± {stdev(test):.4f}, eight views {views:.4f}, {found['architecture']}"
            )
    share, full = line["other layouts after the twentieth"], line["layouts trained in full"]
    return "; ".join([*parts, f"{share:.0%} other layouts after the twentieth, {full} layouts trained in full"])


if __name__ == "__main__":
    main()
