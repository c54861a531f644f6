"""Figures of merit agree with scikit-learn's and with their definitions; intervals cover what they promise to."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as sk

from trainers import TrainingError, metrics

CLASSES = ("axion", "cdm", "no_sub")


def draw(n=400, classes=3, seed=0, ties=False):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[labels]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return (np.round(p, 1), labels) if ties else (p, labels)


@pytest.mark.parametrize("ties", [False, True])
def test_the_auc_is_that_of_scikit_learn(ties):
    p, labels = draw(ties=ties)
    for k in range(3):
        assert metrics.auc(labels == k, p[:, k]) == pytest.approx(sk.roc_auc_score(labels == k, p[:, k]), abs=1e-12)
    if not ties:
        assert metrics.macro_auc(p, labels) == pytest.approx(sk.roc_auc_score(labels, p, multi_class="ovr"))


def test_the_auc_of_logits_is_another():
    """Once there are three classes: each is ranked by its share, not by its own output."""
    rng = np.random.default_rng(0)
    logits, labels = 3 * rng.normal(size=(300, 3)), np.arange(300) % 3
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert metrics.macro_auc(p, labels) != pytest.approx(metrics.macro_auc(logits, labels), abs=1e-4)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_everything_that_scikit_learn_has_is_as_there(classes, ties):
    p, labels = draw(classes=classes, ties=ties)
    few = (labels == 0) & (np.arange(len(labels)) > 60)  # classes of other sizes
    p, labels = p[~few], labels[~few]
    found = metrics.classification_in_full(p, labels, CLASSES[:classes])
    if not ties:  # rounded probabilities have another sum
        assert found["loss"] == pytest.approx(sk.log_loss(labels, p))
    predicted = p.argmax(1)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, predicted))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, predicted))
    assert found["accuracy"] == sk.accuracy_score(labels, p.argmax(1))
    each = [sk.average_precision_score(labels == k, p[:, k]) for k in range(classes)]
    assert found["ap"] == pytest.approx(np.mean(each))
    assert [found[f"ap_{name}"] for name in CLASSES[:classes]] == pytest.approx(each)
    assert found["auc"] == pytest.approx(np.mean([found[f"auc_{name}"] for name in CLASSES[:classes]]))
    one = metrics.classification_in_full(p, labels, CLASSES[:classes], positive="cdm")
    assert one["ap"] == pytest.approx(each[1])
    assert "ap_cdm" not in one


@pytest.mark.parametrize("fpr", [0.01, 0.1, 0.5])
def test_the_true_positive_rate_is_the_best_of_all_thresholds(fpr):
    p, labels = draw(ties=True)
    positive, score = labels == 0, p[:, 0]
    best = max(
        (score[positive] >= t).mean()
        for t in [*np.unique(score), np.inf]
        if (score[~positive] >= t).mean() <= fpr
    )  # fmt: skip
    assert metrics.tpr_at_fpr(positive, score, fpr) == best


def test_the_calibration_error_is_the_mean_gap_of_the_bins():
    p, labels = draw(1000)
    confidence, right = p.max(1), p.argmax(1) == labels
    expected = 0.0
    for k in range(15):
        inside = (confidence >= k / 15) & ((confidence < (k + 1) / 15) | (k == 14))
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metrics.expected_calibration_error(p, labels) == pytest.approx(expected)


@pytest.mark.parametrize("said", [[0] * 9, [0, 0, 1, 1, 1, 2, 2, 2, 0], [1] * 9])
def test_the_most_probable_classes_are_judged_as_in_scikit_learn_if_some_is_never_it(said):
    labels, said = np.arange(9) // 3, np.array(said)
    found = metrics.of_labels(said, labels, 3)
    assert found["f1"] == pytest.approx(sk.f1_score(labels, said, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, said))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(labels, said))


def test_a_missing_class_has_no_figures_rather_than_wrong_ones():
    p, labels = draw(30)
    labels = np.where(labels == 2, 0, labels)
    found = metrics.classification_in_full(p, labels, CLASSES)
    assert np.isnan([found[name] for name in ("auc", "auc_no_sub", "ap_no_sub", "tpr_at_fpr_0.01")]).all()
    assert np.isfinite([found[name] for name in ("auc_cdm", "ap_axion", "accuracy", "loss")]).all()
    alone = metrics.classification_in_full(p, np.zeros_like(labels), CLASSES)
    assert np.isnan(alone["ap_axion"]), "with no image of another class to tell it from"


def test_numbers_are_judged_as_scikit_learn_and_the_normal_distribution_do():
    rng = np.random.default_rng(0)
    truth = rng.normal(-23, 0.5, 500)
    predicted, sigma = truth + rng.normal(0.1, 0.3, 500), rng.uniform(0.2, 0.5, 500)
    found = metrics.regression(np.stack([predicted, sigma], 1), truth)
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(truth, predicted))
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(truth, predicted))
    assert found["r2"] == pytest.approx(sk.r2_score(truth, predicted))
    assert found["bias"] == pytest.approx(np.mean(predicted - truth))
    assert found["rmse"] ** 2 == pytest.approx(found["bias"] ** 2 + found["scatter"] ** 2)
    assert found["nll"] == pytest.approx(-norm(predicted, sigma).logpdf(truth).mean())
    assert found["coverage_68"] == np.mean((truth > predicted - sigma) & (truth < predicted + sigma))


def test_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    """The mean absolute error of normal errors has a known value; 300 data sets of 80 images."""
    rng, inside = np.random.default_rng(0), 0
    expected = np.sqrt(2 / np.pi)
    for _ in range(300):
        truth, predicted = np.zeros(80), rng.normal(size=(80, 1))
        (drawn,) = metrics.bootstrap(lambda p, t: {"mae": np.abs(p[:, 0] - t).mean()}, [predicted], truth, n=300)
        low, high = metrics.interval(drawn["mae"])
        inside += low <= expected <= high
    assert 0.90 <= inside / 300 <= 0.98


def test_a_paired_difference_is_surer_than_two_intervals():
    p, labels = draw(500)
    better = p + 0.05 * np.eye(3)[labels]
    better /= better.sum(1, keepdims=True)
    one, other = metrics.bootstrap(metrics.classification, [p, better], labels, strata=labels, n=200)
    width = np.ptp(metrics.interval(one["auc"]))
    low, high = metrics.interval(other["auc"] - one["auc"])
    assert low > 0
    assert high - low < width / 2


def test_a_stratum_keeps_its_number_of_images():
    labels = np.array([0] * 95 + [1] * 5)
    (drawn,) = metrics.bootstrap(lambda p, t: {"n": float(t.sum())}, [labels], labels, strata=labels, n=50)
    assert set(drawn["n"]) == {5.0}
    (free,) = metrics.bootstrap(lambda p, t: {"n": float(t.sum())}, [labels], labels, n=50)
    assert len(set(free["n"])) > 1


@pytest.mark.parametrize(
    ("name", "base", "direction"),
    [
        ("auc", "auc", "maximize"), ("auc_d4_worst", "auc", "maximize"), ("turned_auc", "auc", "maximize"),
        ("loss", "loss", "minimize"), ("mae_d4_mean", "mae", "minimize"), ("auc_cdm", "auc_cdm", "maximize"),
        ("ap_lens", "ap_lens", "maximize"), ("tpr_at_fpr_0.01", "tpr_at_fpr_0.01", "maximize"),
        ("tpr_at_fpr_0.001_d4_worst", "tpr_at_fpr_0.001", "maximize"), ("r2", "r2", "maximize"),
        ("ap_lens_d4_views", "ap_lens", "maximize"), ("nll_d4_views", "nll", "minimize"),
    ],
)  # fmt: skip
def test_the_name_of_a_metric_says_what_is_better(name, base, direction):
    assert metrics.base(name) == base
    assert metrics.direction(name) == direction
    assert metrics.worst(name, [0.1, 0.9]) == (0.1 if direction == "maximize" else 0.9)


@pytest.mark.parametrize("name", ["bias", "z_rms", "coverage_68", "made_up"])
@pytest.mark.parametrize("ending", ["", "_d4_mean", "_d4_worst", "_d4_views"])
def test_a_metric_without_a_best_end_cannot_be_an_objective(name, ending):
    with pytest.raises(TrainingError, match=f"'{name}{ending}' cannot be an objective.* one of auc, .*, mae, rmse, "):
        metrics.direction(name + ending)


def test_every_metric_has_a_direction_or_is_known_to_have_none():
    """So that a new one is not forgotten; and those that are reported over symmetries all have a worst value."""
    p, labels = draw()
    found = {**metrics.classification_in_full(p, labels, CLASSES), **metrics.regression(p[:, :2], p[:, 0])}
    without = set()
    for name in found:
        try:
            metrics.direction(name)
        except TrainingError:
            without.add(name)
    assert without == {"bias", "coverage_68", "z_rms"}
    assert all(metrics.worst(name, [1.0, 2.0]) in (1.0, 2.0) for name in metrics.TURNED)


def test_a_task_says_what_is_better_of_its_own_metrics():
    class Task:
        higher_is_better = ("purity", "auc_error_bars")
        lower_is_better = ("chi2", "auc_error")

    for task in (Task, Task()):
        assert metrics.direction("purity", task) == "maximize"
        assert metrics.direction("chi2_d4_worst", task) == "minimize"
        assert metrics.direction("auc_error", task) == "minimize", "before what the name alone would say"
        assert metrics.direction("accuracy", task) == "maximize"
        assert metrics.worst("chi2", [1.0, 2.0], task) == 2.0
        with pytest.raises(TrainingError, match=r"'bias' cannot be an objective.* one of purity, .*chi2, .*auc, "):
            metrics.direction("bias", task)


@pytest.mark.parametrize("classes", [2, 3])
def test_metrics_of_the_most_probable_class_are_those_of_the_confusion_matrix(classes):
    """By their formulas; MCC by Gorodkin's for several classes, which for two is Matthews' own."""
    rng = np.random.default_rng(classes)
    labels = rng.integers(classes, size=300)
    probabilities = rng.dirichlet(np.ones(classes), 300) + 0.4 * np.eye(classes)[labels]
    c = np.zeros((classes, classes))
    np.add.at(c, (labels, probabilities.argmax(1)), 1)
    right, true, said, n = np.diag(c), c.sum(1), c.sum(0), c.sum()
    found = metrics.classification_in_full(probabilities, labels, [str(k) for k in range(classes)])
    assert found["f1"] == pytest.approx(np.mean(2 * right / (true + said)))
    assert found["balanced_accuracy"] == pytest.approx(np.mean(right / true))
    expected = (right.sum() * n - said @ true) / np.sqrt((n**2 - said @ said) * (n**2 - true @ true))
    assert found["mcc"] == pytest.approx(expected)
    some = labels > 0
    lacking = metrics.classification_in_full(probabilities[some], labels[some], [str(k) for k in range(classes)])
    assert np.isnan([lacking[name] for name in metrics.OF_LABELS]).all(), "a class has no image"
    assert all(metrics.direction(name) == "maximize" for name in metrics.OF_LABELS)


def test_copies_of_an_object_do_not_make_a_bootstrap_more_certain():
    """Every object eight times: the spread is that of the objects, whatever the number of their copies."""
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=60), np.arange(60) % 2
    once = metrics.bootstrap(lambda p, t: {"mean": p.mean()}, [values], labels, strata=labels)[0]["mean"]
    many, objects = np.repeat(values, 8), np.repeat(np.arange(60), 8)
    order = rng.permutation(480)
    copied = metrics.bootstrap(
        lambda p, t: {"mean": p.mean()}, [many[order]], labels[objects][order], strata=labels[objects][order],
        objects=objects[order],
    )[0]["mean"]  # fmt: skip
    naive = metrics.bootstrap(lambda p, t: {"mean": p.mean()}, [many], many)[0]["mean"]
    assert copied.std() == pytest.approx(once.std(), rel=0.1)
    assert naive.std() < 0.5 * once.std()
    alone = metrics.bootstrap(
        lambda p, t: {"mean": p.mean()}, [values], labels, strata=labels, objects=np.arange(60) + 7
    )
    assert np.array_equal(alone[0]["mean"], once), "objects of one image each change nothing"
