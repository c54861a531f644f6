"""Select the images of a searched class at a stated false discovery rate."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.checks import check_number
from nas.errors import UserError, mendable
from nas.models.evaluation import check_data, dataset_for, wanted
from nas.models.export import LensModel, opened
from nas.models.inference import predictions
from nas.models.predicted import Prediction
from nas.models.training_images import among
from trainers import conformal
from trainers.data import Split


@dataclass(frozen=True)
class Selection:
    """Images selected from a prediction."""

    positive: str  # the class that is searched for
    rate: float  # at most this share of the selected are false, on average
    threshold: float  # the lowest probability that is selected; infinite if none is
    selected: Tensor  # (N,) bool
    calibration: int  # images without the class by which the threshold was found


@mendable
def select(model: LensModel | str | Path, predicted: Prediction, calibration: Any, rate: float) -> Selection:
    """Select images at a false discovery rate of at most `rate`, by labelled images like them (`trainers.conformal`).

    calibration: a data set as in `nas.evaluate`, read as the model's own images were; of its images, those that lack
        the class and that the model was not trained on are used. They must be like the images of `predicted` that lack
        it. UserError if the task searches for no class, or there are no such images.
    """
    model = opened(model)
    if not isinstance(predicted, Prediction):
        raise UserError(f"predicted is a {type(predicted).__name__}; expected what `nas.predict` returns")
    return selection(model, predicted, *calibrating(model, calibration, rate), rate)


def selection(model: LensModel, predicted: Prediction, positive: str, without: Split, rate: float) -> Selection:
    """Select by what `calibrating` has found."""
    place = model.classes.index(positive)
    known = predictions(model, without.images, views=predicted.views or model.views)[:, place].numpy()
    scores = predicted.probabilities[:, place]
    lowest = conformal.threshold(scores.numpy(), known, rate)
    return Selection(positive, rate, lowest, torch.as_tensor(scores >= lowest), len(without))


def calibrating(model: LensModel, calibration: Any, rate: float) -> tuple[str, Split]:
    """The class that is searched for, and the images without it by which a threshold is found.

    UserError as in `select`.
    """
    if rate is None:
        raise UserError("fdr is None; expected a number")
    check_number("fdr", rate, 1e-6, 1)
    positive = getattr(model.task, "positive", None)
    if positive is None:
        raise UserError(
            f"the model distinguishes {', '.join(model.classes) or 'no classes'} and searches for none of them; a "
            "selection needs a model of the task lens_finding"
        )
    data = dataset_for(model, calibration)
    check_data(model, data)
    images = wanted(model, data, "all")
    others = images.where((images.labels != model.classes.index(positive)) & ~among(images.images, model.trained_on))
    if not len(others):
        raise UserError(f"{data.name} has no image without the class {positive} that the model was not trained on")
    return positive, others
