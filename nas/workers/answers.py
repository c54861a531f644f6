"""What a fully trained network answers on the validation images, small enough to send."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nas.workers.training import Training
from trainers import tasks
from trainers.batch.normalise import resolve
from trainers.evaluate import predictions

SHOWN = 300  # images of predicted against true


def answers(training: Training) -> dict[str, Any]:
    """For classes, "classes" and "confusion" [true][predicted], counts; for numbers, "quantities" and "points" of each.

    Points are two lists, true values and predictions, of some of the images.
    """
    task, data = training.task, training.data
    val = task.select(data.val)
    normalisation = resolve(training.config.training, task.select(data.train).images)
    found = predictions(training.model, val, task, normalisation=normalisation, device=training.device)
    truth = task.targets(val).cpu()
    if task.classifies:
        number = len(task.classes)
        counts = torch.bincount(truth * number + found.argmax(-1), minlength=number**2)
        return {"classes": list(task.classes), "confusion": counts.view(number, number).tolist()}
    rows = np.random.default_rng(0).permutation(len(truth))[:SHOWN]
    points = [[truth[rows, k].tolist(), found[rows, k].tolist()] for k in range(truth.shape[1])]
    return {"quantities": tasks.quantities(task, len(points)), "points": points}
