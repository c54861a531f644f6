"""Predictions as the table that a data challenge asks for: `ID,theta_E,theta_E_sigma` or `ID,has_substructure`."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from nas.errors import UserError
from nas.files import write_text
from nas.models.predicted import Measurement, Prediction
from trainers.data.folder.fits_file import header_id
from trainers.data.folder.names import ending
from trainers.data.folder.objects import without_band
from trainers.regression import Regression
from trainers.tasks import Task

NO_SUBSTRUCTURE, SUBSTRUCTURE = "no_sub", "has_substructure"


def ids_of(images: Sequence[str], *, bands: bool) -> dict[str, str]:
    """The ID of each image, which is named as by `predict_files`. UserError if two images have the same.

    It is that in the header of its FITS file, or else the name of its file without ending, and without its band if each
    band has a file (`bands`); in a stacked array the row follows.
    """
    owners: dict[str, str] = {}
    for image in images:
        name = id_of(image, bands)
        if name in owners:
            raise UserError(f"{owners[name]} and {image} would have the same ID in the table; predict them apart")
        owners[name] = image
    return {image: name for name, image in owners.items()}


def write_answers(
    path: Path, ids: Sequence[str], predictions: Sequence[Prediction | Measurement], task: Task,
    selected: Tensor | None = None,
) -> None:  # fmt: skip
    """Write a CSV table with a row for each prediction, in the order of `ids`.

    selected: (N,) bool, a last column of 0 and 1.
    """
    batches = [columns(predicted, task) for predicted in predictions]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["ID", *batches[0], *(["selected"] * (selected is not None))])
    numbers = torch.cat([torch.stack(list(batch.values()), 1) for batch in batches])
    if selected is not None:
        numbers = torch.cat([numbers, selected[:, None].to(numbers)], 1)
    for name, row in zip(ids, numbers.tolist(), strict=True):
        rows.writerow([name, *(f"{number:.7g}" for number in row)])
    write_text(path, text.getvalue())


def id_of(image: str, bands: bool) -> str:
    file, bracket, row = image.rpartition("[") if image.endswith("]") else (image, "", "")
    stem = ending(Path(file).name)[0]
    own = None if bracket else header_id(Path(file))
    return own or (without_band(stem)[0] if bands else stem) + bracket + row


def columns(predicted: Prediction | Measurement, task: Task) -> Mapping[str, Tensor]:
    """The columns beside ID, each (N,).

    Of classes: the probability of the class that is searched for, or else that there is substructure, if one class has
    none; and that of every class if these are more than two, or none is named so. Of numbers: each and its standard
    deviation, in the unit of the training data. A number that is measured as its log10 is given itself, its standard
    deviation to first order.
    """
    if isinstance(predicted, Prediction):
        each = dict(zip(predicted.classes, predicted.probabilities.unbind(1), strict=True))
        found = {name: p for name, p in each.items() if name == getattr(task, "positive", None)}
        if not found and NO_SUBSTRUCTURE in each:
            found = {SUBSTRUCTURE: 1 - each[NO_SUBSTRUCTURE]}
        return found if found and len(each) == 2 else {**found, **each}
    values = predicted.values.reshape(len(predicted.values), -1)
    sigmas = None if predicted.sigma is None else predicted.sigma.reshape(values.shape)
    if isinstance(task, Regression) and task.log:
        values = 10**values
        sigmas = None if sigmas is None else math.log(10) * values * sigmas
    found = {}
    for k, name in enumerate(predicted.targets or ("value",)):
        found[name] = values[:, k]
        if sigmas is not None:
            found[f"{name}_sigma"] = sigmas[:, k]
    return found
