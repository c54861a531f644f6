"""The engine's jobs on Ray Tune. Ray only executes: every decision and every record is the engine's.

One Ray trial is one *worker*, alive for the whole search: process, imports, data set and device context are paid for
once. (A Ray trial for each of ours costs 0.1 to 1.9 s a trial, its actor cache drops workers whenever two of them
become free at once, and its bookkeeping grows with the trials.) Tune places the workers on CPUs and GPUs, renews those
that die and brings their results; what to do next, they take from the desk, a mailbox that the scheduler fills.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from nas.engine import Engine, Job
from nas.schedulers import Decision

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # csv, json and tensorboard files: 0.8 s a trial
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")  # Ray's own snapshots are never read

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from nas.ray_start import ray, start
from nas.trial import Problem, describe_failure, run_trial


@ray.remote(num_cpus=0)
class Desk:
    """A mailbox for each worker."""

    def __init__(self) -> None:
        self.boxes: dict[int, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    async def put(self, worker: int, order: str) -> None:
        await self.boxes[worker].put(order)

    async def take(self, worker: int) -> str:
        return await self.boxes[worker].get()


GO_ON, LEAVE = "go on", "leave"  # the orders beside a new job


class Worker(tune.Trainable):
    """Takes an order, answers with one result: an epoch's metrics, or why there are none, or that it is there."""

    def setup(self, config: dict[str, Any]) -> None:
        self.desk, self.number, self.problem = (
            config["desk"],
            config["worker"],
            Problem(**json.loads(config["problem"])),
        )
        self.trial: int | None = None
        self.epochs: Iterator[dict[str, float]] = iter(())
        self.greeted = False

    def step(self) -> dict[str, Any]:
        if not self.greeted:  # in the first life, and after a death in the middle of a job
            self.greeted = True
            return {"kind": "ready"}
        order = ray.get(self.desk.take.remote(self.number))
        if order == LEAVE:
            return {"kind": "left"}
        if order != GO_ON:
            job = Job(**json.loads(order))
            self.trial, self.epochs = job.trial, run_trial(job, self.problem)
        try:
            return {"kind": "epoch", "trial": self.trial, "metrics": next(self.epochs)}
        except Exception as error:
            if "CUDA error" in str(error):
                raise  # the device's context is lost: Ray renews the process
            self.epochs = iter(())
            return {"kind": "failed", "trial": self.trial, "reason": describe_failure(error)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None  # the checkpoints of trials are our own

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


class _Detached:
    """Ray pickles its searcher and scheduler into snapshots that nobody reads; the engine does not go with them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Hire(_Detached, Searcher):
    """Suggests the workers, one Ray trial each."""

    def __init__(self, workers: int, **config: Any) -> None:
        super().__init__()
        self.workers, self.hired, self.config = workers, 0, config

    def suggest(self, trial_id: str) -> Any:
        if self.hired == self.workers:
            return Searcher.FINISHED
        self.hired += 1
        return {"worker": self.hired - 1, **self.config}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        return None

    def save(self, checkpoint_path: str) -> None:
        return None

    def restore(self, checkpoint_path: str) -> None:
        return None


class _Conduct(_Detached, FIFOScheduler):
    """Takes the workers' results to the engine and its jobs to the desk."""

    def __init__(self, engine: Engine, desk: Any) -> None:
        super().__init__()
        self.engine, self.desk = engine, desk
        self.jobs: dict[int, Job] = {}  # worker -> what it is at
        self.epochs: dict[int, int] = {}  # worker -> epochs of its job's trial
        self.idle: list[int] = []
        self.error: Exception | None = None  # why the search cannot go on

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.error is None:
            try:
                return self._on_result(trial, result)
            except Exception as error:  # Ray would bury it in a TuneError; `search` raises it as it is
                self.error = error
                self._dismiss()
        return TrialScheduler.STOP

    def _on_result(self, trial: Any, result: dict[str, Any]) -> str:
        worker, kind = trial.config["worker"], result["kind"]
        if kind == "left":
            return TrialScheduler.STOP
        if kind == "epoch":
            self.epochs[worker] += 1
            metrics = {k.removeprefix("metrics/"): v for k, v in result.items() if k.startswith("metrics/")}
            if self.engine.report(result["trial"], self.epochs[worker], metrics) is Decision.CONTINUE:
                self.desk.put.remote(worker, GO_ON)
                return TrialScheduler.CONTINUE
            del self.jobs[worker]
        elif worker in self.jobs:
            reason = result["reason"] if kind == "failed" else "the worker process died (killed, or out of memory)"
            self.engine.fail(self.jobs.pop(worker).trial, reason)
        self.idle.append(worker)
        self._serve()
        return TrialScheduler.CONTINUE

    def _serve(self) -> None:
        while self.idle and (job := self.engine.next()) is not None:
            worker = self.idle.pop(0)
            self.jobs[worker], self.epochs[worker] = job, job.start
            self.desk.put.remote(worker, json.dumps(dataclasses.asdict(job)))
        if self.engine.done:
            self._dismiss()

    def _dismiss(self) -> None:
        for worker in self.idle:
            self.desk.put.remote(worker, LEAVE)
        self.idle.clear()


def search(engine: Engine, problem: Problem, *, workers: int, gpus_per_trial: float) -> None:
    """Run `engine` to its end, or until Ctrl-C: the study then holds what was reported, and it is not `done`."""
    start(workers)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    desk = Desk.remote()  # type: ignore[attr-defined]
    conduct = _Conduct(engine, desk)
    with tempfile.TemporaryDirectory(prefix="nas-ray-") as scratch:
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": 1, "gpu": gpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=_Hire(workers, desk=desk, problem=json.dumps(dataclasses.asdict(problem))),
                scheduler=conduct,
                num_samples=-1,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, failure_config=tune.FailureConfig(max_failures=50)
            ),
        ).fit()
    if conduct.error is not None:
        raise conduct.error
