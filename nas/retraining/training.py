"""One retraining in a worker: train on training and validation images together, then read the test split once.

It writes a folder `trial-<number>/seed-<seed>/` with the weights, the predictions for the test images and a record.
Where the validation images are held out, their predictions are there too, or in place of those for the test images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from nas.errors import UserError
from nas.models.export import independent
from nas.retraining.job import Retraining
from nas.retraining.start import begin
from nas.workers import checkpoints, far
from nas.workers.training import set_up
from trainers import tasks
from trainers.batch.normalise import resolve
from trainers.data import Split, joined
from trainers.evaluate import SYMMETRIES, metrics_of_views, predictions
from trainers.fit import fit
from trainers.regression import Regression

MAIN = 3  # metrics shown first


def train_and_test(job: Retraining) -> Iterator[dict[str, Any]]:
    """Train to the full budget and yield the metrics of each epoch, then those of the test as {"test": metrics}.

    The network starts from its seed, or from the weights of a model. There is no validation and no early stopping: the
    weights are those of the last epoch. After it, the test images are read once under each symmetry; if `job.held_out`,
    the validation images instead, as {"validation": metrics}. An interrupted training goes on from its last checkpoint.
    """
    training = set_up(job.config, job.problem)
    data, task, model, device = training.data, training.task, training.model, training.device
    if job.start is not None:
        begin(model, job.start, task)
    train, val, test = (task.select(split) for split in (data.train, data.val, data.test))
    # Standard deviations are scaled to the errors on validation images, so the network must not see these.
    held_out = task.with_sigma or job.held_out
    images = train if held_out else joined(train, val)
    if job.images is not None:
        some = first_images(task.targets(images), task.classifies, job.images, job.seed)
        images = images.rows(repeated(some, len(images)))
    config = training.config
    normalisation = resolve(config.training, images.images)
    state, history = begun(job)
    clock = checkpoints.Clock()
    for epoch in fit(model, images, task, config.training, seed=config.seed, device=device, state=state):
        history.append({"epoch": epoch.number, **epoch.metrics})
        if epoch.number < config.training.epochs and clock.due:
            with clock.saving():
                kept = {"key": json.dumps(job.key()), "history": history, "training": epoch.state()}
                checkpoints.save(job.checkpoints, 0, {"epoch": epoch.number, **kept})
        yield history[-1]

    def predicted(split: Split, symmetry: int = 0) -> Tensor:
        return predictions(model, split, task, normalisation=normalisation, device=device, symmetry=symmetry)

    if task.with_sigma:
        assert isinstance(task, Regression)
        task = task.calibrated(predicted(val), task.targets(val).cpu())
    splits = {"validation": val} if held_out else {}
    splits |= {} if job.held_out else {"test": test}
    views = {name: torch.stack([predicted(split, k) for k in SYMMETRIES]) for name, split in splits.items()}
    measured = "validation" if job.held_out else "test"
    truth = task.targets(splits[measured]).cpu()
    metrics = metrics_of_views(views[measured], truth, task)
    record = {
        "key": job.key(),
        "seconds": sum(entry["seconds"] for entry in history),
        "normalisation": normalisation.to_json(),
        "task": tasks.to_record(job.problem.task, task),
        measured: metrics,
        "sparsity": history[-1].get("sparsity", 0.0),
        "nonzero": sum(int(parameter.count_nonzero()) for parameter in model.parameters()),
        "history": history,
    }
    with far.replaced(job.path) as folder:
        save_file(independent(model.state_dict()), folder / "model.safetensors")
        for name, tensor in views.items():
            save_file({"predictions": tensor.contiguous()}, folder / f"{name}.safetensors")
        (folder / "record.json").write_text(json.dumps(record, indent=1) + "\n")
    far.removed(job.checkpoints)
    yield {measured: {name: metrics[name] for name in list(task.metrics(views[measured][0], truth))[:MAIN]}}


def begun(job: Retraining) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The state from which an interrupted `job` goes on, None if it starts afresh, and the history so far."""
    newest = checkpoints.newest(job.checkpoints, 0, job.epochs)
    if newest:
        kept = checkpoints.load(job.checkpoints, 0, newest)
        if kept["key"] == json.dumps(job.key()):
            return kept["training"], kept["history"]
    return None, []


def repeated(rows: Tensor, total: int) -> Tensor:
    """The rows as often as needed for `total`, so that a training on fewer images has as many steps as one on all."""
    return rows.repeat(-(-total // len(rows)))[:total]


def first_images(targets: Tensor, classifies: bool, count: int, seed: int) -> Tensor:
    """Choose the rows of `count` images, (count,), other ones for every seed.

    Of one seed, larger sets contain the smaller. Classes keep their shares.
    """
    if not 0 < count <= len(targets):
        raise UserError(f"train size is {count}; expected 1 to {len(targets)}, the number of images to train on")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(targets)))
    if classifies:
        labels = targets[order].cpu()
        place = torch.empty(len(labels))
        for k in labels.unique():  # space the images of each class evenly over the whole
            rows = (labels == k).nonzero()[:, 0]
            place[rows] = (torch.arange(len(rows)) + 0.5) / len(rows)
        order = order[place.argsort(stable=True)]
    return order[:count]
