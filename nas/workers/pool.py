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
import uuid
from collections import defaultdict
from collections.abc import Callable, Generator
from typing import Any

from nas.schedulers import Decision
from nas.searching.engine import Engine, Job, SearchFailed

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # csv, json and tensorboard files: 0.8 s a trial
os.environ.setdefault("TUNE_DISABLE_STRICT_METRIC_CHECKING", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "1000000")  # Ray's own snapshots are never read

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from nas.workers.ray_start import ray, start
from nas.workers.trial import Problem, describe_failure, run_trial


@ray.remote(num_cpus=0)
class Desk:
    """A mailbox for each life of a worker, so that nobody takes the orders of a process that died."""

    def __init__(self) -> None:
        self.boxes: dict[str, asyncio.Queue[str]] = defaultdict(asyncio.Queue)

    async def put(self, life: str, order: str) -> None:
        await self.boxes[life].put(order)

    async def take(self, life: str) -> str:
        return await self.boxes[life].get()


Run = Callable[[Job, Problem], Generator[dict[str, float]]]
GO_ON, LEAVE = "go on", "leave"  # the orders beside a new job
DEATH = "the worker process died (killed, perhaps for want of memory)"


class Worker(tune.Trainable):
    """Takes an order, answers with one result: an epoch's metrics, or why there are none, or that it is there."""

    def setup(self, config: dict[str, Any]) -> None:
        self.desk, self.problem = config["desk"], Problem(**json.loads(config["problem"]))
        self.run: Run = config["run"]
        self.life = uuid.uuid4().hex
        self.order = self.desk.take.remote(self.life)  # asked ahead: it arrives while the last epoch is dealt with
        self.greeted = self.broken = False
        self.job: Job | None = None
        self.epochs: Generator[dict[str, float]] | None = None

    def step(self) -> dict[str, Any]:
        if self.broken:
            raise RuntimeError("the device's context is lost; Ray renews the process")
        if not self.greeted:
            self.greeted = True
            return {"kind": "ready", "life": self.life}
        order = ray.get(self.order)
        if order == LEAVE:
            return {"kind": "left"}
        self.order = self.desk.take.remote(self.life)
        if order != GO_ON:
            self.job = Job(**json.loads(order))
            self.epochs, self.epoch = self.run(self.job, self.problem), self.job.start
        assert self.job is not None
        assert self.epochs is not None
        try:
            metrics = next(self.epochs)
        except Exception as error:
            self.epochs = None
            self.broken = "CUDA error" in str(error)
            kind = "broken" if self.broken else "failed"
            return {"kind": kind, "trial": self.job.trial, "reason": describe_failure(error)}
        self.epoch += 1
        if self.epoch == self.job.stop:
            self.epochs.close()  # an idle worker holds no network
        return {"kind": "epoch", "trial": self.job.trial, "epoch": self.epoch, "metrics": metrics}

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

    def __init__(self, engine: Engine, desk: Any, workers: int) -> None:
        super().__init__()
        self.engine, self.desk = engine, desk
        self.lives: dict[int, str] = {}  # worker -> the life it is in
        self.jobs: dict[int, Job] = {}  # worker -> what it is at
        self.idle: list[int] = []
        self.left = workers
        self.error: Exception | None = None  # why the search cannot go on

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        if self.error is None and result["kind"] != "left":
            return self._guarded(self._on_result, trial.config["worker"], result)
        return TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """A worker died. Ray renews it, unless it never got as far as to start or has died too often."""
        lost = trial.status == trial.PENDING or not trial.should_recover()
        self._guarded(self._on_death, trial.config["worker"], str(trial.get_error() or DEATH) if lost else None)

    def _guarded(self, react: Callable[[int, Any], None], worker: int, what: Any) -> str:
        try:
            react(worker, what)
        except Exception as error:  # Ray would bury it in a TuneError; `search` raises it
            self.error = error
            self._dismiss()
            return TrialScheduler.STOP
        return TrialScheduler.CONTINUE

    def _on_result(self, worker: int, result: dict[str, Any]) -> None:
        if result["kind"] == "ready":  # its first life, or a new one after a death
            self.lives[worker] = result["life"]
        elif result["kind"] == "epoch":
            metrics = {k.removeprefix("metrics/"): v for k, v in result.items() if k.startswith("metrics/")}
            if self.engine.report(result["trial"], result["epoch"], metrics) is Decision.CONTINUE:
                self.desk.put.remote(self.lives[worker], GO_ON)
                return
            del self.jobs[worker]
        else:
            self._fail(worker, result["reason"])
        if result["kind"] != "broken":  # else it is about to be renewed, and will say so
            self.idle.append(worker)
        self._serve()

    def _on_death(self, worker: int, lost: str | None) -> None:
        self._fail(worker, DEATH)
        self.idle = [other for other in self.idle if other != worker]
        self.left -= lost is not None
        if not self.left:
            raise SearchFailed(f"no worker is left; the last one ended with: {lost}")
        self._serve()  # what it was at may have been the last thing running

    def _fail(self, worker: int, reason: str) -> None:
        if worker in self.jobs:
            self.engine.fail(self.jobs.pop(worker).trial, reason)

    def _serve(self) -> None:
        while self.idle and (job := self.engine.next()) is not None:
            worker = self.idle.pop(0)
            self.jobs[worker] = job
            self.desk.put.remote(self.lives[worker], json.dumps(dataclasses.asdict(job)))
        if self.engine.done:
            self._dismiss()

    def _dismiss(self) -> None:
        for worker in self.idle:
            self.desk.put.remote(self.lives[worker], LEAVE)
        self.idle.clear()


def search(engine: Engine, problem: Problem, *, workers: int, gpus_per_trial: float, run: Run = run_trial) -> None:
    """Run `engine` to its end, or until Ctrl-C: the study then holds what was reported, and it is not `done`.

    `run(job, problem)` yields the metrics of each epoch of a job, in a worker.
    """
    start(workers)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    desk = Desk.remote()  # type: ignore[attr-defined]
    conduct = _Conduct(engine, desk, workers)
    with tempfile.TemporaryDirectory(prefix="nas-ray-") as scratch:
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": 1, "gpu": gpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=_Hire(workers, desk=desk, problem=json.dumps(dataclasses.asdict(problem)), run=run),
                scheduler=conduct,
                num_samples=-1,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, failure_config=tune.FailureConfig(max_failures=50)
            ),
        ).fit()
    if isinstance(conduct.error, SearchFailed):
        raise conduct.error
    if conduct.error is not None:
        raise RuntimeError("the search broke off") from conduct.error
