"""What can be had without seeing the substructure: sixteen numbers of each image, and which physics they read.

    python benchmarks/trivial_statistics.py [--preset fair] [--images 1800] [--twins 300]

Prints the AUC (macro, one against the rest; then each pair of classes) of boosted trees, cross-validated, on sixteen
statistics that do not change when an image is turned or mirrored. Then the same for "twins": every image is replaced
by that of the smooth lens that fits it best (trainers/data/simulated/detectability.py), with noise. What the trees
still tell there is no substructure but a change of the lens as a whole; the last table says of what: how far the
parameters of the twins are from those of the smooth lenses of the population. Last, boosted trees on 100 principal
components, trained upright and tested upright, turned and mirrored: they must agree.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from trainers import fitted
from trainers.data.simulated.camera import expose
from trainers.data.simulated.detectability import PARAMETERS, batches, fit, parameters_of, smooth
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import CLASSES, Population, preset
from trainers.data.simulated.systems import draw
from trainers.metrics import macro_auc

Array = NDArray[np.floating]
Labels = NDArray[np.integer]


def statistics(images: Array) -> Array:
    """(N, 16) of images (N, H, W): those of `trainers.fitted`, and the thickness, centre and shape of the light."""
    axis = np.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    x, y = np.meshgrid(axis, axis)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)

    def mean(of: Array) -> Array:
        """Weighted by light."""
        return (images * of).sum((1, 2)) / images.sum((1, 2))

    light = (
        mean(radius**2) - mean(radius) ** 2,
        np.hypot(mean(x), mean(y)),
        np.hypot(mean(np.cos(2 * angle)), mean(np.sin(2 * angle))),
    )
    return np.column_stack([fitted.statistics(torch.from_numpy(images)[:, None]).numpy(), *light])


def trees() -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=100, learning_rate=0.06, max_leaf_nodes=12, random_state=0)


def told_apart(features: Array, labels: Labels) -> str:
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    p = cross_val_predict(trees(), features, labels, cv=folds, method="predict_proba")
    pairs = []
    for a, b in ((0, 2), (1, 2), (0, 1)):
        either = (labels == a) | (labels == b)
        value = roc_auc_score(labels[either] == a, p[either, a] - p[either, b])
        pairs.append(f"{CLASSES[a]}/{CLASSES[b]} {value:.2f}")
    return f"{macro_auc(p, labels):.3f}  ({', '.join(pairs)})"


def simulated(population: Population, count: int, size: int, rng: np.random.Generator) -> tuple[Array, Labels]:
    """Images (N, H, W) and labels (N,), `count` of each class."""
    light = [noiseless(population, draw(population, label, count, rng), size) for label in CLASSES]
    images = np.concatenate([expose(population, part, rng) for part in light]).astype(float)
    return images, np.arange(len(CLASSES)).repeat(count)


def twins(population: Population, count: int, size: int, rng: np.random.Generator) -> tuple[Array, Labels, Array]:
    """As `simulated`, from the smooth lens that fits each best, and the parameters' shifts (N, 14)."""
    images, shifts = [], []
    for label in CLASSES:
        for part in batches(draw(population, label, count, rng)):
            start = parameters_of(part)
            best = fit(population, part, size).parameters if part.point_x.size else start
            flux = torch.from_numpy(np.exp(best[:, -1, None, None]))
            images.append(expose(population, flux * noiseless(population, smooth(part, best), size), rng))
            if population.conserve_mass:  # compare the halo with what it was before it gave up mass
                start[:, PARAMETERS.index("log halo radius")] -= np.log1p(-part.mass_fraction)
            shifts.append(best - start)
    return np.concatenate(images).astype(float), np.arange(len(CLASSES)).repeat(count), np.concatenate(shifts)


def principal_components(images: Array, labels: Labels) -> dict[str, float]:
    """Macro AUC by view of the test images: every third image of each class."""
    test = np.arange(len(labels)) % 3 == 0
    flat = images / images.max((1, 2), keepdims=True)
    model = make_pipeline(PCA(100, random_state=0), trees()).fit(flat[~test].reshape((~test).sum(), -1), labels[~test])
    views = {"upright": flat[test], "turned": np.rot90(flat[test], 1, (1, 2)), "mirrored": flat[test][:, :, ::-1]}
    return {view: macro_auc(model.predict_proba(x.reshape(len(x), -1)), labels[test]) for view, x in views.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fair")
    parser.add_argument("--images", type=int, default=1800)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--twins", type=int, default=300, help="of each class; 0.2 s each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    population, rng = preset(args.preset), np.random.default_rng(0)
    images, labels = simulated(population, args.images // len(CLASSES), args.image_size, rng)
    print(f"sixteen statistics, {len(images)} images:  {told_apart(statistics(images), labels)}", flush=True)
    components = principal_components(images, labels)
    print(
        "100 principal components:  " + ", ".join(f"{view} {auc:.3f}" for view, auc in components.items()), flush=True
    )
    few = np.concatenate([np.flatnonzero(labels == k)[: args.twins] for k in range(len(CLASSES))])
    print(f"sixteen statistics, {len(few)} images:  {told_apart(statistics(images[few]), labels[few])}", flush=True)
    images, labels, shifts = twins(population, args.twins, args.image_size, rng)
    print(f"sixteen statistics, {len(images)} smooth twins:  {told_apart(statistics(images), labels)}")
    print(f"{'shift of the twins, mean ± sd':32}" + "".join(f"{label:>20}" for label in CLASSES[:2]))
    for k, name in enumerate(PARAMETERS):
        each = [shifts[labels == c, k] for c in range(2)]
        print(f"{name:32}" + "".join(f"{x.mean():+11.3f} ± {x.std():.3f}" for x in each))


if __name__ == "__main__":
    main()
