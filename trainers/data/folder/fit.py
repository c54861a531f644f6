"""Images of several sizes, or that are not square, made square and of one size.

crop      the central square that the smallest image has
pad       with the median of each channel, to the square that holds the largest image
resize    stretched to the size of the data set

The first two keep the scale of the pixels. All images of a data set get one side, which `crop:60` also gives, and an
exported model makes its images alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import torch
from torch.nn import functional as F

from trainers.errors import TrainingError

WORDS = {"crop": "cropped", "pad": "padded", "resize": "resized"}
LEAST = 8  # pixels a side


def checked(fit: object) -> str:
    """`fit` as given. TrainingError unless it is crop, pad or resize, with or without a side."""
    if not isinstance(fit, str) or not re.fullmatch(rf"({'|'.join(WORDS)})(:\d{{1,4}})?", fit) or side(fit) == 0:
        raise TrainingError(f"fit is {fit!r}; expected crop, pad or resize, or with a side in pixels, such as crop:60")
    return fit


def side(fit: str) -> int | None:
    """The side that `fit` gives."""
    given = fit.partition(":")[2]
    return int(given) if given else None


def kind(fit: str) -> str:
    """Which of crop, pad and resize `fit` is."""
    return fit.partition(":")[0]


def with_side(fit: str, image_size: int | None, sizes: Iterable[tuple[int, int]]) -> str:
    """`fit` with the side for images of these sizes (H, W). TrainingError for resize without the data set's size."""
    how, found = kind(fit), side(fit)
    if found is None and how == "resize":
        if image_size is None:
            raise TrainingError("fit is resize, but there is no size to resize to; give image_size, or resize:64")
        found = image_size
    elif found is None:
        both = [pixels for size in sizes for pixels in size]
        found = max(min(both) if how == "crop" else max(both), LEAST)
    return f"{how}:{found}"


def in_words(fit: str) -> str:
    """`cropped to 60x60`."""
    return f"{WORDS[kind(fit)]} to {side(fit)}x{side(fit)}"


def fitted(image: np.ndarray, fit: str) -> np.ndarray:
    """The image (C, H, W) with the side that `fit` gives, in its own dtype, or in float32 if it is resized.

    TrainingError if it is too small to be cropped, or too large to be padded.
    """
    how, wanted = kind(fit), side(fit)
    assert wanted is not None
    _, height, width = image.shape
    if how == "resize":
        return resize(image, wanted)
    if how == "crop":
        if min(height, width) < wanted:
            raise TrainingError(f"is {width}x{height} pixels, too few to be {in_words(fit)}")
        top, left = (height - wanted) // 2, (width - wanted) // 2
        return np.ascontiguousarray(image[:, top : top + wanted, left : left + wanted])
    if max(height, width) > wanted:
        raise TrainingError(f"is {width}x{height} pixels, too many to be {in_words(fit)}")
    top, left = (wanted - height) // 2, (wanted - width) // 2
    padded = np.empty((len(image), wanted, wanted), image.dtype)
    padded[:] = median(image)[:, None, None]
    padded[:, top : top + height, left : left + width] = image
    return padded


def median(image: np.ndarray) -> np.ndarray:
    """The upper median of each channel of (C, H, W), a value that it holds."""
    pixels = image.reshape(len(image), -1)
    middle = pixels.shape[1] // 2
    return np.partition(pixels, middle, axis=1)[:, middle]


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Resize (C, H, W) to float32 (C, size, size), bilinear with antialiasing: light is averaged, not sampled."""
    pixels = torch.from_numpy(image).float()[None]
    return F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)[0].numpy()
