"""Figures of merit of predictions on a whole split, and how certain they are, from numpy arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.metrics import r2_score

from trainers.errors import TrainingError

Array = NDArray[Any]
Metric = Callable[[Array, Array], Mapping[str, float]]  # predictions and truths of N images -> values by name

FALSE_POSITIVE_RATES = (1e-2, 1e-3)
CALIBRATION_BINS = 15
TPR = tuple(f"tpr_at_fpr_{fpr:g}" for fpr in FALSE_POSITIVE_RATES)
OF_LABELS = ("f1", "balanced_accuracy", "mcc")
"""Metrics of the most probable class alone: mean F1 of the classes, mean recall, Matthews' correlation coefficient."""
HIGHER_IS_BETTER = ("auc", "accuracy", *OF_LABELS, "ap", *TPR, "r2", "r2_within")
OF_ONE_CLASS = ("auc_", "ap_")
"""How the names of one class's metrics begin; higher is better."""
OF_ONE_TARGET = ("r2", "r2_within", "mae", "rmse", "scatter", "nll")
"""The metrics that several targets also have each, as in `mae_theta_E`."""
LOWER_IS_BETTER = ("loss", "ece", "mae", "rmse", "scatter", "nll")
"""In neither: `bias`, which is best at 0, `z_rms` at 1 and `coverage_68` at 0.683; `r2_class_means`, of no network."""
TURNED = ("auc", "accuracy", "loss", "ap", "mae", "rmse", "r2", "scatter", "nll")
"""The metrics that are also reported over the eight symmetries of the square."""
SYMMETRIC = ("_d4_mean", "_d4_worst", "_d4_views")
"""Endings of a metric's name: its mean and its worst value over the eight symmetries of the square, and its value for
the eight views' combined prediction."""


def base(metric: str) -> str:
    """The metric without its ending: `auc_d4_worst` and `turned_auc` are values of `auc`."""
    for ending in SYMMETRIC:
        metric = metric.removesuffix(ending)
    return metric.removeprefix("turned_")


def direction(metric: str, task: object | None = None) -> Literal["maximize", "minimize"]:
    """Whether a higher or a lower value of `metric` is better. TrainingError if neither is, or it is unknown.

    A task (class or instance) may declare its own metrics in `higher_is_better` and `lower_is_better`, two tuples of
    names; these take precedence.
    """
    name = base(metric)
    higher: tuple[str, ...] = getattr(task, "higher_is_better", ())
    lower: tuple[str, ...] = getattr(task, "lower_is_better", ())
    if name in higher:
        return "maximize"
    if name in lower:
        return "minimize"
    if name in HIGHER_IS_BETTER or name.startswith(OF_ONE_CLASS):
        return "maximize"
    if name in LOWER_IS_BETTER:
        return "minimize"
    objectives = dict.fromkeys((*higher, *lower, *HIGHER_IS_BETTER, *LOWER_IS_BETTER))
    raise TrainingError(
        f"{metric!r} cannot be an objective, since neither higher nor lower values of it are known to be better; "
        f"expected one of {', '.join(objectives)}, or a metric that the task lists as higher_is_better or "
        "lower_is_better"
    )


def worst(metric: str, values: Sequence[float], task: object | None = None) -> float:
    """The worst of a metric's values. TrainingError as in `direction`."""
    return max(values) if direction(metric, task) == "minimize" else min(values)


# -- classes -------------------------------------------------------------------------------------------------------


def auc(positive: Array, score: Array) -> float:
    """Area under the ROC curve: the probability that a positive scores higher than a negative; a tie counts half.

    It is the Mann-Whitney statistic, from ranks (Hanley & McNeil 1982); nan if either kind is missing.
    """
    n = int(positive.sum())
    if n in (0, len(positive)):
        return float("nan")
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def macro_auc(probabilities: Array, labels: Array) -> float:
    """The mean of every class's AUC against the rest, from probabilities (N, classes) and labels (N,)."""
    return float(np.mean([auc(labels == k, p) for k, p in enumerate(probabilities.T)]))


def tpr_at_fpr(positive: Array, score: Array, fpr: float) -> float:
    """The largest true positive rate at a false positive rate of at most `fpr`; nan if either kind is missing."""
    if positive.all() or not positive.any():
        return float("nan")
    negatives = score[~positive]
    allowed = int(fpr * len(negatives) + 1e-9)  # false positives
    if allowed >= len(negatives):
        return 1.0
    first_too_many = np.partition(negatives, len(negatives) - 1 - allowed)[len(negatives) - 1 - allowed]
    return float((score[positive] > first_too_many).mean())


def true_positive_rates(
    probabilities: Array, labels: Array, classes: Sequence[str], positive: str | None = None
) -> dict[str, float]:
    """The `TPR` metrics: the mean over the classes against the rest, or those of the `positive` one alone."""
    counted = [k for k, name in enumerate(classes) if positive in (None, name)]
    return {
        name: float(np.mean([tpr_at_fpr(labels == k, probabilities[:, k], fpr) for k in counted]))
        for name, fpr in zip(TPR, FALSE_POSITIVE_RATES, strict=True)
    }


