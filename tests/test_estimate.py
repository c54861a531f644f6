"""Intervals over seeds and images agree with the textbook where it has them, and cover what they promise to."""

import numpy as np
import pytest
from scipy.stats import bootstrap, norm, t, ttest_1samp, ttest_ind

from trainers import metrics
from trainers.estimate import RESAMPLES, Estimate, estimates, intervals, limited


def mean(predicted, truth):
    return {"mean": float(predicted.mean())}


def mann_whitney(predicted, truth):
    """The AUC, fast for few images."""
    return {"auc": float((predicted[truth == 1][:, None] > predicted[truth == 0]).mean())}


def alike(values, images=20):
    """Predictions of networks that say one value of every image: there is no noise of images."""
    return [np.full(images, value) for value in values]


def test_without_noise_of_images_intervals_and_p_values_are_those_of_student_and_of_welch():
    few, more = [0.2, 0.5, 0.6], [0.3, 0.35, 0.2, 0.31, 0.28]
    one, other = (found["mean"] for found in estimates(mean, [alike(few), alike(more)], np.zeros(20)))
    assert one.value == pytest.approx(np.mean(few))
    assert one.interval() == pytest.approx(ttest_1samp(few, 0).confidence_interval())
    assert (one - other).value == pytest.approx(np.mean(few) - np.mean(more))
    assert (one - other).interval() == pytest.approx(ttest_ind(few, more, equal_var=False).confidence_interval())
    assert one.p_value() == pytest.approx(ttest_1samp(few, 0).pvalue)
    assert (one - other).p_value() == pytest.approx(ttest_ind(few, more, equal_var=False).pvalue)


def test_without_noise_of_seeds_the_interval_is_that_of_the_images():
    """Also of a single network, as of a deterministic method. scipy's bootstrap is the reference."""
    x = np.random.default_rng(0).normal(size=300)
    reference = bootstrap((x,), np.mean, n_resamples=2000, method="percentile", rng=1).confidence_interval
    for seeds in (1, 3):
        ((found),) = (e["mean"] for e in estimates(mean, [[x] * seeds], x))
        assert found.interval() == pytest.approx(tuple(reference), abs=0.02)


def test_the_resamples_are_those_of_a_naive_loop():
    """Every network of every method sees the same images; each class keeps its number of them."""
    rng = np.random.default_rng(3)
    labels = np.array([0] * 30 + [1] * 10)
    predicted = rng.dirichlet([1, 1], (5, 40))
    one, other = estimates(metrics.classification, [predicted[:3], predicted[3:]], labels, strata=labels)
    rng = np.random.default_rng(0)
    for b in range(RESAMPLES):
        rows = np.concatenate([rng.choice(np.flatnonzero(labels == k), (labels == k).sum()) for k in (0, 1)])
        each = [metrics.classification(p[rows], labels[rows])["accuracy"] for p in predicted]
        assert one["accuracy"].resampled[b] == pytest.approx(np.mean(each[:3]))
        assert (one["accuracy"] - other["accuracy"]).resampled[b] == pytest.approx(
            np.mean(each[:3]) - np.mean(each[3:])
        )


def test_a_difference_is_paired_over_the_images():
    """Two methods that share what is hard about an image differ far more surely than their own intervals say."""
    rng = np.random.default_rng(0)
    hard = rng.normal(size=200)
    methods = [[hard + shift + 0.05 * rng.normal(size=200) for _ in range(3)] for shift in (0.0, 0.1)]
    one, other = (found["mean"] for found in estimates(mean, methods, hard))
    low, high = (other - one).interval()
    assert 0 < low < 0.1 < high
    assert high - low < np.ptp(one.interval()) / 5


def test_the_noise_of_each_network_on_each_image_counts_once():
    """Its variance is in the bootstrap over the images and in the spread of the seeds: here there is no other."""
    rng, widths = np.random.default_rng(0), []
    for _ in range(40):
        networks = list(rng.normal(size=(8, 100)))
        (found,) = estimates(mean, [networks], networks[0])
        widths.append(np.ptp(found["mean"].interval()))
    assert np.median(widths) == pytest.approx(2 * t.ppf(0.975, 7) / np.sqrt(800), rel=0.1)


def test_a_seed_that_disagrees_makes_the_difference_uncertain():
    """With .959, .871, .951 against .92: the images alone would have excluded zero."""
    images = np.random.default_rng(0).normal(0, 0.05, 600)
    steady = [images + value for value in (0.918, 0.92, 0.922)]
    lucky = [images + value for value in (0.959, 0.871, 0.951)]
    one, other = (found["mean"] for found in estimates(mean, [lucky, steady], images))
    low, high = (one - other).interval()
    assert low < 0 < high
    alone = Estimate((one - other).value, one.resampled - other.resampled, (), 0.0).interval()
    assert not alone[0] <= 0 <= alone[1]


