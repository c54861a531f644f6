"""Simulated lenses with what an image alone does not tell: where the ring, the substructure and its signal are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from trainers.data.cores import cores
from trainers.data.dataset import TARGETS, Dataset, Split
from trainers.data.simulated.camera import NOISY, expose
from trainers.data.simulated.chunks import one_torch_thread
from trainers.data.simulated.detectability import batches, fit
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import CLASSES, Population
from trainers.data.simulated.systems import Systems, draw

MOST_MASS = 0.9
"""Of a lens's substructure: the heaviest point masses that hold this share are the ones that count."""
NEAR = 0.15
"""Arcsec from such a point mass. A subhalo of 1e10 solar masses has an Einstein radius of 0.17 arcsec in `fair`."""


@dataclass(frozen=True)
class KnownLenses:
    """B lenses whose `data` has no training and validation images. Pixels are (B, S, S)."""

    data: Dataset
    light: np.ndarray  # without noise
    radius: np.ndarray  # distance from the lens, in Einstein radii
    near: np.ndarray  # bool: within NEAR of the substructure
    signal: np.ndarray  # chi^2 of what no smooth lens imitates; 0 without substructure, and without noise
    shear: np.ndarray  # (B,) complex: twice the angle of the axis along which the shear stretches, x to y down the rows

    def rows(self, rows: np.ndarray) -> KnownLenses:
        """Some of the lenses, by the numbers that `objects` gives them; `data` stays whole."""
        arrays = {name: getattr(self, name)[rows] for name in ("light", "radius", "near", "signal", "shear")}
        return replace(self, **arrays)

    def axis(self) -> tuple[float, float]:
        """The mean axis along which the shear stretches, in degrees, and how far the lenses have it in common, 0 to 1.

        0 degrees is along a row, 90 down the rows.
        """
        mean = self.shear.sum() / np.abs(self.shear).sum()
        return float(np.degrees(np.angle(mean)) / 2 % 180), float(np.abs(mean))


def draw_known(population: Population, name: str, image_size: int, images: int, seed: int) -> KnownLenses:
    """Draw `images` lenses, rounded up to a whole number of each class. The same seed draws the same lenses."""
    rng, each = np.random.default_rng(seed), -(-images // len(CLASSES))
    drawn = [draw(population, label, each, rng) for label in CLASSES]
    with one_torch_thread():
        light = [noiseless(population, systems, image_size, torch.float64) for systems in drawn]
        stored = np.concatenate([expose(population, of_class, rng) for of_class in light])
        signals = [_signal(population, systems, image_size) for systems in drawn]
    split = Split(
        torch.from_numpy(stored[:, None]),
        torch.arange(len(CLASSES)).repeat_interleave(each),
        {t: torch.from_numpy(np.concatenate([getattr(systems, t) for systems in drawn])) for t in TARGETS},
        objects=torch.arange(len(stored)),  # so that some of them can be recognised
    )
    none = split.rows(torch.arange(0))
    places = [pixels_from(population, systems, image_size) for systems in drawn]
    return KnownLenses(
        Dataset(name, CLASSES, none, none, split),
        light=np.concatenate([of_class.numpy() for of_class in light]),
        radius=np.concatenate([radius for radius, _ in places]),
        near=np.concatenate([near for _, near in places]),
        signal=np.concatenate(signals),
        shear=np.concatenate([_shear(systems) for systems in drawn]),
    )


def pixels_from(population: Population, systems: Systems, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel's distance from the lens in Einstein radii, and whether it is near substructure, both (B, S, S)."""
    axis = (np.arange(image_size) - (image_size - 1) / 2) * population.field / image_size  # arcsec, as in `noiseless`
    column, row = axis[None, None, :], axis[None, :, None]
    halo_x, halo_y = on_sky(systems, systems.halo_x[:, None], systems.halo_y[:, None])
    radius = np.hypot(column - halo_x[:, :, None], row - halo_y[:, :, None]) / systems.einstein_radius[:, None, None]
    near = np.zeros(radius.shape, dtype=bool)
    x, y = on_sky(systems, systems.point_x, systems.point_y)
    for k, counts in enumerate(fewest(systems.point_radius**2, MOST_MASS).T):
        distance = np.hypot(column - x[:, k, None, None], row - y[:, k, None, None])
        near |= counts[:, None, None] & (distance < NEAR)
    return radius, near


def on_sky(systems: Systems, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places (B, K) in the systems' own frame as places in the image, both in arcsec from its centre."""
    y = np.where(systems.mirrored[:, None], -y, y)
    cos, sin = np.cos(systems.turn)[:, None], np.sin(systems.turn)[:, None]
    return x * cos - y * sin, x * sin + y * cos


def fewest(values: np.ndarray, part: float) -> np.ndarray:
    """The mask (B, ...) of the fewest of each row's values, 0 or more, that hold this part of their sum.

    Values equal to the least of them count too, as the masses of a vortex do; zeros never do.
    """
    flat = values.reshape(len(values), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    ranked = np.take_along_axis(flat, order, axis=1)
    before = np.cumsum(ranked, axis=1) - ranked
    needed = (before < part * flat.sum(axis=1, keepdims=True)) & (ranked > 0)
    least = np.where(needed, ranked, np.inf).min(axis=1, keepdims=True, initial=np.inf)
    return (flat >= least * (1 - 1e-9)).reshape(values.shape)


def _shear(systems: Systems) -> np.ndarray:
    """gamma exp(2 i phi) in the image, (B,)."""
    shear = systems.shear_1 + 1j * np.where(systems.mirrored, -systems.shear_2, systems.shear_2)
    turned: np.ndarray = shear * np.exp(2j * systems.turn)
    return turned


def _signal(population: Population, systems: Systems, image_size: int) -> np.ndarray:
    """The squared difference of each pixel's light from the best smooth lens's, over its variance, (B, S, S)."""
    if population.camera not in NOISY or not systems.point_radius.size:
        return np.zeros((len(systems.turn), image_size, image_size))
    with ThreadPoolExecutor(cores()) as pool:
        fits = pool.map(partial(fit, population, image_size=image_size), batches(systems))
        return np.concatenate([found.left**2 for found in fits])