def average_precision(positive: Array, score: Array) -> float:
    """Area under the precision-recall curve, summed in steps; nan unless some are positive and some not.

    Images of equal score are taken together, as one step.
    """
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(-score)
    steps = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # the last image of each score
    found = np.cumsum(positive[order])[steps]
    return float((np.diff(found, prepend=0) * found / (steps + 1)).sum() / positive.sum())


def expected_calibration_error(probabilities: Array, labels: Array) -> float:
    """Mean gap between confidence and accuracy in bins of equal width, by images (Guo et al. 2017, equation 3)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, confidence - right, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def log_loss(probabilities: Array, labels: Array) -> float:
    """Mean cross-entropy in nats, of probabilities (N, classes)."""
    taken = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(taken, np.finfo(np.float32).tiny)).mean())


def classification(probabilities: Array, labels: Array) -> dict[str, float]:
    """Every epoch's metrics: macro one-against-rest AUC, accuracy, and cross-entropy without label smoothing."""
    return {
        "auc": macro_auc(probabilities, labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "loss": log_loss(probabilities, labels),
    }


def of_labels(predicted: Array, labels: Array, classes: int) -> dict[str, float]:
    """The metrics OF_LABELS, of the predicted classes (N,) and the true ones; nan if a class has no image.

    Matthews' coefficient has the form for several classes (Gorodkin 2004, equation 8).
    """
    confusion = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes).astype(float)
    right, true, said, n = confusion.diagonal(), confusion.sum(1), confusion.sum(0), float(len(labels))
    if not true.all():
        return dict.fromkeys(OF_LABELS, float("nan"))
    spread = (n**2 - said @ said) * (n**2 - true @ true)  # 0 if all are said to be of one class
    mcc = (n * right.sum() - said @ true) / spread**0.5 if spread else 0.0
    return {"f1": float((2 * right / (said + true)).mean()), "balanced_accuracy": float((right / true).mean()),
            "mcc": float(mcc)}  # fmt: skip


def classification_in_full(
    probabilities: Array, labels: Array, classes: Sequence[str], positive: str | None = None
) -> dict[str, float]:
    """`classification` and the other metrics that papers report: for each class, or for the `positive` one alone."""
    found = classification(probabilities, labels) | of_labels(probabilities.argmax(1), labels, len(classes))
    found["ece"] = expected_calibration_error(probabilities, labels)
    each = {name: (labels == k, probabilities[:, k]) for k, name in enumerate(classes) if positive in (None, name)}
    found["ap"] = float(np.mean([average_precision(*of) for of in each.values()]))
    found |= true_positive_rates(probabilities, labels, classes, positive)
    for name, of in each.items() if positive is None else ():
        found |= {f"auc_{name}": auc(*of), f"ap_{name}": average_precision(*of)}
    return found


# -- numbers -------------------------------------------------------------------------------------------------------


def regression(predicted: Array, truth: Array) -> dict[str, float]:
    """Metrics of predictions (N, 1), or (N, 2) with standard deviations, against the truth (N,).

    mae, rmse, bias (the mean of predicted - true) and scatter (its standard deviation) are in the unit of the truth.
    With standard deviations there are also nll, the Gaussian negative log-likelihood; coverage_68, the fraction of
    errors below one standard deviation (0.683 if they are right); and z_rms, the root mean square of the errors in
    units of it (1 if they are right).
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


# -- certainty -----------------------------------------------------------------------------------------------------


def bootstrap(
    metric: Metric, predictions: Sequence[Array], truth: Array, *, strata: Array | None = None,
    objects: Array | None = None, n: int = 1000,
) -> list[dict[str, Array]]:  # fmt: skip
    """Evaluate every metric on `n` resamples of the images, for each of several predictions of them.

    All predictions share the resamples, so their differences are paired (Efron & Tibshirani 1993, chapter 8), and
    every call draws the same ones. With `strata` (N,), such as labels, every stratum keeps its number of images, or of
    objects: images with one number in `objects` (N,) are drawn together, as they are not independent.
    """
    rng = np.random.default_rng(0)
    strata = np.zeros(len(truth), dtype=int) if strata is None else strata
    objects = np.arange(len(truth)) if objects is None else objects
    groups = [_by_object(np.flatnonzero(strata == s), objects) for s in np.unique(strata)]
    found: list[list[Mapping[str, float]]] = [[] for _ in predictions]
    for _ in range(n):
        rows = np.concatenate([_drawn(rng, group) for group in groups])
        for values, predicted in zip(found, predictions, strict=True):
            values.append(metric(predicted[rows], truth[rows]))
    return [{name: np.array([v[name] for v in values]) for name in values[0]} for values in found]


def _by_object(rows: Array, objects: Array) -> Array | list[Array]:
    """The rows themselves, or those of each object if some have several."""
    _, numbers, counts = np.unique(objects[rows], return_inverse=True, return_counts=True)
    return rows if counts.max() == 1 else np.split(rows[numbers.argsort(kind="stable")], counts.cumsum()[:-1])


def _drawn(rng: np.random.Generator, group: Array | list[Array]) -> Array:
    chosen = rng.choice(len(group), len(group))
    return group[chosen] if isinstance(group, np.ndarray) else np.concatenate([group[i] for i in chosen])


def interval(values: Array) -> tuple[float, float]:
    """The percentile interval that holds the middle 95% of bootstrap values."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
