"""One retraining, as it runs in a worker: train and validation images together, then one look at the test split.

What it leaves is a folder `trial-<number>/seed-<seed>/` with the weights, the outputs on the test images and a record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.files import replacing
from nas.models.export import own
from nas.workers.trial import resident
from search_space import build_model
from studies import Configuration
from trainers import tasks
from trainers.batch.normalise import Normalisation, resolve
from trainers.data import Dataset, Split, joined
from trainers.evaluate import SYMMETRIES, metrics_of_views, predictions
from trainers.fit import fit
from trainers.regression import Regression
from trainers.tasks import Task

MAIN = 3  # metrics told first
FORMAT = 2  # of the record: an older one lacks the symmetries


@dataclass(frozen=True)
class Retraining:
    trial: int
    config: Mapping[str, Any]  # of `Configuration`, with this training's own seed
    task: str
    data: Mapping[str, Any]  # a data source, as JSON data
    fingerprint: str  # of the images and labels behind it
    folder: str
    device: str = "cpu"
    threads: int = 1
    images: int | None = None  # to train on, of all; None: all

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def name(self) -> str:
        few = "" if self.images is None else f", {self.images} images"
        return f"trial {self.trial}, seed {self.seed}{few}"

    @property
    def path(self) -> Path:
        few = "" if self.images is None else f"-images-{self.images}"
        return Path(self.folder) / f"trial-{self.trial}" / f"seed-{self.seed}{few}"

    def key(self) -> dict[str, Any]:
        """What the result depends on. A folder whose record has the same key need not be trained again."""
        key: dict[str, Any] = {"format": FORMAT, "config": self.config, "task": self.task, "data": self.fingerprint}
        if self.images is not None:
            key["images"] = self.images
        return cast("dict[str, Any]", json.loads(json.dumps(key)))


@dataclass(frozen=True)
class Retrained:
    """What a finished retraining left."""

    seed: int
    weights: dict[str, Tensor]
    predictions: Tensor  # (8, N, ...) float64, what the task predicts of the N test images under each symmetry
    metrics: dict[str, float]  # all there are, on the test images as they are
    seconds: float
    normalisation: Normalisation
    task: Task  # as calibrated
    sparsity: float = 0.0  # measured, of what trainers.prune prunes
    nonzero: int | None = None  # parameters of the whole network


def retrain(job: Retraining) -> Iterator[dict[str, Any]]:
    """Train to the full budget, yielding each epoch's metrics; the last item is the test's: {"test": metrics}.

    No validation, no early stopping: the weights are those of the last epoch. The test images are read once, after it.
    """
    torch.set_num_threads(job.threads)
    data = resident(tuple(sorted(job.data.items())), job.device)
    task = tasks.load(job.task, data)
    config = Configuration.from_dict(job.config)
    torch.manual_seed(config.seed)
    model = build_model(
        config.architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
    )
    history = []
    train, val, test = (task.select(split) for split in (data.train, data.val, data.test))
    # Standard deviations are scaled by errors on images that the network has not seen.
    images = train if task.with_sigma else joined(train, val)
    if job.images is not None:
        images = images.rows(first_images(task.targets(images), task.classifies, job.images))
    normalisation = resolve(config.training, images.images)
    for epoch in fit(model, images, task, config.training, seed=config.seed, device=job.device):
        history.append({"epoch": epoch.number, **epoch.metrics})
        yield history[-1]

    def predicted(split: Split, symmetry: int = 0) -> Tensor:
        return predictions(model, split, task, normalisation=normalisation, device=job.device, symmetry=symmetry)

    if task.with_sigma:
        assert isinstance(task, Regression)
        task = task.calibrated(predicted(val), task.targets(val).cpu())
    seen = torch.stack([predicted(test, k) for k in SYMMETRIES])
    truth = task.targets(test).cpu()
    metrics = metrics_of_views(seen, truth, task)
    record = {
        "key": job.key(),
        "seconds": sum(entry["seconds"] for entry in history),
        "normalisation": normalisation.to_json(),
        "task": tasks.to_record(job.task, task),
        "test": metrics,
        "sparsity": history[-1].get("sparsity", 0.0),
        "nonzero": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "history": history,
    }
    with replacing(job.path) as folder:
        save_file(own(model.state_dict()), folder / "model.safetensors")
        save_file({"predictions": seen.contiguous()}, folder / "test.safetensors")
        (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    yield {"test": {name: metrics[name] for name in list(task.metrics(seen[0], truth))[:MAIN]}}


def first_images(targets: Tensor, classifies: bool, count: int) -> Tensor:
    """Rows of `count` of the images with these targets, (count,): fewer are among more, classes keep their shares."""
    if not 0 < count <= len(targets):
        raise ValueError(f"{count} images to train on were asked for; there are {len(targets)}")
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(targets)))
    if classifies:
        labels = targets[order].cpu()
        place = torch.empty(len(labels))
        for k in labels.unique():  # each class's images evenly spaced over the whole
            of_class = (labels == k).nonzero()[:, 0]
            place[of_class] = (torch.arange(len(of_class)) + 0.5) / len(of_class)
        order = order[place.argsort(stable=True)]
    return order[:count]


def finished(job: Retraining) -> dict[str, Any] | None:
    """The record of `job` if it was trained before: same configuration, task, data and epochs. None otherwise."""
    try:
        record = json.loads((job.path / "record.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return cast("dict[str, Any]", record) if record["key"] == job.key() else None


def result(job: Retraining) -> Retrained:
    record = finished(job)
    assert record is not None
    return Retrained(
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


def fingerprint(data: Dataset) -> str:
    """Hash of every image, label, target and class name: what tells whether a retraining saw the same data."""
    digest = hashlib.sha256(json.dumps(data.classes).encode())
    for split in (data.train, data.val, data.test):
        digest.update(f"{tuple(split.images.shape)} {split.images.dtype}".encode())
        for values in (split.labels, *(split.targets[name] for name in sorted(split.targets))):
            digest.update(values.numpy().tobytes())
        for image in split.images:
            digest.update(image.numpy().tobytes())
    return digest.hexdigest()
