"""`nas.predict`: classify or measure images with an exported model. It needs no study."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.checks import check_number
from nas.errors import UserError, mendable
from nas.models.export import LensModel, checked, evaluating, opened
from nas.models.predicted import Measurement, Prediction, named
from trainers.data import Images
from trainers.data.folder.bands import read_object
from trainers.data.folder.files import images_below
from trainers.data.folder.fit import resize
from trainers.data.folder.image_file import EXTENSIONS, UNREADABLE, Reading, Stored
from trainers.data.folder.image_file import prepared as in_normal_form
from trainers.data.folder.named_arrays import Rows, is_named_arrays
from trainers.data.folder.objects import channels
from trainers.data.folder.stack import rows_of
from trainers.data.folder.stacked import stacks_in
from trainers.data.given import to_array
from trainers.errors import TrainingError
from trainers.evaluate import turned

BATCH = 256


@mendable
def predict(
    model: LensModel | str | Path,
    images: Tensor | np.ndarray | str | Path | Sequence[str | Path] | Sequence[Tensor | np.ndarray],
    *,
    views: int | None = None,
    prepared: bool = False,
    hdu: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Prediction | Measurement:
    """Predict class probabilities, or values in the unit of the training targets (with `log`, their log10).

    model: a loaded one, or the folder of one.

    images: (N, C, H, W) or (N, H, W, C) as stored, of any real type and size, or (N, H, W) for a model of one channel;
    one image, (H, W), or with channels for a model of several; a list of images, which may differ in size; or image
    files, files of stacked arrays, or folders of them. For a model of several channels, the files of an image's bands
    are one image, in the place of the first. They are prepared here as in training. prepared: they are an array of a
    data set (`results.dataset()`), which has done so. views: 8 combines the predictions for all symmetries of the
    square, 1 predicts each image as it is; None: `model.views`. hdu: the HDUs of FITS files that are the channels, by
    name or number; key: the name of the images' array in .npz, .h5 and .pt files; None: as in training.
    UserError if images are not square, have another number of channels than the model, or miss more than a tenth of
    their pixels, or if a file cannot be read.
    """
    model = opened(model)
    views = model.views if views is None else checked(views)
    batch_size = BATCH if batch_size is None else batch_size
    check_number("batch_size", batch_size, 1, whole=True)
    if not isinstance(images, str | Path | Sequence) and not hasattr(images, "shape"):
        raise UserError(f"images are {images!r}; expected an array, files or folders, or a list of them")
    if prepared:
        if not isinstance(images, Tensor) or images.shape[1:] != (model.in_chans, *2 * [model.image_size]):
            size = f"(N, {model.in_chans}, {model.image_size}, {model.image_size})"
            raise UserError(f"images are no tensor {size}, and so not prepared for this model; leave prepared out")
        return named(model, predictions(model, images, views=views, batch_size=batch_size), views)
    if isinstance(images, str | Path):
        images = [images]
    paths = [Path(path) for path in images if isinstance(path, str | Path)] if isinstance(images, Sequence) else []
    if isinstance(images, Sequence) and len(paths) == len(images):
        files = image_files(paths)
        each = [predicted for _, predicted in _of_files(model, files, views, batch_size, _reading(model, hdu, key))]
        return named(model, torch.cat([_of_arrays(model, np.empty((0, 1, 1, 1)), views, batch_size), *each]), views)
    if paths:
        raise UserError(f"images hold {str(paths[0])!r} beside arrays; give either files or arrays")
    return named(model, _of_arrays(model, _separate(model, images), views, batch_size), views)


def predict_files(
    model: LensModel,
    files: Sequence[Path],
    *,
    bad: list[str] | None = None,
    hdu: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
) -> Iterator[tuple[list[str], Prediction | Measurement]]:
    """Yield the names of images and their predictions in batches of at most 256.

    An image is called like its file, the first of those for each band, or `file[row]` in a stacked array. UserError
    names one that cannot be used; with a list `bad`, such images are left out and their faults added to it. `hdu` and
    `key` are as in `predict`.
    """
    for batch, predicted in _of_files(model, files, model.views, BATCH, _reading(model, hdu, key), bad):
        yield batch, named(model, predicted, model.views)


def image_names(
    model: LensModel,
    files: Sequence[Path],
    *,
    hdu: str | Sequence[str] | None = None,
    key: str | Sequence[str] | None = None,
) -> list[str]:
    """The names of all images in the order of `predict_files`, which are not read yet."""
    return [name for name, _ in _each(model, files, _reading(model, hdu, key))]


def _reading(model: LensModel, hdu: str | Sequence[str] | None, key: str | Sequence[str] | None) -> Reading:
    """The model's own reading, with the names that are given."""
    given = Reading(hdu=hdu, key=key)  # type: ignore[arg-type] # which makes tuples of them
    return replace(model.reading, hdu=given.hdu or model.reading.hdu, key=given.key or model.reading.key)


