"""How far the noise of a few hundred validation images reaches, where a closed form is known."""

from __future__ import annotations

import math

from nas.results import Results
from trainers import metrics

Z = 1.96  # standard deviations of half a 95% interval


def of_images(results: Results, at: float) -> float | None:
    """The standard deviation over images of an objective of value `at`; None if unknown.

    It also serves for the difference of two networks, which see the same images: with the usual correlation of their
    values of about one half, the standard deviation of their difference is that of each.
    """
    name, n = metrics.base(results.objective), results.validated
    if not n:
        return None
    if name == "auc" or name.startswith("auc_"):
        classes = len(results.images["classes"]) if results.images else 2
        return auc_noise(at, n / classes, n - n / classes)
    if name in ("accuracy", "ap"):
        return math.sqrt(max(at * (1 - at), 0.0) / n)
    if name == "mae":
        return 0.756 * abs(at) / math.sqrt(n)  # of normal errors: sqrt(pi / 2 - 1)
    if name in ("rmse", "scatter"):
        return abs(at) / math.sqrt(2 * n)
    return None


def auc_noise(auc: float, positive: float, negative: float) -> float:
    """The standard deviation of an AUC over images (Hanley & McNeil 1982, equations 1 and 2)."""
    if min(positive, negative) < 1:
        return 0.5
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return math.sqrt(max(variance, 0.0) / (positive * negative))


def chance(objective: str) -> float | None:
    """What a network reaches that has learnt nothing; None if that depends on the data."""
    name = metrics.base(objective)
    if name == "auc" or name.startswith("auc_"):
        return 0.5
    return 0.0 if name == "mcc" or name.split("_")[0] == "r2" else None


def above_chance(results: Results, at: float) -> bool:
    """Whether a value is better than chance by more than the noise of the images; True if chance is not known."""
    nothing = chance(results.objective)
    return nothing is None or at - nothing > Z * (of_images(results, nothing) or 0.0)
