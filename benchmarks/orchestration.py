"""What a trial and an epoch cost beyond training and evaluation.

    python benchmarks/orchestration.py --trials 60 --workers 2

Runs the hybrid study on small simulated images in a temporary folder and listens to the engine. An epoch's overhead is
the time between its end and the end of the previous epoch of the same trial, less the seconds of training and
evaluation in the worker. A job's overhead is the time from its hand-out to the end of its first epoch, less that epoch:
sampling, building, checkpoints, messages. The first job of each worker (imports, data) is listed separately.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna

from nas import schedulers
from nas.searching.engine import Engine
from nas.searching.jobs import Event
from nas.searching.optuna_private import attributes_of
from nas.searching.study import admission, open_ledger
from nas.searching.work import Search
from nas.workers import checkpoints
from nas.workers.pool import work_through
from nas.workers.resources import Resources
from nas.workers.training import Problem
from nas.workers.trial import run_trial
from studies import Configuration
from studies import load as load_study
from trainers.data import Simulated, load, source_to_dict


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=60)
    p.add_argument("--workers", type=int, default=2)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    spec = replace(load_study("hybrid"), data=Simulated(images=300, image_size=32), trials=args.trials)
    data = load(spec.data)
    events: list[tuple[float, Event]] = []
    with tempfile.TemporaryDirectory() as scratch:
        kept = Path(scratch) / "checkpoints"

        def listen(event: Event) -> None:
            events.append((time.perf_counter(), event))
            if event.kind in ("complete", "pruned", "failed"):
                checkpoints.remove(kept, event.trial)

        engine = Engine(
            open_ledger(Path(scratch) / "study.db", spec),
            schedulers.of_study(spec),
            sample=partial(spec.sample, image_size=data.image_size),
            record=Configuration.to_dict,
            trials=spec.trials,
            admit=admission(spec, data),
            listen=listen,
        )
        problem = Problem(source_to_dict(spec.data), spec.task, checkpoints=str(kept))
        begin = time.perf_counter()
        work_through(Search(engine), partial(run_trial, problem=problem), Resources("cpu", args.workers, 1, 0.0))
        trained = {
            t.number: found["history"]
            for t in engine.ledger.study.get_trials()
            if "history" in (found := attributes_of(t))
        }

    last: dict[int, float] = {}
    begun: set[int] = set()
    starts: list[float] = []
    between: list[float] = []
    for now, event in events:
        if event.kind in ("started", "resumed"):
            begun.add(event.trial)
        if event.kind == "epoch":
            gap = now - last[event.trial] - trained[event.trial][event.epoch - 1]["seconds"]
            (starts if event.trial in begun else between).append(gap)
            begun.discard(event.trial)
        last[event.trial] = now
    warm = starts[args.workers :]
    trials = len(trained) - args.workers
    overhead = (sum(warm) + sum(between)) / trials
    epochs, wall = len(starts) + len(between), last_epoch(events) - begin
    print(f"{len(trained)} trials, {len(starts)} jobs, {epochs} epochs, {wall:.1f} s")
    print(f"a worker's first job (process, imports, data): {', '.join(f'{s:.1f} s' for s in starts[: args.workers])}")
    print(f"a job on a warm worker, to its first epoch's end, less that epoch: median {statistics.median(warm):.3f} s")
    print(f"an epoch, less its training and evaluation: median {1e3 * statistics.median(between):.1f} ms")
    print(f"both together: {overhead:.3f} s per trial")


def last_epoch(events: list[tuple[float, Event]]) -> float:
    return max(now for now, event in events if event.kind == "epoch")


if __name__ == "__main__":
    main()
