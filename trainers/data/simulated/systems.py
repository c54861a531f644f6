"""Lens systems drawn from a population, as plain arrays with one entry per system."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainers.data.simulated.population import Population, Range, einstein_radius


@dataclass(frozen=True)
class Systems:
    """B systems. Arrays are (B,) or, for the point masses, (B, K); arcsec and radians, all in the system's own frame.

    Radii of lenses are Einstein radii; those of point masses add up as their squares.
    """

    turn: np.ndarray  # angle at which the system lies on the sky
    mirrored: np.ndarray  # bool: the system's y axis is flipped before it is turned
    halo_x: np.ndarray  # 0 when drawn; a fit may move it
    halo_y: np.ndarray
    halo_radius: np.ndarray
    halo_q: np.ndarray
    halo_angle: np.ndarray
    shear_1: np.ndarray
    shear_2: np.ndarray
    source_x: np.ndarray
    source_y: np.ndarray
    source_radius: np.ndarray  # half-light radius sqrt(ab)
    source_index: np.ndarray
    source_q: np.ndarray
    source_angle: np.ndarray
    point_x: np.ndarray
    point_y: np.ndarray
    point_radius: np.ndarray
    axion_mass: np.ndarray  # eV; NaN without a vortex
    mass_fraction: np.ndarray  # of the substructure in all mass within the Einstein radius of `halo_mass`
    einstein_radius: np.ndarray  # of halo and substructure


@dataclass(frozen=True)
class Points:
    """The point masses of B systems, (B, K), in arcsec and solar masses, and the axion's mass (B,) in log10 eV."""

    x: np.ndarray
    y: np.ndarray
    mass: np.ndarray
    axion_mass: np.ndarray


