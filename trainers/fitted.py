"""Baselines without a network: boosted trees on intensity statistics, or on principal components."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from torch import Tensor

from trainers.batch.normalise import normalise
from trainers.evaluate import SYMMETRIES, turned

if TYPE_CHECKING:
    from trainers.data import Images, Split
    from trainers.tasks import Task

Features = Callable[[Tensor], Tensor]  # stored images (B, C, S, S) -> (B, features)

SIDE = 32  # pixels a side of the images that the principal components see
MOST_FEATURES = 3 * SIDE**2  # pixels of all channels
COMPONENTS = 200
AT_MOST = 2048  # training images, evenly spaced, that decide the components
TREES = {"max_iter": 100, "learning_rate": 0.1, "max_leaf_nodes": 31, "early_stopping": False, "random_state": 0}
SOME = {"max_features": 0.1}  # of the components at each split: as good as all of them, and a third faster
QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
BATCH = 256  # images at once
BRIGHTEST = 0.05  # share of the pixels whose share of the light is a statistic
FITTED: dict[str, dict[str, Any]] = {
    "statistics": {"trees": TREES, "quantiles": QUANTILES, "brightest": BRIGHTEST},
    "pca": {"trees": TREES | SOME, "side": SIDE, "components": COMPONENTS, "images": AT_MOST},
}
"""The baselines by name, with everything that decides what is fitted."""


@dataclass(frozen=True)
class Fitted:
    """Boosted trees on features of the images, which predict the same of an image and of its mirrored or turned copies.

    They average their predictions over `symmetries`. With statistics, which do not change, the image itself suffices.
    """

    features: Features
    symmetries: Sequence[int]
    trees: Sequence[HistGradientBoostingClassifier | HistGradientBoostingRegressor]  # one, or one for each number
    classes: int  # 0: they predict numbers
    sigma: tuple[float, ...] = ()  # of each number, the same for all images, if the task asks for it

    def predict(self, images: Images) -> Tensor:
        """What a task's `predict` returns, for stored images (N, C, S, S), float64."""
        views = np.mean([self._of_view(images, k) for k in self.symmetries], axis=0)
        if self.classes:
            found = np.zeros((len(images), self.classes))
            found[:, self.trees[0].classes_] = views  # a class without training images has no column
            return torch.from_numpy(found)
        value = torch.from_numpy(views)
        return torch.cat([value, value.new_tensor(self.sigma).expand(len(value), -1)], 1) if self.sigma else value

    def _of_view(self, images: Images, symmetry: int) -> NDArray[Any]:
        x = features_of(images, self.features, symmetry)
        if self.classes:
            return np.asarray(self.trees[0].predict_proba(x))
        return np.stack([trees.predict(x) for trees in self.trees], 1)


def fit_trees(name: str, train: Split, val: Split, task: Task) -> Fitted:
    """Fit one of FITTED to the selected split `train`. Standard deviations are the errors on `val`, one for all images.

    The same images give the same trees.
    """
    features = statistics if name == "statistics" else components(train.images)
    symmetries = SYMMETRIES[:1] if name == "statistics" else SYMMETRIES
    x = np.concatenate([features_of(train.images, features, k) for k in symmetries])
    y = task.targets(train).cpu().numpy().reshape(len(train), -1)
    kind = HistGradientBoostingClassifier if task.classifies else HistGradientBoostingRegressor
    trees = [kind(**FITTED[name]["trees"]).fit(x, np.tile(values, len(symmetries))) for values in y.T]
    fitted = Fitted(features, symmetries, trees, len(task.classes))
    if not task.with_sigma:
        return fitted
    error = fitted.predict(val.images) - task.targets(val).cpu()
    return replace(fitted, sigma=tuple((error**2).mean(0).sqrt().tolist()))


def features_of(images: Images, features: Features, symmetry: int) -> NDArray[Any]:
    """The features of every image under one symmetry, (N, features)."""
    starts = range(0, len(images), BATCH)
    return torch.cat([features(turned(images[i : i + BATCH].cpu(), symmetry)) for i in starts]).numpy()


def statistics(images: Tensor) -> Tensor:
    """Thirteen statistics of each channel's pixels, as stored, (B, 13 C) float64. No turn or mirror changes them.

    They are the mean, standard deviation, skewness and kurtosis; the QUANTILES; the radius of gyration of the light
    about the image's centre in pixels; and the brightest pixels' share of the light. Light counts from the channel's
    minimum.
    """
    x = images.double().flatten(2)  # (B, C, pixels)
    side = images.shape[-1]
    mean, sd = x.mean(-1), x.std(-1, correction=0)
    z = (x - mean[..., None]) / sd[..., None].clamp_min(1e-300)
    quantiles = x.quantile(x.new_tensor(QUANTILES), -1)  # (quantiles, B, C)
    light = x - quantiles[0][..., None]
    total = light.sum(-1).clamp_min(1e-300)
    from_centre = (torch.arange(side) - (side - 1) / 2).square()
    radius = ((light * (from_centre[:, None] + from_centre).flatten()).sum(-1) / total).sqrt()
    brightest = light.topk(max(round(BRIGHTEST * side**2), 1), -1).values.sum(-1) / total
    moments = (mean, sd, (z**3).mean(-1), (z**4).mean(-1))
    return torch.stack([*moments, *quantiles, radius, brightest], -1).flatten(1)


def components(train: Images) -> Features:
    """The principal components of some training images and their copies under every symmetry.

    The images are standardised each by itself, and brought to at most SIDE pixels a side by averaging, or to fewer if
    their channels are many: finding the components takes the cube of the number of pixels.
    """

    def pixels(images: Tensor) -> Tensor:
        side = min(images.shape[-1], SIDE, math.isqrt(MOST_FEATURES // images.shape[1]))
        small = F.adaptive_avg_pool2d(normalise(images, "zscore"), side)
        return small.flatten(1)

    some = torch.arange(0, len(train), -(-len(train) // AT_MOST)).to(train.device)
    copies = torch.cat([pixels(turned(train[some].cpu(), k)) for k in SYMMETRIES]).numpy()
    mean, (count, features) = copies.mean(0), copies.shape
    copies -= mean
    # scikit-learn's PCA finds all components, which is most of an audit's time for images of three channels.
    _, directions = eigh(copies.T @ copies, subset_by_index=(features - min(COMPONENTS, count, features), features - 1))

    def project(images: Tensor) -> Tensor:
        return torch.from_numpy((pixels(images).numpy() - mean) @ directions)

    return project
