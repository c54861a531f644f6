"""From one image file to one array."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from trainers.data.folder.object_array import read_npy
from trainers.errors import TrainingError

EXTENSIONS = (".npy", ".png", ".jpg", ".jpeg", ".fits", ".fit", ".fits.gz")
MODES = {"1": "L", "L": "L", "LA": "L", "I;16": "I", "I;16B": "I", "I;16L": "I", "I": "I", "F": "F"}  # else RGB
UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, pickle.UnpicklingError, Image.DecompressionBombError)
"""The errors that reading a damaged image may raise."""


def is_image(name: str) -> bool:
    """Whether a file of this name is taken for an image; hidden ones are not."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def read_image(path: Path) -> tuple[np.ndarray, dict[str, float]]:
    """The image, (C, H, W), and the regression targets stored with it. One of UNREADABLE if there is none."""
    array, targets = read_stored(path)
    return normal_form(array), targets


def read_stored(path: Path) -> tuple[np.ndarray, dict[str, float]]:
    """The image in the file, in any shape and dtype, and the regression targets beside it."""
    name = path.name.lower()
    if name.endswith(".npy"):
        array = read_npy(path)
        return unpack(array) if array.dtype == object else (array, {})
    if name.endswith((".fits", ".fit", ".fits.gz")):
        return read_fits(path), {}
    with Image.open(path) as image:
        return np.asarray(image.convert(MODES.get(image.mode, "RGB"))), {}


def read_fits(path: Path) -> np.ndarray:
    """The image of a FITS file: its first, or up to four of equal shape (bands) as the channels of one, (C, H, W)."""
    try:
        from astropy.io import fits
    except ImportError as error:
        raise TrainingError("is a FITS file; to read those: pip install astropy") from error
    with fits.open(path, memmap=False) as units:
        planes = [np.asarray(unit.data) for unit in units if unit.is_image and unit.data is not None]
    if not planes:
        raise TrainingError("holds no image")
    if 1 < len(planes) <= 4 and all(plane.shape == planes[0].shape and plane.ndim == 2 for plane in planes):
        return np.stack(planes)
    return planes[0]


def normal_form(array: np.ndarray) -> np.ndarray:
    """The image as (C, H, W) in a dtype of torch's.

    Integers keep their dtype if torch can compute with it; floats become float32. Sizes distinguish the grid from
    channels: (H, W), (C, H, W) and (H, W, C) with up to 4 channels are all understood. TrainingError if the array is
    no image, or holds NaN or infinite values.
    """
    array = chans_first(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise TrainingError("holds NaN or infinite values")
        array = array.astype(np.float32)
    elif array.dtype.kind in "bu" and array.dtype.itemsize < 4:  # bool, uint8, and uint16, with which torch does little
        array = array.astype(np.uint8 if array.dtype.itemsize == 1 else np.int32)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64 if array.dtype.kind == "u" else array.dtype.newbyteorder("="))
    else:
        raise TrainingError(f"holds {array.dtype} values; expected numbers")
    return np.ascontiguousarray(array)


def unpack(array: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Unpack `[image, number]`: the number is an axion mass in eV (about 1e-23) or the substructure's mass fraction."""
    items = list(array.flat)
    if not (len(items) == 2 and isinstance(items[0], np.ndarray) and isinstance(items[1], int | float | np.number)):
        raise TrainingError("is an object array; expected [image, axion mass in eV or mass fraction]")
    return items[0], target(float(items[1]))


def target(value: float) -> dict[str, float]:
    """The regression target that a bare number is, judged by its size. TrainingError if it is neither of the two."""
    if 0 < value < 1e-10:
        return {"axion_mass": float(np.log10(value))}
    if 0 <= value <= 1:
        return {"mass_fraction": value}
    raise TrainingError(f"holds {value} beside its image; expected an axion mass in eV or a mass fraction")


def chans_first(array: np.ndarray) -> np.ndarray:
    """The image as (C, H, W). TrainingError if its shape is none of those that `normal_form` understands."""
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3 and array.shape[0] <= 4:
        return array
    if array.ndim == 3 and array.shape[2] <= 4:
        return array.transpose(2, 0, 1)
    raise TrainingError(f"has shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C) with at most 4 channels")


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (C, H, W) to float32 (C, size, size), bilinear with antialiasing: light is averaged, not sampled."""
    pixels = torch.from_numpy(image).float()[None]
    return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0].numpy()