@pytest.mark.parametrize(
    ("metric", "interval", "expected"),
    [
        ("auc_d4_worst", (0.9, 1.1), (0.9, 1.0)),
        ("ap_cdm", (-0.2, 0.3), (0.0, 0.3)),
        ("loss", (-0.1, 1.2), (0.0, 1.2)),
        ("r2", (-0.5, 1.2), (-0.5, 1.0)),
        ("nll", (-3.0, 2.0), (-3.0, 2.0)),
        ("mae_theta_E", (-0.1, 1.2), (0.0, 1.2)),
        ("r2_theta_E", (-0.5, 1.2), (-0.5, 1.0)),
        ("r2_within_theta_E", (-0.5, 1.2), (-0.5, 1.0)),
        ("nll_theta_E", (-3.0, 2.0), (-3.0, 2.0)),
        ("scatter_theta_E_d4_mean", (-0.1, 2.0), (0.0, 2.0)),
        ("bias_theta_E", (-3.0, 2.0), (-3.0, 2.0)),
        ("bias", (-3.0, 2.0), (-3.0, 2.0)),
        ("my_own", (-3.0, 2.0), (-3.0, 2.0)),
    ],
)
def test_an_interval_ends_where_the_metric_does(metric, interval, expected):
    assert limited(metric, interval) == expected


def coverage(seeds, spread, *, repetitions, images, of_difference, metric, strata):
    """The share of intervals that contain the truth, for networks whose skill is 1 + `spread` * noise of their seed.

    A network's score is its skill where the label is 1, plus noise of the image and of its own. The truth is the mean
    of the metric over all networks and images: a closed form, integrated over the skills.
    """
    rng, inside = np.random.default_rng(seeds), 0
    labels = np.arange(images) % 2
    skills = 1 + spread * norm.ppf((np.arange(2000) + 0.5) / 2000)
    expected = {
        "auc": norm.cdf(skills / np.sqrt(2 * 1.25)).mean(),  # of two scores with variance 1 + 0.5**2
        "mean": skills.mean() / 2,
    }[metric]
    score = {"auc": mann_whitney, "mean": mean}[metric]

    def method(hard):
        skill = 1 + spread * rng.normal(size=(seeds, 1))
        return list(skill * labels + hard + 0.5 * rng.normal(size=(seeds, images)))

    for _ in range(repetitions):
        hard = rng.normal(size=images)
        methods = [method(hard), method(hard)] if of_difference else [method(hard)]
        found = [e[metric] for e in estimates(score, methods, labels, strata=labels if strata else None)]
        low, high = (found[0] - found[1] if of_difference else found[0]).interval()
        inside += low <= (0 if of_difference else expected) <= high
    return inside / repetitions


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_truth_as_often_as_they_say(seeds):
    """With noise of seeds as large as that of images: 0.3 / 2 = 0.15, and 1 / sqrt(60) = 0.13."""
    how = {"repetitions": 250, "images": 60, "of_difference": False, "metric": "mean", "strata": False}
    assert 0.90 <= coverage(seeds, 0.3, **how) <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("of_difference", [False, True])
@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_of_an_auc_cover_the_truth_as_often_as_they_say(seeds, of_difference):
    """Seeds vary it by 0.05, images by as much. (With three seeds that vary it by 0.1, 89% are covered.)"""
    how = {"repetitions": 400, "images": 100, "of_difference": of_difference, "metric": "auc", "strata": True}
    assert 0.90 <= coverage(seeds, 0.25, **how) <= 0.98


@pytest.mark.parametrize("images", [4, 20, 200])
def test_a_perfect_score_of_a_few_images_has_noise(images):
    """Half an interval is 3 / n of the smaller class: what is right on n of n images may be wrong on 3 / n of all."""
    truth = np.arange(images) % 2
    right = np.eye(2)[truth] * 0.8 + 0.1
    random = np.random.default_rng(0).random((images, 2))
    perfect, other = estimates(metrics.classification, [[right, right], [random]], truth, strata=truth)
    low, high = perfect["auc"].interval()
    assert high - perfect["auc"].value == pytest.approx(3 / (images / 2), rel=1e-3)
    assert (low > 0.5) == (images > 12)
    assert 0 < (perfect["auc"] - other["auc"]).p_value() < 1


def test_what_no_resample_changes_has_no_interval():
    """With one image of each class, every resample is the same. A share has the rule of three; a log loss has none."""
    labels = np.array([0, 1])
    (found,) = estimates(metrics.classification, [[np.array([[0.6, 0.4], [0.4, 0.6]])]], labels, strata=labels)
    assert found["loss"].value == pytest.approx(-np.log(0.6))
    assert intervals(found).keys() & {"loss", "accuracy"} == {"accuracy"}
