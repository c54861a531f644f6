"""Select images at a stated false discovery rate, with conformal p-values from labelled images of the other kind.

The p-value of an image is the share of calibration images without the property, itself counted among them, that score
at least as high (Bates et al. 2023, Annals of Statistics 51, equation 4). Benjamini & Hochberg's procedure (1995) on
these p-values keeps the expected share of false discoveries among the selected at the stated rate or below, whatever
the scores are, if the images without the property are exchangeable with those of the calibration. The share of images
with the property does not matter: lenses may be common in the calibration and rare in the sky.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
ROUNDING = 1e-12  # relative, of p-values and limits that are equal


def p_values(scores: Array, without: Array) -> Array:
    """The conformal p-value of each score (N,), from the scores (M,) of calibration images without the property."""
    at_least = len(without) - np.searchsorted(np.sort(without), scores, side="left")
    return (1 + at_least) / (1 + len(without))


def threshold(scores: Array, without: Array, rate: float) -> float:
    """The lowest score that is selected among `scores` (N,) at false discovery rate `rate`; infinite if none is.

    It depends on all images that are judged together. With M calibration images no p-value is below 1 / (M + 1), so to
    select k of N images takes at least M = N / (k rate) - 1.
    """
    p = p_values(scores, without)
    ordered, limits = np.sort(p), rate * np.arange(1, len(p) + 1) / max(len(p), 1)
    small = ordered[ordered <= limits * (1 + ROUNDING)]
    return float(scores[p <= small[-1]].min()) if len(small) else float("inf")
