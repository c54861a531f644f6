"""How far the noise of a few hundred validation images reaches, where a closed form is known."""

from __future__ import annotations

import math
from statistics import fmean

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
    if name == "accuracy" or name.split("_")[0] in ("auc", "ap"):
        return of_classes(name, results, at)
    if name == "mae":
        return 0.756 * abs(at) / math.sqrt(n)  # of normal errors: sqrt(pi / 2 - 1)
    if name in ("rmse", "scatter"):
        return abs(at) / math.sqrt(2 * n)
    return None


def of_classes(name: str, results: Results, at: float) -> float:
    """That of an accuracy, an AUC or an average precision: by the objects of each class, of which some may be few."""
    classes = list(results.images["classes"]) if results.images else ["", ""]
    each = (results.images or {}).get("validated") or [results.validated / len(classes)] * len(classes)
    of_class = dict(zip(classes, each, strict=True))
    if name == "auc":  # a mean of correlated values varies by no more than they do in the mean
        return fmean(auc_noise(at, count, sum(each) - count) for count in each)
    few = max(of_class.get(name.partition("_")[2], min(each)), 1)
    if name.startswith("auc"):
        return auc_noise(at, few, sum(each) - few)
    count = (
        few if name.startswith("ap") else max(sum(each), 1)
    )  # few positives decide it, however many images there are
    return math.sqrt(_inside(at, count) * (1 - _inside(at, count)) / count)


def _inside(share: float, count: float) -> float:
    """The share with one image more, which is half right: a perfect score of a few images has noise too."""
    return (min(max(share, 0.0), 1.0) * count + 0.5) / (count + 1)


def auc_noise(auc: float, positive: float, negative: float) -> float:
    """The standard deviation of an AUC over images (Hanley & McNeil 1982, equations 1 and 2)."""
    if min(positive, negative) < 1:
        return 0.5
    auc = _inside(auc, min(positive, negative))
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
