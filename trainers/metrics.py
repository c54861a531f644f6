"""Figures of merit of predictions on a whole split, and how sure they are, in numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, r2_score, roc_curve

Array = NDArray[Any]
Metric = Callable[[Array, Array], Mapping[str, float]]  # predictions and truths of N images -> values by name

LOWER_IS_BETTER = ("loss", "ece", "mae", "rmse", "scatter", "nll")
TURNED = ("auc", "accuracy", "loss", "ap", "mae", "rmse", "r2", "scatter", "nll")
"""Those that are reported over the eight symmetries of the square too."""
SYMMETRIC = ("_d4_mean", "_d4_worst")
"""Endings of a metric's name: its mean and its worst value over the eight symmetries of the square."""
FALSE_POSITIVE_RATES = (1e-2, 1e-3)
CALIBRATION_BINS = 15


def base(metric: str) -> str:
    """`auc_d4_worst` and `turned_auc` are values of `auc`."""
    for ending in SYMMETRIC:
        metric = metric.removesuffix(ending)
    return metric.removeprefix("turned_")


def direction(metric: str) -> Literal["maximize", "minimize"]:
    return "minimize" if base(metric) in LOWER_IS_BETTER else "maximize"


def worst(metric: str, values: Sequence[float]) -> float:
    return max(values) if direction(metric) == "minimize" else min(values)


# -- classes -------------------------------------------------------------------------------------------------------


def auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve: the chance that a positive has a higher score than a negative, half for a tie.

    The Mann-Whitney statistic from ranks (Hanley & McNeil 1982); nan where either kind is missing.
    """
    n = int(positive.sum())
    if n in (0, len(positive)):
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def macro_auc(probabilities: Array, labels: Array) -> float:
    """Mean over the classes of the AUC of each against the rest; probabilities (N, classes), labels (N,)."""
    return float(np.mean([auc(labels == k, p) for k, p in enumerate(probabilities.T)]))


def tpr_at_fpr(positive: Array, score: Array, fpr: float) -> float:
    """The largest true positive rate of any threshold with a false positive rate of at most `fpr`; nan as `auc`."""
    if positive.all() or not positive.any():
        return float("nan")
    false, true, _ = roc_curve(positive, score, drop_intermediate=False)
    return float(true[false <= fpr].max())


def average_precision(positive: Array, score: Array) -> float:
    """Area below the precision-recall curve by steps; nan without positives."""
    return float(average_precision_score(positive, score)) if positive.any() else float("nan")


def expected_calibration_error(probabilities: Array, labels: Array) -> float:
    """Mean distance of confidence from accuracy over bins of equal width, by images (Guo et al. 2017, equation 3)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def log_loss(probabilities: Array, labels: Array) -> float:
    taken = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(taken, np.finfo(np.float32).tiny)).mean())


def classification(probabilities: Array, labels: Array) -> dict[str, float]:
    """What every epoch reports: macro one-against-rest AUC, accuracy, and cross-entropy without label smoothing."""
    return {
        "auc": macro_auc(probabilities, labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "loss": log_loss(probabilities, labels),
    }


def classification_in_full(
    probabilities: Array, labels: Array, classes: Sequence[str], positive: str | None = None
) -> dict[str, float]:
    """`classification`, and the rest of what one publishes: per class, or of the `positive` one alone."""
    found = {**classification(probabilities, labels), "ece": expected_calibration_error(probabilities, labels)}
    counted = [k for k, name in enumerate(classes) if positive in (None, name)]
    each = {k: (labels == k, probabilities[:, k]) for k in counted}
    found["ap"] = float(np.mean([average_precision(*of) for of in each.values()]))
    for fpr in FALSE_POSITIVE_RATES:
        found[f"tpr_at_fpr_{fpr:g}"] = float(np.mean([tpr_at_fpr(*of, fpr) for of in each.values()]))
    for k, of in each.items() if positive is None else ():
        found[f"auc_{classes[k]}"] = auc(*of)
        found[f"ap_{classes[k]}"] = average_precision(*of)
    return found


# -- numbers -------------------------------------------------------------------------------------------------------


def regression(predicted: Array, truth: Array) -> dict[str, float]:
    """predicted (N, 1), or (N, 2) with a standard deviation each; truth (N,). All but r2 in the unit of the truth.

    bias: mean of predicted - true; scatter: standard deviation of the same. With standard deviations: nll, the
    Gaussian negative log-likelihood; coverage_68, the share of truths within one of them (0.683 where they are right);
    and z_rms, the root mean square of errors in units of them (1 where they are right).
    """
    error = predicted[:, 0] - truth
    found = {
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
        "r2": float(r2_score(truth, predicted[:, 0])) if len(truth) > 1 else float("nan"),
        "bias": float(error.mean()),
        "scatter": float(error.std()),
    }
    if predicted.shape[1] == 2:
        z = error / predicted[:, 1]
        found["nll"] = float((0.5 * z**2 + np.log(predicted[:, 1] * np.sqrt(2 * np.pi))).mean())
        found["coverage_68"] = float((np.abs(z) <= 1).mean())
        found["z_rms"] = float(np.sqrt((z**2).mean()))
    return found


# -- how sure ------------------------------------------------------------------------------------------------------


def bootstrap(
    metric: Metric, predictions: Sequence[Array], truth: Array, *, strata: Array | None = None, n: int = 1000
) -> list[dict[str, Array]]:
    """For each of several predictions of the same images, every metric's values on `n` resamples of these.

    The resamples are the same for all predictions, so differences between them are paired (Efron & Tibshirani 1993,
    chapter 8), and the same every time. With `strata` (N,), such as labels, every stratum keeps its number of images.
    """
    rng = np.random.default_rng(0)
    strata = np.zeros(len(truth), dtype=int) if strata is None else strata
    groups = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    found: list[list[Mapping[str, float]]] = [[] for _ in predictions]
    for _ in range(n):
        rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
        for values, predicted in zip(found, predictions, strict=True):
            values.append(metric(predicted[rows], truth[rows]))
    return [{name: np.array([v[name] for v in values]) for name in values[0]} for values in found]


def interval(values: Array) -> tuple[float, float]:
    """The middle 95% of bootstrap values (percentile interval)."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
