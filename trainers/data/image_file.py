"""One image file to one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from trainers.data.object_array import read_npy

EXTENSIONS = (".npy", ".png", ".jpg", ".jpeg")
MODES = {"1": "L", "L": "L", "LA": "L", "I;16": "I", "I;16B": "I", "I;16L": "I", "I": "I", "F": "F"}  # else RGB


def read_image(path: Path) -> tuple[np.ndarray, dict[str, float]]:
    """The image, (C, H, W), and the regression targets stored with it. ValueError or OSError where there is none.

    Integers keep their dtype where torch can compute with it; floats become float32. A grid is told from channels by
    its size: (H, W), (C, H, W) and (H, W, C) with up to 4 channels are all understood.
    """
    targets: dict[str, float] = {}
    if path.suffix.lower() == ".npy":
        array = read_npy(path)
        if array.dtype == object:
            array, targets = unpack(array)
    else:
        with Image.open(path) as image:
            array = np.asarray(image.convert(MODES.get(image.mode, "RGB")))
    array = chans_first(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError("holds NaN or infinite values")
        array = array.astype(np.float32)
    elif array.dtype.kind in "bu" and array.dtype.itemsize < 4:  # bool, uint8 and uint16, which torch hardly knows
        array = array.astype(np.uint8 if array.dtype.itemsize == 1 else np.int32)
    elif array.dtype.kind in "iu":
        array = array.astype(np.int64 if array.dtype.kind == "u" else array.dtype.newbyteorder("="))
    else:
        raise ValueError(f"holds {array.dtype} values; expected numbers")
    return np.ascontiguousarray(array), targets


def unpack(array: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """`[image, number]`: the number is an axion mass in eV (about 1e-23) or the mass fraction of substructure."""
    items = list(array.flat)
    if not (len(items) == 2 and isinstance(items[0], np.ndarray) and isinstance(items[1], int | float | np.number)):
        raise ValueError("is an object array; expected [image, axion mass in eV or mass fraction]")
    value = float(items[1])
    if 0 < value < 1e-10:
        return items[0], {"axion_mass": float(np.log10(value))}
    if 0 <= value <= 1:
        return items[0], {"mass_fraction": value}
    raise ValueError(f"holds {value} beside its image; expected an axion mass in eV or a mass fraction")


def chans_first(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        return array[None]
    if array.ndim == 3 and array.shape[0] <= 4:
        return array
    if array.ndim == 3 and array.shape[2] <= 4:
        return array.transpose(2, 0, 1)
    raise ValueError(f"has shape {array.shape}; expected (H, W), (C, H, W) or (H, W, C) with at most 4 channels")


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """(C, H, W) to float32 (C, size, size), bilinear with antialiasing, so that light is averaged, not sampled."""
    pixels = torch.from_numpy(image).float()[None]
    return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0].numpy()
