"""How much of its substructure an image can show, next to its noise.

A lens without substructure is fitted to each image that has some: the flux, place, size, ellipticity and Sersic index
of the source, the radius, ellipticity and centre of the halo, and the shear. What no such lens can imitate,

    chi^2 = min over smooth lenses of the sum over pixels of (light - smooth light)^2 / variance,

is twice the expected logarithm of the likelihood ratio between the lens as it is and the best smooth one. To choose
between these two images, an ideal classifier projects the noise onto their difference: two Gaussians of unit variance,
chi apart. Its AUC is Phi(chi / sqrt 2). `auc` is the mean over images and pairs of classes. For axion against cdm the
squares of both chi add up, as if no part of one substructure looked like a part of another.

No network that sees substructure can exceed `auc`, and none will reach it, since it must find the substructure first.
A network can exceed it by something else: where smooth lenses of known shape become other smooth lenses, as in the
public sets, whose substructure makes the lens heavier.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np
import torch
from scipy.special import ndtr

from trainers.data.cores import cores
from trainers.data.progress import progress_bar
from trainers.data.simulated.camera import NOISY, variance
from trainers.data.simulated.chunks import one_torch_thread
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import CLASSES, Population
from trainers.data.simulated.systems import Systems, draw

STEP = 1e-4
"""Of finite differences, in every parameter of `smooth`. All of them are of order 0.1 to 1."""
ITERATIONS, JACOBIANS = 6, 3
"""Steps of a fit, and the first ones, which have a Jacobian of their own. More change a median by less than 1 %."""
TINY = 1e-6
"""Keeps a fit solvable whose image no longer depends on some parameter; the others' squared derivatives exceed 1e3."""
BATCH = 10
PARAMETERS = (
    "source x", "source y", "log source radius", "log source index", "source e1", "source e2", "halo x", "halo y",
    "log halo radius", "halo e1", "halo e2", "shear 1", "shear 2", "log flux",
)  # fmt: skip
"""Of a smooth lens: arcsec, natural logarithms, and components of ellipticity and shear in the system's own frame."""


@dataclass(frozen=True)
class Fit:
    """The smooth lenses that fit B images best."""

    parameters: np.ndarray  # (B, 14), as in PARAMETERS
    left: np.ndarray  # (B, H, W): what they leave of the light, in units of its noise

    @property
    def chi(self) -> np.ndarray:
        """The magnitude (B,) of what is left."""
        magnitude: np.ndarray = np.sqrt((self.left**2).sum((1, 2)))
        return magnitude


@dataclass(frozen=True)
class Detectability:
    """The signal of the substructure in the images of a population, and what an ideal classifier makes of it."""

    chi: Mapping[str, float]  # class -> median over its images; empty if the images have no noise
    auc: float  # macro, one against the rest, of an ideal classifier of what no smooth lens can imitate
    images: int  # measured, a third of each class

    def __str__(self) -> str:
        if not self.chi:
            return "the images have no noise, so nothing limits what can be found in them"
        chi = ", ".join(f"{label} {value:.2g}" for label, value in self.chi.items())
        auc = f"of {self.auc:.3f}" if self.auc < 0.9995 else "above 0.999"
        return (
            f"the substructure differs from the best smooth lens by {chi} times the noise (medians of "
            f"{self.images // len(CLASSES)} lenses each); a classifier that knew where to look would reach an AUC {auc}"
        )


