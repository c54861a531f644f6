"""Lens systems drawn from a population: plain arrays, one entry per system."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from trainers.data.simulated.population import Population, Range, einstein_radius


@dataclass(frozen=True)
class Systems:
    """B systems. Arrays of shape (B,) or, for the point masses, (B, K); arcsec and radians, all in the system's frame.

    Radii of lenses are Einstein radii, so that masses add up as their squares.
    """

    turn: np.ndarray  # angle at which the system lies on the sky
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
    axion_mass: np.ndarray  # log10 eV; NaN without a vortex
    mass_fraction: np.ndarray  # of the substructure, over the halo's mass (and its own, where that comes on top)


def draw(population: Population, label: str, count: int, rng: np.random.Generator) -> Systems:
    """`count` systems of the class `label`."""
    p = population

    def uniform(ends: Range, shape: tuple[int, ...] = (count,)) -> np.ndarray:
        return rng.uniform(*ends, size=shape)

    total = p.halo_mass * uniform((1 - p.ring_scatter, 1 + p.ring_scatter)) ** 2
    shear, shear_angle = uniform(p.shear), uniform(p.shear_angle)
    halo_e, source_e = uniform(p.halo_ellipticity), uniform(p.source_ellipticity)
    axion_mass = np.full(count, np.nan)
    x = y = mass = np.zeros((count, 0))
    if label == "cdm":
        numbers = rng.poisson(p.subhalos, size=count) if p.subhalos_poisson else np.full(count, p.subhalos)
        shape = (count, int(numbers.max(initial=0)))
        distance, angle = uniform(p.subhalo_radius, shape), uniform((0, 2 * math.pi), shape)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        low, high = sorted(m ** (p.subhalo_slope + 1) for m in p.subhalo_mass)
        mass = uniform((low, high), shape) ** (1 / (p.subhalo_slope + 1))  # inverse of the cumulated law
        mass = np.where(np.arange(shape[1]) < numbers[:, None], mass, 0.0)
    elif label == "axion":
        if p.vortex_length is None:
            axion_mass = uniform(p.axion_mass)
            half_length = p.vortex_scale * 10 ** (-22 - axion_mass)
        else:
            half_length = uniform(p.vortex_length) / 2
        angle = uniform((0, 2 * math.pi))
        along = half_length[:, None] * np.linspace(-1, 1, p.vortex_points)
        x, y = along * np.cos(angle)[:, None], along * np.sin(angle)[:, None]
        if p.vortex_offset:
            x, y = (at + rng.normal(0.0, p.vortex_offset, size=(count, 1)) for at in (x, y))
        mass = np.repeat(uniform(p.vortex_mass)[:, None] / p.vortex_points, p.vortex_points, axis=1)
    ring, point_radius = (einstein_radius(m, p.z_lens, p.z_source, p.luminosity_distances) for m in (total, mass))
    # An isothermal halo's mass within a *given* radius goes with its Einstein radius, not with its square. Reducing
    # the halo's own mass by the substructure's would take out half of it only, and the ring's size tell the class.
    inside = np.where(np.hypot(x, y) < ring[:, None], mass, 0.0).sum(axis=1)
    halo_radius = ring * (1 - inside / total) if p.conserve_mass else ring
    turn = uniform((0, 2 * math.pi)) if p.turned else np.zeros(count)
    halo_angle, source_x, source_y = uniform(p.halo_angle), uniform(p.source_offset), uniform(p.source_offset)
    source_radius, source_index, source_angle = (
        uniform(p.source_radius),
        uniform(p.source_index),
        uniform(p.source_angle),
    )
    if p.source_distance is not None:
        distance, angle = uniform(p.source_distance), uniform((0, 2 * math.pi))
        source_x, source_y = distance * np.cos(angle), distance * np.sin(angle)
    source_q = (1 - source_e) / (1 + source_e)
    if p.source_axis_ratio is not None:
        source_q = uniform(p.source_axis_ratio)
    scale = p.deflection_scale
    return Systems(
        turn=turn,
        halo_radius=scale * halo_radius,
        halo_q=(1 - halo_e) / (1 + halo_e),
        halo_angle=halo_angle,
        shear_1=scale * shear * np.cos(2 * shear_angle),
        shear_2=scale * shear * np.sin(2 * shear_angle),
        source_x=source_x,
        source_y=source_y,
        source_radius=source_radius,
        source_index=source_index,
        source_q=source_q,
        source_angle=source_angle,
        point_x=x,
        point_y=y,
        point_radius=math.sqrt(scale) * point_radius,  # the deflection of a point goes with the square of its radius
        axion_mass=axion_mass,
        mass_fraction=mass.sum(axis=1) / (total if p.conserve_mass else total + mass.sum(axis=1)),
    )
