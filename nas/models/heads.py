"""The ellipses of a model's anisotropic attention heads: which way they look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nas.models.export import LensModel
from search_space.mixers.anisotropic import gaussian, polar
from search_space.parts.front_end import Polar


@dataclass(frozen=True)
class Head:
    """The Gaussian of one head of one block."""

    network: int  # of the ensemble, from 1
    stage: int  # from 1
    block: int  # of the stage, from 1
    head: int  # of the block, from 1
    ellipticity: float  # (1 - q)/(1 + q) with q = minor/major axis: 0 looks the same in all directions
    angle: float  # of the major axis, degrees in [0, 180), from `reference`
    reference: str  # "rows": from along a row towards down the rows; "radius": from the radius towards the tangent


def heads(model: LensModel) -> Iterator[Head]:
    """The heads of all anisotropic Gaussian and polar mixers of hybrids.

    Behind polar coordinates a row goes along the ring, and down the rows is outwards. The centre of a polar mixer is
    the middle of that grid, which is no place of a lens, so its heads are left out.
    """
    for n, network in enumerate(model.networks, 1):
        unrolled = isinstance(getattr(network, "front_end", None), Polar)
        for s, stage in enumerate(getattr(network, "stages", ()), 1):
            for b, block in enumerate(stage.blocks, 1):
                if isinstance(mixer := block.mixer, gaussian.Mixer):
                    about_centre = isinstance(mixer, polar.Mixer)
                    if about_centre and unrolled:
                        continue
                    reference = "radius" if about_centre or unrolled else "rows"
                    for h, (e, angle) in enumerate(zip(*(x.tolist() for x in mixer.ellipse()), strict=True), 1):
                        degrees = math.degrees(angle)
                        yield Head(n, s, b, h, e, (90 - degrees if unrolled else degrees) % 180, reference)


def apart(angle: float, axis: float) -> float:
    """The angle between two axes in degrees, 0 to 90."""
    return abs((angle - axis + 90) % 180 - 90)
