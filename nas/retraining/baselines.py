"""Train and test the baselines of a study on the images of a retraining.

Their results lie beside the runs, in `.baselines/<images>-<task>/`, and serve every run over the same images: networks
once for each number of epochs and each seed, trees once.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_limits

from nas.files import Busy, exclusive
from nas.retraining.job import NetworkResult, Retraining, finished
from nas.retraining.training import MAIN, train_and_test
from nas.words import baseline_name
from nas.workers import far
from nas.workers.training import open_problem
from studies import Configuration
from studies.baselines import network, training
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.data import joined
from trainers.evaluate import SYMMETRIES, metrics_of_views
from trainers.fitted import FITTED, fit_trees


@dataclass(frozen=True)
class BaselineTraining(Retraining):
    """One training of a baseline: of a network with one seed, or of trees."""

    baseline: str = ""

    @property
    def fitted(self) -> bool:
        return self.baseline in FITTED

    @property
    def epochs(self) -> int:
        return 0 if self.fitted else super().epochs

    @property
    def name(self) -> str:
        return baseline_name(self.baseline) + ("" if self.fitted else f", seed {self.seed}")

    @property
    def path(self) -> Path:
        kind = "fitted" if self.fitted else f"{self.epochs}-epochs"
        return Path(self.folder) / f"{self.baseline}-{kind}" / f"seed-{self.seed}"


def plan(names: Sequence[str], like: Retraining, seeds: int, folder: Path) -> list[BaselineTraining]:
    """Every training of the named baselines with the data, task and epochs of `like`. Trees need one seed only.

    The seeds are 0, 1, ..., whatever those of `like`: no configuration was chosen by them, and every run finds them.
    """
    task = re.sub(r"[^\w.]+", "-", str(like.problem.task))[:100]
    place = str(folder.absolute() / f"{like.fingerprint[:16]}-{task}")

    def one(name: str, config: dict[str, Any]) -> BaselineTraining:
        return BaselineTraining(like.trial, config, like.problem, like.fingerprint, place, baseline=name)

    return [
        one(name, {"fitted": name, **FITTED[name], "seed": 0})
        if name in FITTED
        else one(name, Configuration(network(name), training(name, like.epochs), seed).to_dict())
        for name in names
        for seed in range(1 if name in FITTED else seeds)
    ]


@contextmanager
def unfinished(jobs: Sequence[BaselineTraining], console: Console) -> Iterator[list[BaselineTraining]]:
    """Yield the jobs that are to be done, for this process alone; none of them while another retraining does some."""
    todo = [job for job in jobs if finished(job) is None]
    names = ", ".join(dict.fromkeys(baseline_name(job.baseline) for job in jobs))
    kept = f"; {len(jobs) - len(todo)} of {len(jobs)} trainings were finished before" if len(todo) < len(jobs) else ""
    if jobs:
        console.print(f"baselines (--no-baselines leaves them out): {names}{kept}")
    with ExitStack() as stack:
        try:
            if todo:
                stack.enter_context(exclusive(Path(todo[0].folder) / "lock", "taken"))
        except Busy:
            console.print("another retraining is training these baselines: run this again after it to compare with all")
            todo = []
        yield [job for job in todo if finished(job) is None]  # another may have finished some before the lock


def train_or_fit(job: Retraining) -> Iterator[dict[str, Any]]:
    """Do any job of a retraining in a worker: see `train_and_test`."""
    if isinstance(job, BaselineTraining) and job.fitted:
        return fit_and_test(job)
    return train_and_test(job)


def fit_and_test(job: BaselineTraining) -> Iterator[dict[str, Any]]:
    """Fit trees to the images that networks are trained on, and yield their test metrics as {"test": metrics}."""
    data, task = open_problem(job.problem)
    train, val, test = (task.select(split) for split in (data.train, data.val, data.test))
    start = time.perf_counter()
    with threadpool_limits(job.problem.threads):
        trees = fit_trees(job.baseline, train if task.with_sigma else joined(train, val), val, task)
        predicted = trees.predict(test.images)
    views = predicted.expand(len(SYMMETRIES), *predicted.shape)
    truth = task.targets(test).cpu()
    metrics = metrics_of_views(views, truth, task)
    record = {"key": job.key(), "seconds": time.perf_counter() - start, "test": metrics}
    with far.replaced(job.path) as folder:
        save_file({"predictions": views.contiguous()}, folder / "test.safetensors")
        (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    yield {"test": {name: metrics[name] for name in list(task.metrics(predicted, truth))[:MAIN]}}


def tested(job: Retraining, task: tasks.Task) -> NetworkResult:
    """The result of a finished job, without weights."""
    record = finished(job)
    assert record is not None
    predictions = load_file(job.path / "test.safetensors")["predictions"]
    return NetworkResult(job.seed, {}, predictions, record["test"], record["seconds"], Normalisation("zscore"), task)
