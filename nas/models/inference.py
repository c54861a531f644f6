"""`nas.predict`: classify or measure images with an exported model. It needs no study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.errors import UserError, mendable
from nas.models.export import LensModel, checked
from trainers import tasks
from trainers.data import Images
from trainers.data.folder.bands import read_object
from trainers.data.folder.files import images_below
from trainers.data.folder.image_file import EXTENSIONS, UNREADABLE, Stored, hdu_names, normal_form, resize
from trainers.data.folder.objects import channels
from trainers.data.given import to_array
from trainers.errors import TrainingError
from trainers.evaluate import turned

BATCH = 256


@dataclass(frozen=True)
class Prediction:
    """Class probabilities of N images."""

    classes: tuple[str, ...]
    probabilities: Tensor  # (N, len(classes)) float64

    @property
    def labels(self) -> list[str]:
        """The most probable class of each image."""
        return [self.classes[k] for k in self.probabilities.argmax(-1)]


@dataclass(frozen=True)
class Measurement:
    """The values of one quantity in N images."""

    quantity: str  # with its unit
    values: Tensor  # (N,) float64
    sigma: Tensor | None  # (N,) float64: standard deviations, if the network gives them


@mendable
def predict(
    model: LensModel,
    images: Tensor | np.ndarray | str | Path | Sequence[str | Path],
    *,
    views: int | None = None,
    hdu: str | Sequence[str] | None = None,
    batch_size: int = BATCH,
) -> Prediction | Measurement:
    """Predict class probabilities, or values in the unit of the training targets.

    images: (N, C, H, W) as stored, of any real type and size; or image files, or folders of them. For a model of
    several channels, the files of an image's bands are one image, in the place of the first. They are prepared here as
    in training. views: 8 combines the predictions for all symmetries of the square, 1 predicts each image as it is;
    None: `model.views`. hdu: the HDUs of FITS files that are the channels, by name or number; None: as in training.
    UserError if images are not square, have another number of channels than the model, or miss more than a tenth of
    their pixels, or if a file cannot be read.
    """
    views = model.views if views is None else checked(views)
    if isinstance(images, str | Path):
        images = [images]
    if isinstance(images, Sequence):
        files = image_files([Path(path) for path in images])
        each = [predicted for _, predicted in _of_files(model, files, views, batch_size, hdu)]
        return _named(model, torch.cat([_of_arrays(model, np.empty((0, 1, 1, 1)), views, batch_size), *each]))
    return _named(model, _of_arrays(model, images, views, batch_size))


def predict_files(
    model: LensModel, files: Sequence[Path], *, bad: list[str] | None = None, hdu: str | Sequence[str] | None = None
) -> Iterator[tuple[list[Path], Prediction | Measurement]]:
    """Yield files and their predictions in batches of at most 256; of an image with a file for each band, the first.

    UserError names a file that cannot be used; with a list `bad`, such files are left out and their faults added to it.
    `hdu` is as in `predict`.
    """
    for batch, predicted in _of_files(model, files, model.views, BATCH, hdu, bad):
        yield batch, _named(model, predicted)


@torch.inference_mode()
def predictions(model: LensModel, images: Images, *, views: int, symmetry: int = 0, batch_size: int = BATCH) -> Tensor:
    """What the model predicts, float64 on the CPU, for images (N, C, image_size, image_size) under one symmetry."""
    device = next(model.parameters()).device
    starts = range(0, len(images), batch_size)
    batches = (images[start : start + batch_size].to(device) for start in starts)
    return torch.cat([model(turned(batch, symmetry), views).cpu() for batch in batches])


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The files in `paths`, and the sorted images below its folders. UserError if a path is missing or has none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(images_below(path))
            if not found:
                raise UserError(f"{path} holds no images; expected files ending in {', '.join(EXTENSIONS)}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist; expected an image file or a folder of images")
    return files


def rows(predicted: Prediction | Measurement) -> list[dict[str, Any]]:
    """One JSON object for each image."""
    if isinstance(predicted, Prediction):
        return [
            {"class": label, "probabilities": dict(zip(predicted.classes, probabilities, strict=True))}
            for label, probabilities in zip(predicted.labels, predicted.probabilities.tolist(), strict=True)
        ]
    if predicted.sigma is None:
        return [{"value": value} for value in predicted.values.tolist()]
    both = zip(predicted.values.tolist(), predicted.sigma.tolist(), strict=True)
    return [{"value": value, "sigma": sigma} for value, sigma in both]


def _of_arrays(model: LensModel, images: Tensor | np.ndarray, views: int, batch_size: int) -> Tensor:
    """Predictions (N, ...) of images (N, C, H, W) as stored."""
    if len(images.shape) != 4:
        raise UserError(f"images have shape {tuple(images.shape)}; expected (N, C, H, W)")
    parts = [model.task.predict(torch.empty(0, model.task.num_outputs))]
    for start in range(0, len(images), batch_size):
        batch = to_array(images[start : start + batch_size])
        prepared = [_prepared(model, Stored(image), f"image {start + i}") for i, image in enumerate(batch)]
        parts.append(_of_prepared(model, prepared, views))
    return torch.cat(parts)


def _of_prepared(model: LensModel, images: Sequence[np.ndarray], views: int) -> Tensor:
    # Images of several types may share a batch: integers stay exact in float64, and normalising returns float32.
    return predictions(model, torch.from_numpy(np.stack(images)), views=views, batch_size=len(images))


def check_shape(model: LensModel, shape: tuple[int, ...], what: str) -> None:
    """Raise UserError unless the model takes images of shape (C, H, W)."""
    chans, height, width = shape
    if chans != model.in_chans:
        raise UserError(f"{what}: {chans} channels, but the model was trained on {model.in_chans}")
    if height != width:
        raise UserError(f"{what}: {width}x{height} pixels; expected square images")


def _of_files(
    model: LensModel,
    files: Sequence[Path],
    views: int,
    batch_size: int,
    hdu: str | Sequence[str] | None,
    bad: list[str] | None = None,
) -> Iterator[tuple[list[Path], Tensor]]:
    each = channels(files)[0] if model.in_chans > 1 else [(file,) for file in files]
    chosen = model.reading.hdu if hdu is None else hdu_names(hdu)
    for start in range(0, len(each), batch_size):
        names, images = [], []
        for bands in each[start : start + batch_size]:
            try:
                images.append(_from_files(model, bands, chosen))
            except UserError as error:
                if bad is None:
                    raise
                bad.append(str(error))
            else:
                names.append(bands[0])
        if images:
            yield names, _of_prepared(model, images, views)


def _from_files(model: LensModel, bands: Sequence[Path], hdu: Sequence[str] | None) -> np.ndarray:
    try:
        stored = read_object(bands, hdu)
    except UNREADABLE as error:
        raise UserError(f"{bands[0]} cannot be read as an image: {error}") from error
    if wrong := model.other_channels(stored.hdus):
        raise UserError(f"{bands[0]} {wrong}")
    return _prepared(model, stored, str(bands[0]))


def _prepared(model: LensModel, stored: Stored, what: str) -> np.ndarray:
    """The image as in training, (in_chans, image_size, image_size)."""
    try:
        image, _ = normal_form(stored.array, model.reading.clip)
    except TrainingError as error:
        raise UserError(f"{what} cannot be used ({error})") from error
    check_shape(model, image.shape, what)
    return image if image.shape[-1] == model.image_size else resize(image, model.image_size)


def _named(model: LensModel, predicted: Tensor) -> Prediction | Measurement:
    if model.task.classifies:
        return Prediction(model.classes, predicted)
    sigma = predicted[:, 1] if model.task.with_sigma else None
    return Measurement(tasks.quantity(model.task), predicted[:, 0], sigma)
