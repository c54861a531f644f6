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

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from nas.atomic import replacing
from nas.export import own
from nas.trial import resident
from search_space import build_model
from studies import Configuration
from trainers import tasks
from trainers.data import Dataset, Split
from trainers.evaluate import outputs
from trainers.fit import fit
from trainers.normalise import Normalisation, resolve


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

    @property
    def seed(self) -> int:
        return int(self.config["seed"])

    @property
    def path(self) -> Path:
        return Path(self.folder) / f"trial-{self.trial}" / f"seed-{self.seed}"

    def key(self) -> dict[str, Any]:
        """What the result depends on. A folder whose record has the same key need not be trained again."""
        key = {"config": self.config, "task": self.task, "data": self.fingerprint}
        return cast("dict[str, Any]", json.loads(json.dumps(key)))


@dataclass(frozen=True)
class Retrained:
    """What a finished retraining left."""

    seed: int
    weights: dict[str, Tensor]
    outputs: Tensor  # (N, num_outputs) float32, raw, on the N test images
    metrics: dict[str, float]  # on the test images
    seconds: float
    normalisation: Normalisation
    sparsity: float = 0.0  # measured, of what trainers.prune prunes
    nonzero: int | None = None  # parameters of the whole network; None: a record from before they were counted


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
    images = joined(data.train, data.val)
    normalisation = resolve(config.training, images.images)
    for epoch in fit(model, images, task, config.training, seed=config.seed, device=job.device):
        history.append({"epoch": epoch.number, **epoch.metrics})
        yield history[-1]

    predicted = outputs(model, data.test.images, normalisation=normalisation, device=job.device)
    if not torch.isfinite(predicted).all():
        raise FloatingPointError("the network's outputs on the test images are not finite")
    metrics = task.metrics(predicted, task.targets(data.test).cpu())
    record = {
        "key": job.key(),
        "seconds": sum(entry["seconds"] for entry in history),
        "normalisation": normalisation.to_json(),
        "test": metrics,
        "sparsity": history[-1].get("sparsity", 0.0),
        "nonzero": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "history": history,
    }
    with replacing(job.path) as folder:
        save_file(own(model.state_dict()), folder / "model.safetensors")
        save_file({"outputs": predicted.contiguous()}, folder / "test.safetensors")
        (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    yield {"test": metrics}


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
        load_file(job.path / "test.safetensors")["outputs"],
        record["test"],
        record["seconds"],
        Normalisation.from_json(record.get("normalisation", job.config["training"]["normalisation"])),
        record.get("sparsity", 0.0),
        record.get("nonzero"),
    )


class _Joined:
    """The images of two splits as one, indexed without copying either: a data set may be larger than memory."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second, self.device = first, second, first.device

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, index: Tensor) -> Tensor:
        images = self.first.new_empty(len(index), *self.first.shape[1:])
        early = index < len(self.first)
        images[early] = self.first[index[early]]
        images[~early] = self.second[index[~early] - len(self.first)]
        return images


def joined(first: Split, second: Split) -> Split:
    """Two splits as one to train on."""
    return Split(
        images=cast(Tensor, _Joined(first.images, second.images)),
        labels=torch.cat([first.labels, second.labels]),
        targets={name: torch.cat([first.targets[name], second.targets[name]]) for name in first.targets},
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
