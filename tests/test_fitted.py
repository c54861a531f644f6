"""Trees without a network: features as computed by hand, and predictions that no turn or mirror changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from trainers import fitted, metrics
from trainers.batch.normalise import normalise
from trainers.data import Split
from trainers.evaluate import SYMMETRIES, turned
from trainers.fitted import FITTED, components, fit_trees, statistics
from trainers.regression import Regression
from trainers.tasks.substructure import Task


@pytest.mark.parametrize(("channels", "features"), [(1, 32**2), (3, 3 * 32**2), (12, 12 * 16**2)])
def test_many_channels_are_seen_at_fewer_pixels_since_components_take_the_cube_of_them(monkeypatch, channels, features):
    sizes = []
    monkeypatch.setattr(fitted, "eigh", lambda matrix, **_: (None, sizes.append(len(matrix))))
    components(torch.randn(3, channels, 36, 36))
    assert sizes == [features]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A few trees, on one thread."""
    for name, settings in FITTED.items():
        monkeypatch.setitem(FITTED, name, settings | {"trees": settings["trees"] | {"max_iter": 20}})
    with threadpool_limits(1):
        yield


def by_hand(pixels):
    """The statistics of one channel, pixel by pixel."""
    values = sorted(pixels.flatten().tolist())
    light = pixels - values[0]
    centre = (len(pixels) - 1) / 2
    moment = sum(light[y, x] * ((y - centre) ** 2 + (x - centre) ** 2) for y in range(8) for x in range(8))
    brightest = sum(sorted(light.flatten().tolist())[-3:])  # 5% of 64 pixels
    return [
        np.mean(values), np.std(values), stats.skew(values), stats.kurtosis(values, fisher=False),
        *np.quantile(values, [0, 0.25, 0.5, 0.75, 0.9, 0.99, 1]),
        (moment / light.sum()) ** 0.5, brightest / light.sum(),
    ]  # fmt: skip


def test_statistics_are_those_computed_by_hand_and_the_same_in_every_view():
    images = torch.from_numpy(np.random.default_rng(0).gamma(2, 100, (5, 2, 8, 8)).astype(np.int64))
    found = statistics(images)
    assert found.numpy() == pytest.approx(np.array([[*by_hand(i[0]), *by_hand(i[1])] for i in images.numpy()]))
    for k in SYMMETRIES:
        assert statistics(turned(images, k)).numpy() == pytest.approx(found.numpy())
    assert torch.isfinite(statistics(torch.full((1, 1, 8, 8), 3.0))).all()


@pytest.mark.parametrize("count", [2, 100])
def test_components_are_uncorrelated_and_keep_the_variance_that_those_of_scikit_learn_keep(monkeypatch, count):
    """Of turned copies some variances are equal, so the components themselves may differ."""
    monkeypatch.setattr("trainers.fitted.COMPONENTS", 20)
    images = torch.from_numpy(np.random.default_rng(0).normal(5, 3, (count, 2, 8, 8)).astype("f4"))
    copies = [turned(images, k) for k in SYMMETRIES]
    theirs = PCA(min(20, 8 * count), svd_solver="full").fit(
        torch.cat([normalise(copy, "zscore") for copy in copies]).flatten(1).numpy()
    )
    project = components(images)
    ours = np.cov(torch.cat([project(copy) for copy in copies]).numpy(), rowvar=False)
    assert ours == pytest.approx(np.diag(theirs.explained_variance_[::-1]), abs=1e-3)


def rings(n, classes=3, seed=0):
    """Rings of a radius and brightness for each class, off the centre and in noise; their target is the radius."""
    rng = np.random.default_rng(seed)
    labels = torch.arange(n) % classes
    y, x = np.mgrid[:16, :16] - 7.5
    radius = 3 + 1.5 * labels.numpy() + rng.normal(0, 0.2, n)
    images = [
        (1 + label) * np.exp(-((np.hypot(y - rng.normal(0, 0.3), x - rng.normal(0, 0.3)) - r) ** 2))
        + rng.normal(0, 0.3, y.shape)
        for label, r in zip(labels.tolist(), radius, strict=True)
    ]
    pixels = torch.from_numpy(np.stack(images)[:, None].astype(np.float32))
    return Split(pixels, labels, {"radius": torch.from_numpy(radius), "area": torch.from_numpy(radius**2)})


MASS = Regression(("radius",))


@pytest.mark.parametrize("name", FITTED)
def test_trees_tell_the_classes_apart_however_the_images_are_turned(name):
    train, test, task = rings(90), rings(60, seed=1), Task(("a", "b", "c"))
    trees = fit_trees(name, train, train, task)
    upright = trees.predict(test.images)
    assert metrics.macro_auc(upright.numpy(), test.labels.numpy()) > 0.95
    assert torch.allclose(upright.sum(1), torch.ones(60, dtype=torch.float64))
    for k in SYMMETRIES:
        assert trees.predict(turned(test.images, k)).numpy() == pytest.approx(upright.numpy(), abs=1e-6)
    assert torch.equal(fit_trees(name, train, train, task).predict(test.images), upright), "the same every time"


def test_a_class_without_training_images_has_probability_zero():
    train = rings(60, classes=2)
    train = replace(train, labels=train.labels * 2)
    predicted = fit_trees("statistics", train, train, Task(("a", "b", "c"))).predict(rings(9).images)
    assert predicted.shape == (9, 3)
    assert (predicted[:, 1] == 0).all()


@pytest.mark.parametrize("name", FITTED)
def test_trees_measure_a_number_and_their_sigma_is_the_error_on_validation_images(name):
    train, val, test = rings(90), rings(60, seed=1), rings(60, seed=2)
    plain = fit_trees(name, train, val, MASS).predict(test.images)
    assert metrics.regression(plain.numpy(), test.targets["radius"].numpy())["r2"] > 0.8
    trees = fit_trees(name, train, val, replace(MASS, with_sigma=True))
    found, on_val = trees.predict(test.images), trees.predict(val.images)
    assert torch.equal(found[:, :1], plain)
    assert len(found[:, 1].unique()) == 1
    assert metrics.regression(on_val.numpy(), val.targets["radius"].numpy())["z_rms"] == pytest.approx(1)
    both = fit_trees(name, train, val, Regression(("area", "radius"), with_sigma=True)).predict(test.images)
    assert torch.equal(both[:, 1::2], found), "of several numbers each has its own trees"