@torch.inference_mode()
def predictions(model: LensModel, images: Images, *, views: int, symmetry: int = 0, batch_size: int = BATCH) -> Tensor:
    """What the model predicts, float64 on the CPU, for images (N, C, image_size, image_size) under one symmetry."""
    device = next(model.parameters()).device
    starts = range(0, len(images), batch_size)
    none = model.task.predict(torch.empty(0, model.task.num_outputs))
    batches = (images[start : start + batch_size].to(device) for start in starts)
    with evaluating(model):
        return torch.cat([none, *(model(turned(batch, symmetry), views).cpu() for batch in batches)])


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The files in `paths`, and the sorted images below its folders. UserError if a path is missing or has none.

    In a folder of stacked arrays, they are the files of images. Files of named arrays count only in a folder without
    other images in it or below.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = stacks_in(path) or sorted(images_below(path))
            above = {outer for folder in {file.parent for file in found} for outer in folder.parents}
            found = [file for file in found if file.parent not in above or not is_named_arrays(file.name)]
            if not found:
                raise UserError(f"{path} holds no images; expected files ending in {', '.join(EXTENSIONS)}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist; expected an image file or a folder of images")
    return files


def _separate(model: LensModel, images: Any) -> Any:
    """The images of an array, or of a list of them, one by one: an array with them along its first axis, or a list."""
    if isinstance(images, Sequence):
        return images
    images = images.to_numpy() if hasattr(images, "to_numpy") else images  # a table of pandas has no such axes
    shape = tuple(images.shape)
    if len(shape) == 2 or (len(shape) == 3 and (model.in_chans > 1 or shape[2] == 1)):
        return images[None]
    if len(shape) not in (3, 4):
        raise UserError(
            f"images have shape {shape}; expected (N, C, H, W), (N, H, W, C), (N, H, W) of one channel, or one image"
        )
    return images


def _of_arrays(model: LensModel, images: Any, views: int, batch_size: int) -> Tensor:
    """Predictions (N, ...) of images as stored, each in a shape that files have."""
    parts = [model.task.predict(torch.empty(0, model.task.num_outputs))]
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        whole = map(to_array, batch) if isinstance(batch, Sequence) else to_array(batch)
        batch_images = [_prepared(model, Stored(image), f"image {start + i}") for i, image in enumerate(whole)]
        parts.append(_of_prepared(model, batch_images, views))
    return torch.cat(parts)


def _of_prepared(model: LensModel, images: Sequence[np.ndarray], views: int) -> Tensor:
    # Images of several types may share a batch: integers stay exact in float64, and normalising returns float32.
    return predictions(model, torch.from_numpy(np.stack(images)), views=views, batch_size=len(images))


def check_shape(model: LensModel, shape: tuple[int, ...], what: str) -> None:
    """Raise UserError unless the model takes images of shape (C, H, W)."""
    chans, height, width = shape
    if chans != model.in_chans:
        several = f"; if these are {chans} images, give (N, 1, H, W)" * (model.in_chans == 1)
        raise UserError(f"{what}: {chans} channels, but the model was trained on {model.in_chans}{several}")
    if height != width:
        raise UserError(f"{what}: {width}x{height} pixels; expected square images")


def _of_files(
    model: LensModel,
    files: Sequence[Path],
    views: int,
    batch_size: int,
    reading: Reading,
    bad: list[str] | None = None,
) -> Iterator[tuple[list[str], Tensor]]:
    names, images = [], []
    for name, read in _each(model, files, reading):
        try:
            images.append(_read(model, name, read))
        except UserError as error:
            if bad is None:
                raise
            bad.append(str(error))
        else:
            names.append(name)
        if len(images) == batch_size:
            yield names, _of_prepared(model, images, views)
            names, images = [], []
    if images:
        yield names, _of_prepared(model, images, views)


def _each(model: LensModel, files: Sequence[Path], reading: Reading) -> Iterator[tuple[str, Callable[[], Stored]]]:
    """The name of each image, and a function that reads it: a file, a file for each band, or a row of a stack."""
    each, called = channels(files) if model.in_chans > 1 else ([(file,) for file in files], ())
    for bands in each:
        name = str(bands[0])
        try:
            rows = rows_of(bands[0], reading, model.in_chans) if len(bands) == 1 else None
        except UNREADABLE:
            rows = None  # and reading it says why
        if rows is None:
            yield name, partial(_image, bands, called, reading)
        else:
            yield from ((f"{name}[{i}]", partial(_row, rows, i)) for i in range(len(rows)))


def _image(bands: Sequence[Path], called: Sequence[str], reading: Reading) -> Stored:
    stored = read_object(bands, reading)
    return stored._replace(hdus=tuple(called)) if len(bands) > 1 else stored


def _row(rows: Rows, i: int) -> Stored:
    return Stored(np.asarray(rows[i]))


def _read(model: LensModel, name: str, read: Callable[[], Stored]) -> np.ndarray:
    try:
        stored = read()
    except UNREADABLE as error:
        raise UserError(f"{name} cannot be read as an image: {error}") from error
    if wrong := model.other_channels(stored.hdus):
        raise UserError(f"{name} {wrong}")
    return _prepared(model, stored, name)


def _prepared(model: LensModel, stored: Stored, what: str) -> np.ndarray:
    """The image as in training, (in_chans, image_size, image_size)."""
    try:
        image, _ = in_normal_form(stored.array, model.reading)
    except TrainingError as error:
        raise UserError(f"{what} cannot be used ({error})") from error
    check_shape(model, image.shape, what)
    return image if image.shape[-1] == model.image_size else resize(image, model.image_size)
