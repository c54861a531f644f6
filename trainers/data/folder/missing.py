"""Pixels that hold no measurement, and single ones that are too bright: both would set the scale of an image.

NaN and infinite values are missing. So is a sentinel, such as -9999 or 65535 in a border: the lowest or highest value
of a channel, if it repeats exactly and lies farther from all other values than these lie from each other. A zero
background or a saturated plateau is close to the other values; zero in most pixels is a background in any case.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from trainers.errors import TrainingError

MOST = 0.1
"""The share of an image that may be missing."""


class Filled(NamedTuple):
    """An image without missing pixels."""

    image: np.ndarray  # (C, H, W)
    missing: int  # pixels that were filled in
    peak: float  # the largest magnitude


def fill_missing(image: np.ndarray) -> Filled:
    """Replace the missing values of each channel of (C, H, W) by the median of its others.

    TrainingError if more than a tenth of the image is missing, or all of a channel.
    """
    filled, count, found, peak = image, 0, [], 0.0
    for c, channel in enumerate(image):
        valid, sentinels, largest = measured(channel)
        peak = max(peak, largest)
        if missing := channel.size - len(valid):
            if filled is image:
                filled = image.copy()
            if len(valid):
                median = np.partition(valid, len(valid) // 2)[len(valid) // 2]
                filled[c][~np.isfinite(channel) | np.isin(channel, sentinels)] = median
            count += missing
            found += [f"the sentinel {sentinel:g}" for sentinel in sentinels]
            found += ["NaN or infinite values"] * (not np.isfinite(channel).all())
        if not len(valid) or count > MOST * image.size:
            raise TrainingError(
                f"holds {' and '.join(dict.fromkeys(found))} in {count / image.size:.0%} of its pixels; "
                f"at most {MOST:.0%} can be filled in"
            )
    return Filled(filled, count, peak)


def measured(channel: np.ndarray) -> tuple[np.ndarray, list[float], float]:
    """The values of a channel that are not missing, flat; the sentinels among the others; and the largest magnitude."""
    values, sentinels = channel.ravel(), []
    low, high = extremes(values)
    if not math.isfinite(low + high):
        values = values[np.isfinite(values)]
        low, high = extremes(values)
    while (far := sentinel(values, low, high)) is not None:
        sentinels.append(far)
        values = values[values != far]
        low, high = extremes(values)
    return values, sentinels, max(-low, high)


def extremes(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value, whole if all are; NaN if one is; zeros of none."""
    return (values.min().item(), values.max().item()) if len(values) else (0, 0)


def sentinel(values: np.ndarray, low: float, high: float) -> float | None:
    """The value that stands apart as a sentinel does, or None: the lowest or the highest, if it alone fills its half.

    A few values suffice to see that most images have none.
    """
    if values.dtype.kind == "f":
        below = above = low / 2 + high / 2
    else:
        below, above = (low + high) // 2, -(-(low + high) // 2)
    few = values[:: 1 + len(values) // 256].tolist()
    if not any(low < value <= below for value in few) and alone(values, low, high, operator.le, below):
        return low
    if not any(above <= value < high for value in few) and alone(values, high, low, operator.ge, above):
        return high
    return None


def alone(values: np.ndarray, far: float, other: float, side: Callable[..., np.ndarray], middle: float) -> bool:
    """Whether one end of the range repeats, is no background, and is all that lies on its side of the middle."""
    count = np.count_nonzero(values == far)
    if count < 2 or (far == 0 and count > len(values) / 2) or np.count_nonzero(side(values, middle)) > count:
        return False
    return bool(count + np.count_nonzero(values == other) < len(values))  # two values are a picture, not a sentinel


def in_words(missing: Sequence[int]) -> str:
    """What to say of images that had so many missing pixels each."""
    one = "image" if len(missing) == 1 else "images"
    return f"{sum(missing):,} missing pixels in {len(missing):,} {one} filled with the median"


def clipped(image: np.ndarray, percentiles: tuple[float, float]) -> np.ndarray:
    """Clip each channel of (C, H, W) at two of its own percentiles, which are values that it holds."""
    pixels = image.reshape(len(image), -1)
    low, high = np.percentile(pixels, percentiles, axis=1, method="nearest")[:, :, None, None]
    return np.clip(image, low, high)
