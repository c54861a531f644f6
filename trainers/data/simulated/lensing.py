"""From lens systems to light on the detector: ray-shooting on a fine grid, the point-spread function, the pixels."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from caustics.func import (
    brightness_sersic,
    k_sersic,
    reduced_deflection_angle_external_shear,
    reduced_deflection_angle_point,
    reduced_deflection_angle_sie,
)
from torch import Tensor
from torch.nn import functional as F

from trainers.data.simulated.population import Population
from trainers.data.simulated.systems import Systems

CORE = 1e-6
"""Softening of the halo and the point masses in arcsec. It keeps a ray through a centre finite and changes no other."""


def deflection(systems: Systems, x: Tensor, y: Tensor, core: float = CORE) -> tuple[Tensor, Tensor]:
    """Reduced deflection angles at (x, y). All four are (B, H, W) in arcsec, in the systems' frame.

    The lens is a singular isothermal ellipsoid, an external shear and point masses. The ellipsoid's Einstein radius is
    that of the circle of equal area, so the mass within its critical curve is the halo's.
    """
    s, column = systems, partial(_column, like=x)
    zero = torch.zeros((), dtype=x.dtype)
    ax, ay = reduced_deflection_angle_sie(
        column(s.halo_x), column(s.halo_y), column(s.halo_q), column(s.halo_angle), column(s.halo_radius), x, y, core
    )
    bx, by = reduced_deflection_angle_external_shear(zero, zero, column(s.shear_1), column(s.shear_2), x, y)
    ax, ay = ax + bx, ay + by
    # One point at a time: a (B, K, H, W) tensor would not fit the processor's cache.
    for k in range(s.point_radius.shape[1]):
        at_x, at_y, radius = column(s.point_x[:, k]), column(s.point_y[:, k]), column(s.point_radius[:, k])
        bx, by = reduced_deflection_angle_point(at_x, at_y, radius, x, y, core)
        ax += bx
        ay += by
    return ax, ay


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    """(B,) as (B, 1, 1), in the dtype of `like`."""
    return torch.from_numpy(values).to(like)[:, None, None]


def surface_brightness(systems: Systems, x: Tensor, y: Tensor) -> Tensor:
    """The source's brightness at (x, y) in its plane, each (B, H, W) in arcsec; 1 at the half-light radius."""
    s, column = systems, partial(_column, like=x)
    index, semi_major = column(s.source_index), column(s.source_radius / np.sqrt(s.source_q))
    shape = (column(s.source_q), column(s.source_angle), index, semi_major, torch.ones((), dtype=x.dtype))
    return brightness_sersic(column(s.source_x), column(s.source_y), *shape, x, y, k_sersic(index), CORE)


def noiseless(population: Population, systems: Systems, image_size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images (B, H, W) as the telescope would see them after infinite time, in units of brightness per pixel area."""
    p = population
    rays_per_pixel = max(p.supersampling, math.ceil(p.pixels / image_size))  # never coarser than its own pixels
    step = p.field / (image_size * rays_per_pixel)
    kernel = gaussian(p.psf / step)
    rays = image_size * rays_per_pixel + len(kernel) - 1  # a margin, from which the PSF brings in light
    axis = (torch.arange(rays, dtype=torch.float64) - (rays - 1) / 2) * step
    sky_y, sky_x = torch.meshgrid(axis, axis, indexing="ij")  # x to the right along columns, y along rows
    turn = torch.from_numpy(systems.turn)[:, None, None]
    x = (sky_x * torch.cos(turn) + sky_y * torch.sin(turn)).to(dtype)
    y = (sky_y * torch.cos(turn) - sky_x * torch.sin(turn)).to(dtype)
    y = torch.where(torch.from_numpy(systems.mirrored)[:, None, None], -y, y)
    ax, ay = deflection(systems, x, y)
    light = surface_brightness(systems, x - ax, y - ay)[:, None]
    kernel = kernel.to(light)
    blurred = F.conv2d(F.conv2d(light, kernel[None, None, None, :]), kernel[None, None, :, None])
    return F.avg_pool2d(blurred, rays_per_pixel)[:, 0]


def gaussian(fwhm: float) -> Tensor:
    """A Gaussian of full width at half maximum `fwhm` and sum 1, sampled at whole steps out to five sigma."""
    sigma = fwhm / math.sqrt(8 * math.log(2))
    reach = math.ceil(5 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float64) / sigma) ** 2)
    return kernel / kernel.sum()
