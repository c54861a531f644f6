"""One retraining: what its result depends on, where the result is stored, and how it is read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file
from torch import Tensor

from nas.files import write_text
from nas.retraining.start import Start
from nas.workers.training import Problem
from trainers import tasks
from trainers.batch.normalise import Normalisation
from trainers.data import Dataset
from trainers.evaluate import metrics_of_views
from trainers.tasks import Task

FORMAT = 2  # of the record; format 1 lacks the symmetries


@dataclass(frozen=True)
class Retraining:
    trial: int
    config: Mapping[str, Any]  # a `Configuration` as a dict, with this training's own seed
    problem: Problem
    fingerprint: str  # of the problem's data
    folder: str
    images: int | None = None  # the number to train on; None: all
    variant: str = ""  # names what overrides the search's own training, so that the results of both are kept
    held_out: bool = False  # keep the validation images out of the training, and predict them instead of the test's
    start: Start | None = None  # None: from scratch

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def epochs(self) -> int:
        return int(self.config["training"]["epochs"])

    @property
    def name(self) -> str:
        size = "" if self.images is None else f", {self.images} images"
        return f"trial {self.trial}, seed {self.seed}{size}{', validation held out' * self.held_out}"

    @property
    def path(self) -> Path:
        size = "" if self.images is None else f"-images-{self.images}"
        name = f"seed-{self.seed}{self.variant}{size}{'-held-out' * self.held_out}"
        return Path(self.folder) / f"trial-{self.trial}" / name

    @property
    def checkpoints(self) -> Path:
        """A folder for the states of an unfinished training."""
        return self.path.with_name(f".{self.path.name}.checkpoints")

    def key(self) -> dict[str, Any]:
        """Everything that the result depends on. A record with the same key need not be trained again."""
        key: dict[str, Any] = {
            "format": FORMAT, "config": self.config, "task": tasks.to_json(self.problem.task), "data": self.fingerprint
        }  # fmt: skip
        if self.images is not None:
            key |= {"images": self.images, "subset": "of the seed, repeated"}  # before: one for all seeds, fewer steps
        if self.held_out:
            key["held_out"] = True
        if self.start is not None:
            key["start"] = {"place": self.start.place, "head": self.start.keep_head, "weights": self.start.content}
        return cast("dict[str, Any]", json.loads(json.dumps(key)))


@dataclass(frozen=True)
class NetworkResult:
    """The result of a finished retraining."""

    seed: int
    weights: dict[str, Tensor]
    predictions: Tensor  # (8, N, ...) float64, the task's predictions for the N test images under each symmetry
    metrics: dict[str, float]  # every test metric, with those over the symmetries
    seconds: float
    normalisation: Normalisation
    task: Task  # calibrated
    sparsity: float = 0.0  # as measured, of the weights that trainers.prune may prune
    nonzero: int | None = None  # parameters of the whole network


def finished(job: Retraining) -> dict[str, Any] | None:
    """The record of `job` if it was trained before with the same configuration, task and data; else None."""
    try:
        record = json.loads((job.path / "record.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return cast("dict[str, Any]", record) if record["key"] == job.key() else None


def result(job: Retraining) -> NetworkResult:
    record = finished(job)
    assert record is not None
    return NetworkResult(
        job.seed,
        load_file(job.path / "model.safetensors"),
        load_file(job.path / "test.safetensors")["predictions"],
        record["test"],
        record["seconds"],
        Normalisation.from_json(record["normalisation"]),
        tasks.from_record(record["task"]),
        record["sparsity"],
        record["nonzero"],
    )


def remeasured(network: NetworkResult, truth: Tensor) -> NetworkResult:
    """The result with every test metric of today: the record of an earlier version lacks some."""
    return replace(network, metrics=metrics_of_views(network.predictions, truth, network.task))


def held_out_predictions(job: Retraining) -> Tensor | None:
    """The predictions (8, N, ...) for the validation images under each symmetry, if `job` did not train on these."""
    file = job.path / "validation.safetensors"
    return load_file(file)["predictions"] if finished(job) is not None and file.is_file() else None


def fingerprint(data: Dataset) -> str:
    """Hash every image, label, target and class name, to recognise a retraining on the same data."""
    digest = hashlib.sha256(json.dumps(data.classes).encode())
    for split in (data.train, data.val, data.test):
        digest.update(f"{tuple(split.images.shape)} {split.images.dtype}".encode())
        for values in (split.labels, *(split.targets[name] for name in sorted(split.targets))):
            digest.update(values.numpy().tobytes())
        for row in range(len(split)):
            digest.update(split.images[row : row + 1].numpy().tobytes())
    return digest.hexdigest()


def known_fingerprint(data: Dataset) -> str:
    """The fingerprint of a data set as it was opened. It stays beside its folder in the cache, which never changes."""
    file = data.folder.with_name(f"{data.folder.name}.fingerprint") if data.folder else None
    if file and file.is_file():
        return file.read_text()
    digest = fingerprint(data)
    if file:
        with suppress(OSError):  # a cache that is only read
            write_text(file, digest)
    return digest