class Draws:
    """Random numbers for `count` systems."""

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.count, self.rng = count, rng

    def uniform(self, ends: Range, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """One number for each system, or an array of `shape`."""
        return self.rng.uniform(*ends, size=(self.count,) if shape is None else shape)


def draw(population: Population, label: str, count: int, rng: np.random.Generator) -> Systems:
    """Draw `count` systems of the class `label`. The order of the draws is part of what a seed means."""
    p, draws = population, Draws(count, rng)
    uniform = draws.uniform
    total = p.halo_mass * uniform((1 - p.ring_scatter, 1 + p.ring_scatter)) ** 2
    shear, shear_angle = uniform(p.shear), uniform(p.shear_angle)
    halo_e, source_e = uniform(p.halo_ellipticity), uniform(p.source_ellipticity)
    points = SUBSTRUCTURE[label](p, draws)
    distances = (p.z_lens, p.z_source, p.luminosity_distances)
    ring, point_radius = einstein_radius(total, *distances), einstein_radius(points.mass, *distances)
    scale, distance = p.deflection_scale, np.hypot(points.x, points.y)
    # An isothermal halo's mass within a *given* radius is proportional to its Einstein radius, not to its square.
    # Taking the substructure from the halo's own mass would remove only half of it, and the ring's size would reveal
    # the class.
    inside = np.where(distance < ring[:, None], points.mass, 0.0).sum(axis=1)
    halo_radius = ring * (1 - inside / total) if p.conserve_mass else ring
    turn = uniform((0, 2 * math.pi)) if p.turned else np.zeros(count)
    mirrored = rng.random(count) < 0.5 if p.mirrored else np.zeros(count, dtype=bool)
    halo_angle = uniform(p.halo_angle)
    source = draw_source(p, source_e, draws)
    in_ring = np.where(distance < scale * ring[:, None], scale * point_radius**2, 0.0).sum(axis=1)
    return Systems(
        turn=turn,
        mirrored=mirrored,
        halo_x=np.zeros(count),
        halo_y=np.zeros(count),
        halo_radius=scale * halo_radius,
        halo_q=(1 - halo_e) / (1 + halo_e),
        halo_angle=halo_angle,
        shear_1=scale * shear * np.cos(2 * shear_angle),
        shear_2=scale * shear * np.sin(2 * shear_angle),
        **source,
        point_x=points.x,
        point_y=points.y,
        point_radius=math.sqrt(scale) * point_radius,  # a point's deflection is proportional to its radius squared
        axion_mass=10**points.axion_mass,
        mass_fraction=in_ring / (scale * ring * scale * halo_radius + in_ring),
        # The halo's mass within r is proportional to r: the mean convergence is 1 where r^2 = halo_radius r + in_ring.
        einstein_radius=(scale * halo_radius + np.sqrt((scale * halo_radius) ** 2 + 4 * in_ring)) / 2,
    )


def no_points(population: Population, draws: Draws) -> Points:
    """No substructure."""
    none = np.zeros((draws.count, 0))
    return Points(none, none, none, np.full(draws.count, np.nan))


def draw_subhalos(population: Population, draws: Draws) -> Points:
    """Cold-dark-matter subhalos: point masses with a power-law mass function, all around the lens."""
    p, count = population, draws.count
    fewest, most = p.subhalos
    numbers = np.full(count, fewest) if fewest == most else draws.rng.integers(fewest, most + 1, count)
    if p.subhalos_poisson:
        numbers = draws.rng.poisson(numbers)
    shape = (count, int(numbers.max(initial=0)))
    distance, angle = draws.uniform(p.subhalo_radius, shape), draws.uniform((0, 2 * math.pi), shape)
    low, high = sorted(m ** (p.subhalo_slope + 1) for m in p.subhalo_mass)
    mass = draws.uniform((low, high), shape) ** (1 / (p.subhalo_slope + 1))  # the inverse of the cumulative law
    mass = np.where(np.arange(shape[1]) < numbers[:, None], mass, 0.0)
    return Points(distance * np.cos(angle), distance * np.sin(angle), mass, np.full(count, np.nan))


def draw_vortex(population: Population, draws: Draws) -> Points:
    """An axion vortex: a straight line of equal point masses. Its length is given or follows from the axion's mass."""
    p, axion_mass = population, np.full(draws.count, np.nan)
    if p.vortex_length is None:
        axion_mass = draws.uniform(p.axion_mass)
        half_length = p.vortex_scale * 10 ** (-22 - axion_mass)
    else:
        half_length = draws.uniform(p.vortex_length) / 2
    angle = draws.uniform((0, 2 * math.pi))
    along = half_length[:, None] * np.linspace(-1, 1, p.vortex_points)
    x, y = along * np.cos(angle)[:, None], along * np.sin(angle)[:, None]
    if p.vortex_offset:
        x, y = (at + draws.rng.normal(0.0, p.vortex_offset, size=(draws.count, 1)) for at in (x, y))
    mass = np.repeat(draws.uniform(p.vortex_mass)[:, None] / p.vortex_points, p.vortex_points, axis=1)
    return Points(x, y, mass, axion_mass)


SUBSTRUCTURE = {"axion": draw_vortex, "cdm": draw_subhalos, "no_sub": no_points}
"""How each class's substructure is drawn."""


def draw_source(population: Population, ellipticity: np.ndarray, draws: Draws) -> dict[str, np.ndarray]:
    """The source's fields of `Systems`."""
    p, uniform = population, draws.uniform
    x, y = uniform(p.source_offset), uniform(p.source_offset)
    radius, index, angle = uniform(p.source_radius), uniform(p.source_index), uniform(p.source_angle)
    if p.source_distance is not None:
        distance, direction = uniform(p.source_distance), uniform((0, 2 * math.pi))
        x, y = distance * np.cos(direction), distance * np.sin(direction)
    q = (1 - ellipticity) / (1 + ellipticity)
    if p.source_axis_ratio is not None:
        q = uniform(p.source_axis_ratio)
    return {
        "source_x": x,
        "source_y": y,
        "source_radius": radius,
        "source_index": index,
        "source_q": q,
        "source_angle": angle,
    }
