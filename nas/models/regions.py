"""How much of an attribution lies where: in regions of known lenses, and in rings about the centre."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from trainers import metrics

if TYPE_CHECKING:
    from trainers.data.simulated.known import KnownLenses

RING = (0.75, 1.25)  # Einstein radii
HALF = 0.5  # of the signal
FEWEST = 5  # images of an interval


@dataclass(frozen=True)
class Region:
    """Some pixels of each image, and their share of four things, all averaged over the images that have such pixels."""

    name: str
    images: int
    area: float
    light: float
    attribution: float
    interval: tuple[float, float]  # of the attribution's share, 95%, over the images
    untrained: float  # the attribution's share in the same networks with random weights
    beyond: tuple[float, float]  # 95% interval, paired by image, of what the attribution has over the largest rival

    @property
    def rival(self) -> float:
        """The largest share of what would be no sight of the substructure: area, light, and untrained."""
        return max(self.area, self.light, self.untrained)

    @property
    def times(self) -> float:
        """How many times as much of the attribution it has as its area."""
        return self.attribution / self.area


@dataclass(frozen=True)
class Profile:
    """The density of the attribution and the light in rings about the centre, where 1 is the mean of the image."""

    unit: str  # of the radii
    radius: list[float]
    attribution: list[float]
    light: list[float]


def regions(known: KnownLenses, maps: np.ndarray, control: np.ndarray) -> Iterator[Region]:
    """The regions that there are, of absolute attributions (N, S, S) by the model and by the untrained one.

    They are the ring, what is NEAR the substructure, and the fewest pixels that hold half of the signal.
    """
    from trainers.data.simulated.known import fewest  # caustics takes a second to import

    masks = {
        "the ring": (known.radius > RING[0]) & (known.radius < RING[1]),
        "near the substructure": known.near,
        "half of its signal": fewest(known.signal, HALF),
    }
    for name, mask in masks.items():
        have = mask.any((1, 2))
        if have.any():
            area, lit, looked, random = (
                share(values[have], mask[have]) for values in (np.ones_like(maps), known.light, maps, control)
            )
            yield Region(
                name,
                images=int(have.sum()),
                area=float(area.mean()),
                light=float(lit.mean()),
                attribution=float(looked.mean()),
                interval=_interval(looked, (0.0, 1.0)),
                untrained=float(random.mean()),
                beyond=_interval(looked - max((area, lit, random), key=np.mean), (-1.0, 1.0)),
            )


def share(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The share of the values (N, S, S), 0 or more, within each image's mask, (N,); 0 of an image without any."""
    whole = values.sum((1, 2))
    inside: np.ndarray = (values * mask).sum((1, 2)) / np.where(whole > 0, whole, 1.0)
    return inside


def _interval(each: np.ndarray, possible: tuple[float, float]) -> tuple[float, float]:
    """95%, of the mean over images, by the bootstrap; all that is possible, if the images are too few to tell."""
    if len(each) < FEWEST:
        return possible
    (drawn,) = metrics.bootstrap(lambda some, _: {"mean": float(some.mean())}, [each], each)
    return metrics.interval(drawn["mean"])


def profile(unit: str, radius: np.ndarray, edges: np.ndarray, maps: np.ndarray, light: np.ndarray) -> Profile:
    """Densities relative to the image's mean, averaged over images."""
    middles, densities = [], []
    for low, high in pairwise(edges):
        ring = (radius >= low) & (radius < high)
        have = ring.any((1, 2))
        if have.any():
            area = share(np.ones_like(light)[have], ring[have])
            middles.append(float(low + high) / 2)
            densities.append([float((share(v[have], ring[have]) / area).mean()) for v in (maps, light)])
    attribution, lit = (list(column) for column in zip(*densities, strict=True))
    return Profile(unit, middles, attribution, lit)