def detectability(
    population: Population, image_size: int, images: int, seed: int = 0, *, progress: bool = False
) -> Detectability:
    """Draw `images` systems, rounded up to a whole number of each class, and measure their substructure."""
    rng, each = np.random.default_rng(seed), -(-images // len(CLASSES))
    drawn = {label: draw(population, label, each, rng) for label in CLASSES}
    if population.camera not in NOISY:
        return Detectability({}, 1.0, each * len(CLASSES))
    signals = {label: np.zeros(each) for label in CLASSES}
    title = f"Measuring the substructure in {each * len(CLASSES)} lenses"
    with (
        one_torch_thread(),
        progress_bar(title, each * len(CLASSES), progress) as advance,
        ThreadPoolExecutor(cores()) as pool,
    ):
        for label, systems in drawn.items():
            if systems.point_radius.size:
                fits = pool.map(partial(fit, population, image_size=image_size), batches(systems))
                signals[label] = np.concatenate([found.chi for found in fits])
            advance(each)
    medians = {label: float(np.median(chi)) for label, chi in signals.items() if chi.any()}
    return Detectability(medians, ideal_auc(list(signals.values())), each * len(CLASSES))


def ideal_auc(signals: list[np.ndarray]) -> float:
    """Macro one-against-the-rest AUC for classes of equal size, from the chi of each one's images.

    It is the mean over pairs of classes, because a class against the rest is the mean of the pairs that it is in.
    """
    pairs = [(a, b) for i, a in enumerate(signals) for b in signals[i + 1 :]]
    return float(np.mean([ndtr(np.hypot.outer(a, b) / math.sqrt(2)).mean() for a, b in pairs]))


def batches(systems: Systems) -> list[Systems]:
    """The systems in groups of BATCH or fewer."""
    starts = range(0, len(systems.turn), BATCH)
    return [Systems(**{f.name: getattr(systems, f.name)[i : i + BATCH] for f in fields(Systems)}) for i in starts]


def fit(population: Population, systems: Systems, image_size: int) -> Fit:
    """Fit smooth lenses to the light of these systems, with the noise of the population's camera."""
    light = noiseless(population, systems, image_size, torch.float64).numpy()
    return refit(population, systems, light, np.sqrt(variance(population, light)))


def refit(population: Population, systems: Systems, light: np.ndarray, sigma: np.ndarray) -> Fit:
    """Fit smooth lenses to `light` (B, H, W) with noise `sigma`, by Levenberg's and Marquardt's steps.

    The search begins with the systems without their point masses. Steps that do not improve a fit are not taken.
    """
    count, size = len(light), light.shape[-1]

    def residual(parameters: np.ndarray) -> np.ndarray:
        model = noiseless(population, smooth(systems, parameters), size, torch.float64).numpy()
        flux = np.exp(parameters[:, -1, None, None])
        return ((light - flux * model) / sigma).reshape(count, -1)

    best = parameters_of(systems)
    left = residual(best)
    damping = np.full((count, 1, 1), 1e-3)
    for iteration in range(ITERATIONS):
        if iteration < JACOBIANS:
            moved = (best + STEP * np.eye(len(PARAMETERS))[k] for k in range(len(PARAMETERS)))
            jacobian = np.stack([(left - residual(parameters)) / STEP for parameters in moved], axis=2)
            normal = jacobian.transpose(0, 2, 1) @ jacobian
        damped = normal + damping * normal * np.eye(len(PARAMETERS)) + TINY * np.eye(len(PARAMETERS))
        step = np.linalg.solve(damped, jacobian.transpose(0, 2, 1) @ left[:, :, None])[:, :, 0]
        trial = residual(best + step)
        better = (trial**2).sum(1) < (left**2).sum(1)
        best = np.where(better[:, None], best + step, best)
        left = np.where(better[:, None], trial, left)
        damping = np.where(better[:, None, None], damping / 10, damping * 10)
    return Fit(best, left.reshape(light.shape))


def parameters_of(systems: Systems) -> np.ndarray:
    """The PARAMETERS (B, 14) of the systems without their point masses."""
    s = systems
    source_e, halo_e = ((1 - q) / (1 + q) for q in (s.source_q, s.halo_q))
    columns = (
        s.source_x, s.source_y, np.log(s.source_radius), np.log(s.source_index),
        source_e * np.cos(2 * s.source_angle), source_e * np.sin(2 * s.source_angle),
        s.halo_x, s.halo_y, np.log(s.halo_radius),
        halo_e * np.cos(2 * s.halo_angle), halo_e * np.sin(2 * s.halo_angle),
        s.shear_1, s.shear_2, np.zeros(len(s.turn)),
    )  # fmt: skip
    return np.stack(columns, axis=1)


def smooth(systems: Systems, parameters: np.ndarray) -> Systems:
    """The systems with these PARAMETERS (B, 14), but for the flux, and without point masses."""
    x, y, radius, index, source_1, source_2, halo_x, halo_y, halo_radius, halo_1, halo_2, shear_1, shear_2, _ = (
        parameters.T
    )
    source_e, halo_e = (np.minimum(np.hypot(*e), 0.9) for e in ((source_1, source_2), (halo_1, halo_2)))
    none = np.zeros((len(x), 0))
    return replace(
        systems,
        source_x=x,
        source_y=y,
        source_radius=np.exp(radius),
        source_index=np.exp(index).clip(0.2, 10.0),
        source_q=(1 - source_e) / (1 + source_e),
        source_angle=0.5 * np.arctan2(source_2, source_1),
        halo_x=halo_x,
        halo_y=halo_y,
        halo_radius=np.exp(halo_radius),
        halo_q=(1 - halo_e) / (1 + halo_e),
        halo_angle=0.5 * np.arctan2(halo_2, halo_1),
        shear_1=shear_1,
        shear_2=shear_2,
        point_x=none,
        point_y=none,
        point_radius=none,
    )
