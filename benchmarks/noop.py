"""What the search itself costs in trials that train nothing: sampling, storage, notes, the engine's rest and Ray.

    python benchmarks/noop.py --trials 10000 --epochs 5

Runs a real search with the hybrid study's space, sampler, scheduler, SQLite and two workers on Ray Tune, except that an
epoch is a number made up from the configuration. The driver is one thread: the time that it does not spend in the
engine is Ray's dispatch and the wait for it. Prints figures for every thousand trials that have paused or ended.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna

from nas import schedulers
from nas.run_folder import RunFolder
from nas.searching.engine import Engine
from nas.searching.jobs import Admission, Epoch, Event, Job
from nas.searching.notes import Notes
from nas.searching.study import open_ledger
from nas.searching.work import Search
from nas.workers.pool import work_through
from nas.workers.resources import Resources
from studies import Configuration
from studies import load as load_study

STORAGE = ("start", "skip", "report", "annotate", "pause", "complete", "prune", "fail")


def nothing(job: Job) -> Generator[Epoch]:
    """Yield epochs without training. Their values follow from the configuration, so there is something to learn."""
    good = zlib.crc32(repr(sorted(job.config["training"].items(), key=str)).encode()) / 2**32
    for epoch in range(job.start, job.stop):
        yield Epoch(epoch + 1, {"auc": good * (1 - 0.5 ** (epoch + 1)), "seconds": 0.0})


class Clock:
    """Seconds spent in each kind of call."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def timed(self, kind: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.spent[kind] += time.perf_counter() - begin

        return wrapped


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=10_000)
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--workers", type=int, default=2)
    p.add_argument("--sampler", default=None)
    p.add_argument("--every", type=int, default=1000)
    args = p.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spec = replace(load_study("hybrid"), trials=args.trials, epochs=args.epochs, min_epochs=2, first=())
    spec = replace(spec, sampler=args.sampler or spec.sampler)
    clock = Clock()
    marks: list[tuple[int, float, dict[str, float]]] = []

    def listen(event: Event) -> None:
        notes(event)
        if event.kind in ("complete", "pruned", "failed", "paused"):
            seen[event.trial] = None
            if len(seen) % args.every == 0 and (not marks or len(seen) > marks[-1][0]):
                marks.append((len(seen), time.perf_counter(), dict(clock.spent)))
                show(marks)

    seen: dict[int, None] = {}
    with tempfile.TemporaryDirectory() as scratch:
        ledger: Any = open_ledger(Path(scratch) / "study.db", spec)
        ledger.ask = clock.timed("sampling", ledger.ask)
        for name in STORAGE:
            setattr(ledger, name, clock.timed("storage", getattr(ledger, name)))
        shape = {"channels": 1, "side": 64, "outputs": 3}
        rungs = schedulers.of_study(spec).rungs
        notes = clock.timed("notes", Notes(ledger, RunFolder(Path(scratch)), spec.objective, rungs, shape, print))
        engine: Any = Engine(
            ledger,
            schedulers.of_study(spec),
            sample=spec.sample,
            record=Configuration.to_dict,
            trials=spec.trials,
            admit=lambda config: Admission(),
            listen=listen,
        )
        engine.next = clock.timed("engine", engine.next)
        engine.report = clock.timed("engine", engine.report)
        print(
            f"{'trials':>8}{'ms a trial:':>12}{'sampling':>10}{'storage':>10}{'notes':>8}{'rest':>8}{'Ray':>8}",
            flush=True,
        )
        marks.append((0, time.perf_counter(), {}))
        work_through(Search(engine), nothing, Resources("cpu", args.workers, 1, 0.0))


def show(marks: list[tuple[int, float, dict[str, float]]]) -> None:
    (n0, t0, before), (n1, t1, now) = marks[-2:]
    each = {k: 1e3 * (now.get(k, 0) - before.get(k, 0)) / (n1 - n0) for k in ("sampling", "storage", "notes", "engine")}
    total = 1e3 * (t1 - t0) / (n1 - n0)
    rest = each["engine"] - each["sampling"] - each["storage"] - each["notes"]
    print(
        f"{n1:8}{total:12.1f}{each['sampling']:10.1f}{each['storage']:10.1f}{each['notes']:8.1f}{rest:8.1f}"
        f"{total - each['engine']:8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
