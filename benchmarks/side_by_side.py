"""This engine against the stock pair, Optuna's sampler with ASHA in Ray Tune, on simulated lenses.

    python benchmarks/side_by_side.py --minutes 30 --seeds 1              # one arm after the other
    python benchmarks/side_by_side.py --minutes 60 --seeds 1 --at-once    # both at once, sharing the cores

Both search the hybrid study's space with its limits, budget and data, with two workers of one thread each, for the same
wall time from the start of the process. With `--given` both begin with the study's given trials, else neither does.
*ours* is `nas.run`'s machinery. *stock* is what a user writes after reading the manuals of Ray Tune and Optuna:
`OptunaSearch` with a define-by-run space, `ASHAScheduler`, default actors and a function trainable with a DataLoader.
It has the same `build_model`, optimiser, augmentation, running mean and metrics. A network above the limits reports the
AUC of chance and returns. Each arm's incumbent, its best trial at full budget, is then trained again on training and
validation images with `--fresh` seeds and tested once. With `--at-once`, other load affects both arms alike.

Writes DIR/<arm>-<seed>.jsonl (seconds, trial, epoch, AUC), DIR/table.json and DIR/curves.html. Searches that DIR holds
whole are not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import optuna
import plotly.graph_objects as go
import torch
from torch.utils.data import DataLoader, TensorDataset

from nas import samplers, schedulers
from nas.retraining.job import Retraining, fingerprint, finished
from nas.retraining.training import train_and_test
from nas.searching.engine import Engine
from nas.searching.jobs import Event
from nas.searching.ledger import Ledger
from nas.searching.storage import open_storage
from nas.searching.study import admission
from nas.searching.work import Search
from nas.workers import checkpoints
from nas.workers.pool import work_through
from nas.workers.ray_session import ray
from nas.workers.resources import Resources
from nas.workers.training import Problem
from nas.workers.trial import run_trial
from search_space import build_model
from studies import Configuration, StudySpec
from studies import load as load_study
from trainers import tasks
from trainers.batch.augment import augment
from trainers.batch.mixing import mix_batch
from trainers.batch.normalise import normalise
from trainers.data import Simulated, load, source_to_dict
from trainers.evaluate import evaluate
from trainers.optimise import RunningMean, learning_rate, optimiser_of, set_learning_rate

ARMS = ("ours", "stock")
WORKERS = 2
SKIPPED = 0.5  # the AUC of chance, which the stock arm reports for a network above the limits

Log = Callable[[Any, int, float, dict[str, Any]], None]  # trial, epoch, value, configuration


def ours(spec: StudySpec, seconds: float, folder: Path, log: Log) -> None:
    data = load(spec.data)
    kept = folder / "checkpoints"
    configs: dict[int, dict[str, Any]] = {}

    def listen(event: Event) -> None:
        if event.kind == "started":
            configs[event.trial] = engine.running[event.trial].job.config
        elif event.kind == "epoch":
            log(event.trial, event.epoch, event.value, configs[event.trial])
        elif event.kind in ("complete", "pruned", "failed"):
            checkpoints.remove(kept, event.trial)

    engine = Engine(
        Ledger(open_storage(folder / "study.db"), spec.name, sampler=samplers.create(spec.sampler, spec.seed)),
        schedulers.of_study(spec),
        sample=spec.sample,
        record=Configuration.to_dict,
        trials=spec.trials,
        first=spec.first,
        admit=admission(spec, data),
        listen=listen,
    )
    problem = Problem(source_to_dict(spec.data), spec.task, checkpoints=str(kept.absolute()))
    threading.Timer(seconds - time.monotonic(), lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    with suppress(KeyboardInterrupt):
        work_through(Search(engine), partial(run_trial, problem=problem), Resources("cpu", WORKERS, 1, 0.0))


def trainable(config: dict[str, Any], *, spec: StudySpec) -> None:
    """One trial of the stock arm."""
    from ray import tune

    torch.set_num_threads(1)
    data = load(spec.data, progress=False)
    chosen = Configuration.from_dict(config["config"])
    if any(excess > 0 for excess in admission(spec, data)(config["config"]).excess.values()):
        tune.report({"auc": SKIPPED})
        return
    task = tasks.create(spec.task, data)
    training = chosen.training
    torch.manual_seed(chosen.seed)
    model = build_model(
        chosen.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    optimizer = optimiser_of(model, training)
    images = TensorDataset(data.train.images[:], data.train.labels)
    loader = DataLoader(images, batch_size=training.batch_size, shuffle=True)
    mean = RunningMean(model, training.ema * len(loader))
    for epoch in range(training.epochs):
        if epoch > 0:
            mean.swap()
        model.train()
        for step, (x, y) in enumerate(loader):
            set_learning_rate(optimizer, learning_rate(epoch + (step + 0.5) / len(loader), training))
            x = augment(normalise(x, training.normalisation), training.augmentation)
            x, aims = mix_batch(x, y, None, training.augmentation)
            outputs = model(x)
            losses = [task.loss(outputs, aim, training.label_smoothing, share) for aim, share in aims]
            optimizer.zero_grad()
            sum(losses[1:], losses[0]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
            optimizer.step()
            mean.update()
        mean.swap()
        metrics = evaluate(model, data.val, task, normalisation=training.normalisation)
        tune.report({"auc": metrics["auc"]})


def suggest(spec: StudySpec, trial: Any) -> dict[str, Any]:
    return {"config": spec.sample(trial).to_dict()}


def stock(spec: StudySpec, seconds: float, folder: Path, log: Log) -> None:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    class Listener(tune.Callback):
        def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
            if result["auc"] != SKIPPED or result["training_iteration"] > 1:
                log(trial.trial_id, result["training_iteration"], result["auc"], trial.config["config"])

    given = [dict(params) for params in spec.first]
    search = OptunaSearch(
        partial(suggest, spec), metric="auc", mode="max", seed=spec.seed, points_to_evaluate=given or None
    )
    asha = ASHAScheduler(
        metric="auc", mode="max", max_t=spec.epochs, grace_period=spec.min_epochs, reduction_factor=spec.factor
    )
    ray.init(num_cpus=WORKERS, include_dashboard=False)
    tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, spec=spec), {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=search, scheduler=asha, num_samples=-1, time_budget_s=seconds - time.monotonic(),
            max_concurrent_trials=WORKERS,
        ),
        run_config=tune.RunConfig(storage_path=str(folder.absolute()), callbacks=[Listener()], verbose=0),
    ).fit()  # fmt: skip


def run_arm(arm: str, spec: StudySpec, minutes: float, folder: Path) -> None:
    """Search in this process, and write what happens when."""
    begin = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)  # of a search that was cut off
    folder.mkdir(parents=True)
    path = folder.with_suffix(".part")  # not kept open, because Ray Tune pickles what it is given
    path.write_text("")

    def log(trial: Any, epoch: int, value: float, config: dict[str, Any]) -> None:
        now = time.monotonic() - begin
        entry: dict[str, Any] = {"seconds": round(now, 2), "trial": trial, "epoch": epoch, "auc": value}
        if now < 60 * minutes:
            with path.open("a") as lines:
                lines.write(json.dumps(entry | ({"config": config} if epoch == spec.epochs else {})) + "\n")

    {"ours": ours, "stock": stock}[arm](spec, begin + 60 * minutes, folder, log)
    path.rename(folder.with_suffix(".jsonl"))


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def incumbents(events: list[dict[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """The fully trained trials that were better than all fully trained ones before them."""
    best: list[dict[str, Any]] = []
    for event in events:
        if event["epoch"] == epochs and (not best or event["auc"] > best[-1]["auc"]):
            best.append(event)
    return best


def test(config: dict[str, Any], spec: StudySpec, folder: Path, seeds: int) -> list[float]:
    """Train the configuration again with each seed and return the test AUCs. What is finished is not trained again."""
    torch.set_num_threads(1)
    seen = fingerprint(load(spec.data))
    aucs = []
    for seed in range(seeds):
        job = Retraining(0, {**config, "seed": seed}, Problem(source_to_dict(spec.data), spec.task), seen, str(folder))
        known = finished(job)
        *_, last = [known] if known else train_and_test(job)
        aucs.append(last["test"]["auc"])
    return aucs


def curves(runs: dict[str, list[list[dict[str, Any]]]], epochs: int, minutes: float) -> go.Figure:
    figure = go.Figure(layout={"template": "plotly_white", "width": 900, "height": 480})
    for colour, (arm, seeds) in zip(("#3b7dd8", "#e8710a"), runs.items(), strict=True):
        for n, events in enumerate(seeds):
            best = incumbents(events, epochs)
            figure.add_scatter(
                x=[e["seconds"] / 60 for e in best] + [minutes] * bool(best),
                y=[e["auc"] for e in best] + [e["auc"] for e in best[-1:]],
                mode="lines", line={"shape": "hv", "color": colour, "width": 2.5}, name=arm, showlegend=n == 0,
            )  # fmt: skip
    figure.update_xaxes(title="wall time, minutes", range=[0, minutes])
    figure.update_yaxes(title="validation AUC of the best fully trained network")
    return figure


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--minutes", type=float, default=30)
    p.add_argument("--seeds", type=int, default=1)
    p.add_argument("--at-once", action="store_true")
    p.add_argument("--given", action="store_true", help="begin with the study's given trials")
    p.add_argument("--preset", default="fair")
    p.add_argument("--images", type=int, default=4000)
    p.add_argument("--image-size", type=int, default=64)
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--fresh", type=int, default=3, help="seeds of the test")
    p.add_argument("--out", type=Path, default=Path("side_by_side"))
    p.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)  # runs in its own process
    p.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = load_study("hybrid")
    study = replace(
        study,
        data=Simulated(args.preset, args.images, args.image_size),
        trials=1_000_000,
        epochs=args.epochs,
        min_epochs=args.epochs // study.factor,
        first=study.first if args.given else (),
    )
    if args.arm:
        run_arm(args.arm, replace(study, seed=args.seed), args.minutes, args.out / f"{args.arm}-{args.seed}")
        return

    load(study.data)  # simulated once, before any clock runs
    for seed in range(args.seeds):
        running = []
        for arm in ARMS:
            if (args.out / f"{arm}-{seed}.jsonl").exists():
                continue
            options = [*sys.argv[1:], "--arm", arm, "--seed", str(seed)]
            running.append(subprocess.Popen([sys.executable, __file__, *options]))
            if not args.at_once:
                running[-1].wait()
        for process in running:
            process.wait()

    runs = {arm: [read(args.out / f"{arm}-{seed}.jsonl") for seed in range(args.seeds)] for arm in ARMS}
    table = []
    pool = ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"))
    tested = {
        (arm, seed): pool.submit(test, best[-1]["config"], study, args.out / f"retrained-{arm}-{seed}", args.fresh)
        for arm, seeds in runs.items()
        for seed, events in enumerate(seeds)
        if (best := incumbents(events, study.epochs))
    }
    for arm, seeds in runs.items():
        for seed, events in enumerate(seeds):
            row: dict[str, Any] = {"arm": arm, "seed": seed, "epochs": len(events)}
            row["trials"] = len({e["trial"] for e in events})
            row["fully_trained"] = sum(e["epoch"] == study.epochs for e in events)
            if best := incumbents(events, study.epochs):
                row["validation_auc"] = best[-1]["auc"]
                row["test_auc"] = tested[arm, seed].result()
            table.append(row)
            shown = [f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if k != "test_auc"]
            if "test_auc" in row:
                shown.append("test_auc " + ", ".join(f"{auc:.4f}" for auc in row["test_auc"]))
            print("  ".join(shown), flush=True)
    (args.out / "table.json").write_text(json.dumps(table, indent=1) + "\n")
    curves(runs, study.epochs, args.minutes).write_html(args.out / "curves.html", include_plotlyjs=True)


if __name__ == "__main__":
    main()
