"""Whether a long search with faults stays as it is: memory, descriptors and leftovers over thousands of tiny trials.

    python benchmarks/soak.py --trials 2000

A share of the trials (5% by default) has a fault in its first epoch: it raises, its metric is not a number, it hangs,
its worker is killed, it is slow, or it needs much memory for a moment. Prints what the driver and the workers use as
the trials end, and by how much that has grown from the second quarter of the search to the last. Checks that every
trial has ended as its fault says.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import optuna
import psutil

from nas import schedulers
from nas.searching.engine import Engine
from nas.searching.jobs import Epoch, Event, Job
from nas.searching.study import admission, open_ledger
from nas.searching.work import Search
from nas.workers import checkpoints
from nas.workers.pool import work_through
from nas.workers.resources import Resources
from nas.workers.training import Problem, import_path
from nas.workers.trial import run_trial
from search_space import ToySpace
from studies import Configuration, StudySpec
from trainers.data import Simulated, load, source_to_dict

FAULTS = ("raises", "nan", "hangs", "killed", "slow", "memory")
FAILS = {"raises", "nan", "hangs"}  # the others are trained to their end
SLOW, PATIENCE = 3.0, 30.0  # seconds: of a slow epoch; until a trial counts as hung


def fault(trial: int, share: float) -> str:
    draw = random.Random(trial)
    return draw.choice(FAULTS) if draw.random() < share else ""


def run_faulty(job: Job, problem: Problem, share: float) -> Iterator[Epoch]:
    what = fault(job.trial, share)
    once = Path(problem.checkpoints) / f"{job.trial}-killed"
    for epoch in run_trial(job, problem):
        if epoch.number == 1:
            if what == "raises":
                raise ValueError("a fault")
            if what == "nan":
                epoch = replace(epoch, metrics={**epoch.metrics, "auc": float("nan")})
            if what == "killed" and not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            while what == "hangs":
                pass
            if what == "slow":
                time.sleep(SLOW)
            if what == "memory":
                np.ones(2**30, np.uint8)
        yield epoch


@dataclass
class Sample:
    trials: int
    seconds: float
    driver_mb: float
    worker_mb: float  # mean
    driver_files: int
    worker_files: float  # mean
    processes: int
    checkpoints: int
    folders: int  # temporary ones of ours
    study_mb: float


def measure(trials: int, begin: float, study: Path, kept: Path) -> Sample:
    driver = psutil.Process()
    workers = []
    children = driver.children(recursive=True)
    for child in children:
        try:
            if child.name().startswith("ray::"):
                workers.append((child.memory_info().rss / 2**20, child.num_fds()))
        except psutil.NoSuchProcess:
            continue
    memory, files = zip(*(sorted(workers)[-2:] or [(np.nan, np.nan)]), strict=True)  # the others wait for work
    return Sample(
        trials,
        time.monotonic() - begin,
        driver.memory_info().rss / 2**20,
        statistics.mean(memory),
        driver.num_fds(),
        statistics.mean(files),
        len(children),
        len(list(kept.glob("*"))),
        len(list(Path(tempfile.gettempdir()).glob(f"nas-*-{os.getpid()}-*"))),
        study.stat().st_size / 2**20,
    )


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=2000)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--faults", type=float, default=0.05, help="share of trials with one")
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spec = StudySpec(
        "soak", "?", space=ToySpace(), data=Simulated(images=60, image_size=16), epochs=6, min_epochs=2,
        sampler="random", first=(), baselines=(), trials=args.trials,
    )  # fmt: skip
    data = load(spec.data)
    samples: list[Sample] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept, database = Path(scratch) / "checkpoints", Path(scratch) / "study.db"
        kept.mkdir()
        begin, ended = time.monotonic(), 0

        def listen(event: Event) -> None:
            nonlocal ended
            if event.kind in ("complete", "pruned", "failed"):
                checkpoints.remove(kept, event.trial)
            if event.kind == "started" and event.trial and event.trial % max(args.trials // 100, 1) == 0:
                samples.append(measure(event.trial, begin, database, kept))

        engine = Engine(
            open_ledger(database, spec),
            schedulers.of_study(spec),
            sample=partial(spec.sample, image_size=data.image_size),
            record=Configuration.to_dict,
            trials=spec.trials,
            admit=admission(spec, data),
            checkpoint=partial(checkpoints.newest, kept),
            listen=listen,
        )
        problem = Problem(source_to_dict(spec.data), spec.task, checkpoints=str(kept), import_path=import_path())
        run = partial(run_faulty, problem=problem, share=args.faults)
        work_through(Search(engine), run, Resources("cpu", args.workers, 1, 0.0), patience=PATIENCE)
        trials = engine.ledger.study.get_trials()
        left = measure(len(trials), begin, database, kept)

    planned = {trial.number: fault(trial.number, args.faults) for trial in trials}
    wrong = [
        f"{t.number} ({planned[t.number] or 'no fault'}): {t.user_attrs.get('error', t.state.name)}"
        for t in trials
        if (t.state.name == "FAIL") != (planned[t.number] in FAILS)
    ]
    print(f"{len(trials)} trials in {left.seconds:.0f} s, states {dict(Counter(t.state.name for t in trials))}")
    print(f"faults {dict(Counter(filter(None, planned.values())))}; trials that ended otherwise than planned: {wrong}")
    names = list(asdict(left))
    print("| " + " | ".join(name.replace("_", " ") for name in names) + " |\n|" + "---|" * len(names))
    for sample in [*samples[:: max(len(samples) // 10, 1)], left]:
        print("| " + " | ".join(f"{value:.0f}" for value in asdict(sample).values()) + " |")
    quarter = len(samples) // 4
    for name in names[2:]:
        early, late = (
            statistics.mean(asdict(s)[name] for s in part)
            for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        print(f"{name:13} second quarter {early:8.1f}, last {late:8.1f}: {100 * (late / early - 1):+.1f}%")


if __name__ == "__main__":
    main()
