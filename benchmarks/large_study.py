"""What a study of ten thousand trials costs: on the disk, to reopen, to ask, to report, and in memory.

    OMP_NUM_THREADS=1 python benchmarks/large_study.py --trials 10000 [--keep FOLDER]

Writes the study through the engine in virtual time: random configurations of the hybrid study, ten metrics an epoch,
notes. Pictures and networks are left out, which are no part of the database. With --keep, a study that is there already
is measured again instead. Every other figure is of a process of its own: processor seconds without imports, and by how
much its memory grew at most.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import numpy as np
import optuna

from nas import schedulers
from nas.reading import load_results
from nas.report.page import write_report
from nas.run_folder import RunFolder
from nas.searching.engine import Engine
from nas.searching.jobs import Admission, Event
from nas.searching.ledger import Ledger
from nas.searching.notes import Notes
from nas.searching.server import place_study
from nas.searching.simulate import simulate
from nas.searching.study import open_ledger
from studies import Configuration, StudySpec
from studies import load as load_study

WORKERS = 8
SHAPE = {"channels": 1, "side": 64, "outputs": 3}
MEASURED = ("auc", "train_loss", "accuracy", "loss", "ap", "mcc", "ece", "brier", "seconds", "peak_memory_mb")
TURNED = ("turned_auc", "turned_accuracy", "turned_loss", "auc_d4_mean", "auc_d4_worst", "auc_d4_views")


def spec_of(trials: int) -> StudySpec:
    return replace(load_study("hybrid"), trials=trials, first=())


def engine_of(ledger: Ledger, spec: StudySpec, listen: Callable[[Event], None] = lambda event: None) -> Engine:
    return Engine(
        ledger,
        schedulers.of_study(spec),
        sample=spec.sample,
        record=Configuration.to_dict,
        trials=spec.trials,
        admit=lambda config: Admission({"parameters": crc(config) % 4_000_000, "macs": crc(config) % 90_000_000}),
        listen=listen,
    )


def crc(config: dict[str, Any]) -> int:
    return zlib.crc32(repr(config).encode())


def curve(config: dict[str, Any]) -> list[float]:
    """The objective after each of twelve epochs; its end follows from the rate and the number of stages."""
    rate, stages = config["training"]["learning_rate"], len(config["architecture"]["stages"])
    noise = crc(config) / 2**32
    end = 0.9 - 0.1 * (np.log10(rate) + 2.5) ** 2 - 0.02 * abs(stages - 3) - 0.1 * noise
    return (0.5 + (end - 0.5) * (1 - np.exp(-np.arange(1, 13) / 4))).tolist()


def write(run: RunFolder, trials: int) -> None:
    """Search in virtual time. What a worker would report beside the objective is drawn at random."""
    rng, spec = np.random.default_rng(0), spec_of(trials)
    run.path.mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(run.database, replace(spec, sampler="random"))
    ledger.study.set_user_attr("spec", {**ledger.study.user_attrs["spec"], "sampler": spec.sampler})
    last = schedulers.of_study(spec).rungs[-1]
    notes = Notes(ledger, run, spec.metric, schedulers.of_study(spec).rungs, SHAPE, print)
    ledger.attach = lambda *args: None  # type: ignore[method-assign]

    def listen(event: Event) -> None:
        if event.kind == "complete" and event.trial % 50:
            event = replace(event, kind="pruned")  # pictures take longer than all the rest: only some are drawn
        notes(event)

    engine = engine_of(ledger, spec, listen)
    report = engine.report

    def reported(number: int, epoch: int, metrics: Any) -> Any:
        names = MEASURED + TURNED if epoch == last else MEASURED
        return report(number, epoch, dict(zip(names, map(float, rng.random(len(names))), strict=True)) | metrics)

    engine.report = reported  # type: ignore[method-assign, assignment]
    for _ in simulate(engine, curve, workers=WORKERS):
        pass
    engine.close()


def reopen(run: RunFolder, trials: int) -> Ledger:
    return open_ledger(run.database, spec_of(trials))


def resume(run: RunFolder, trials: int) -> None:
    """What a second start does before the first new trial, without the images and Ray."""
    spec, ledger = spec_of(trials + 1000), reopen(run, trials + 1000)
    Notes(ledger, run, spec.metric, schedulers.of_study(spec).rungs, SHAPE, print)
    engine_of(ledger, spec).next()


def read(run: RunFolder, trials: int) -> None:
    load_results(run.path)


def report(run: RunFolder, trials: int) -> None:
    write_report(load_results(run.path), run.report)


def dashboard(run: RunFolder, trials: int) -> str:
    """The first answer to a browser that opens the study."""
    from optuna_dashboard import wsgi

    from nas.searching.storage import open_storage

    environment = {"PATH_INFO": "/api/studies/1", "QUERY_STRING": "after=0"}
    setup_testing_defaults(environment)
    body = b"".join(wsgi(open_storage(run.database))(environment, lambda *status: None))
    return f"an answer of {len(body) / 1e6:.1f} MB"


def measured(step: Callable[..., Any], run: RunFolder, trials: int) -> tuple[float, float, str]:
    """Processor seconds, growth of memory in MB, and what the step returned if that is text."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    before, begin = peak(), time.process_time()
    said = step(run, trials)
    return time.process_time() - begin, peak() - before, said if isinstance(said, str) else ""


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=10_000)
    p.add_argument("--keep", type=Path, help="folder of the study (default: a temporary one)")
    p.add_argument("--steps", nargs="+", default=["reopen", "resume", "read", "report", "dashboard"])
    p.add_argument("--storage", help="of the study: a new database on a PostgreSQL server")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run = RunFolder((args.keep or Path(scratch)) / "hybrid")
        begun = run.database.exists()
        place_study(run, args.storage, spec_of(args.trials).name)
        if not begun:
            spent, grown, _ = apart(write, run, args.trials)
            print(f"written    {1e3 * spent / args.trials:6.1f} ms and {1024 * grown / args.trials:6.1f} kB a trial")
        print(f"database   {run.database.stat().st_size / 1e6:6.1f} MB")
        for name in args.steps:
            spent, grown, said = apart(globals()[name], run, args.trials)
            print(f"{name:10} {spent:6.1f} s  {grown:6.0f} MB  {said}", flush=True)
        print(f"report     {run.report.stat().st_size / 1e6:6.1f} MB" if run.report.exists() else "")


def apart(step: Callable[..., Any], run: RunFolder, trials: int) -> tuple[float, float, str]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measured, (step, run, trials))


if __name__ == "__main__":
    main()
