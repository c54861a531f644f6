"""The engine's jobs on Ray Tune. Ray only executes: every decision and every record is the engine's.

One Ray trial is one *job*, not one trial of the study: a trial that pauses ends its Ray trial, and its promotion is a
new one that starts from our own checkpoint. So Ray never holds a paused trial, which would keep its run alive for
ever and fill its concurrency limit; its actors are reused from job to job and stay warm (process, imports, data).
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from nas.engine import Engine, Job
from nas.schedulers import Decision

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # csv, json and tensorboard files: 0.8 s a trial
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # Ray's own snapshots are never read
    "TUNE_MAX_PENDING_TRIALS_PG": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
os.environ.update({name: os.environ.get(name, value) for name, value in _QUIET.items()})

import ray  # noqa: E402  (reads the environment)
from ray import tune  # noqa: E402
from ray.tune.schedulers import FIFOScheduler, TrialScheduler  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402

from nas.trial import Problem, describe_failure, run_trial  # noqa: E402


class Worker(tune.Trainable):
    """One epoch of the current job per step; the process outlives the job."""

    def setup(self, config: dict[str, Any]) -> None:
        job, problem = json.loads(config["job"]), json.loads(config["problem"])
        self.job = Job(**job)
        self.epoch = self.job.start
        self.metrics: Iterator[dict[str, float]] = run_trial(self.job, Problem(**problem))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """An epoch's metrics, or why there are none. A broken device raises: Ray then renews the worker."""
        try:
            metrics = next(self.metrics)
        except Exception as error:
            if "CUDA error" in str(error):
                raise
            logging.getLogger("nas").debug("trial %d failed", self.job.trial, exc_info=True)
            return {"number": self.job.trial, "error": describe_failure(error)}
        self.epoch += 1
        return {"number": self.job.trial, "epoch": self.epoch, "metrics": metrics}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        return None

    def load_checkpoint(self, checkpoint: Any) -> None:
        return None


class _Detached:
    """Ray pickles its searcher and scheduler into snapshots that nobody reads; the engine does not go with them."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Ask(_Detached, Searcher):
    def __init__(self, engine: Engine, problem: Problem, jobs: dict[str, Job]) -> None:
        super().__init__()
        self.engine, self.jobs = engine, jobs
        self.problem = json.dumps(dataclasses.asdict(problem))

    def suggest(self, trial_id: str) -> Any:
        job = self.engine.next()
        if job is None:
            return Searcher.FINISHED if self.engine.done else None
        self.jobs[trial_id] = job
        return {"job": json.dumps(dataclasses.asdict(job)), "problem": self.problem}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        return None

    def save(self, checkpoint_path: str) -> None:
        return None

    def restore(self, checkpoint_path: str) -> None:
        return None


class _Tell(_Detached, FIFOScheduler):
    def __init__(self, engine: Engine, jobs: dict[str, Job]) -> None:
        super().__init__()
        self.engine, self.jobs = engine, jobs

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        job = self.jobs[trial.trial_id]
        if "error" in result:
            self.engine.fail(job.trial, result["error"])
            return TrialScheduler.STOP
        metrics = {name.removeprefix("metrics/"): v for name, v in result.items() if name.startswith("metrics/")}
        decision = self.engine.report(job.trial, result["epoch"], metrics)
        return TrialScheduler.CONTINUE if decision is Decision.CONTINUE else TrialScheduler.STOP

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        job = self.jobs[trial.trial_id]
        self.engine.fail(job.trial, f"the worker died: {_last_line(trial)}")


def _last_line(trial: Any) -> str:
    error = trial.get_error()
    return str(error).strip().splitlines()[-1] if error else "no reason known"


def start(workers: int) -> None:
    """Connect to the cluster that RAY_ADDRESS names, or start Ray on this machine with a CPU for each worker."""
    if not ray.is_initialized():
        local: dict[str, Any] = (
            {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
        )
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)


def search(engine: Engine, problem: Problem, *, workers: int, gpus_per_trial: float) -> None:
    """Run `engine` to its end, or until Ctrl-C: the study then holds what was reported, and it is not `done`."""
    start(workers)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    jobs: dict[str, Job] = {}
    with tempfile.TemporaryDirectory(prefix="nas-ray-") as scratch:
        tune.Tuner(
            tune.with_resources(Worker, {"cpu": 1, "gpu": gpus_per_trial}),
            tune_config=tune.TuneConfig(
                search_alg=_Ask(engine, problem, jobs),
                scheduler=_Tell(engine, jobs),
                num_samples=-1,
                max_concurrent_trials=workers,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch, verbose=0, failure_config=tune.FailureConfig(max_failures=0)
            ),
        ).fit()
