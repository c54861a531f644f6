"""From light to stored images: the exposures and noises that a population may name as its `camera`.

Light is the mean brightness (B, H, W) of each pixel, in units of the source's at its half-light radius. Background
noise belongs to an area of sky: how much of it a pixel has follows from the pixel's area.
"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from trainers.data.simulated.population import Population

MODEL_I_PIXEL, MODEL_I_BACKGROUND = 0.05, 0.01  # arcsec; rms in each such pixel, in units of flux
MODEL_I_TIME = 10**3.25  # median exposure
EUCLID_PIXEL = 0.101  # arcsec
EUCLID_TIME, EUCLID_EXPOSURES = 4 * 566.0, 4  # s in all
EUCLID_READ_NOISE = 4.2  # electrons, rms in a pixel of each exposure
EUCLID_SKY = 10 ** (0.4 * (25.72 - 22.3))  # electrons/s/arcsec^2; zero point and sky of VIS, arXiv 2405.13496


def expose(population: Population, images: Tensor, rng: np.random.Generator) -> np.ndarray:
    """The images that the population's camera stores of light (B, H, W)."""
    return CAMERAS[population.camera](population, images.double().numpy(), rng).astype(stored_dtype(population))


def stored_dtype(population: Population) -> np.dtype:
    """int64 counts from `model_1`, float32 from every other camera."""
    return np.dtype("i8" if population.camera == "model_1" else "f4")


def at_snr(population: Population, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Photo-electrons above the sky, with the light's Poisson noise and Gaussian background noise, each once.

    Each image is exposed until its brightest pixel holds P electrons, where P / sqrt(P + sky P) is the stated `snr`.
    """
    p = population
    peak = p.snr**2 * (1 + p.sky)
    expected = peak * light / light.max(axis=(1, 2), keepdims=True)
    noise = rng.normal(0.0, math.sqrt(p.sky * peak), size=expected.shape)
    return rng.poisson(expected) + noise


def model_1(population: Population, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """DeepLenseSim's Model I: 10^U(3, 3.5) time units, Poisson noise, background, cut at zero, Poisson noise again."""
    time = 10 ** rng.uniform(3.0, 3.5, size=(len(light), 1, 1))
    background = MODEL_I_BACKGROUND * pixel(population, light) / MODEL_I_PIXEL
    counts = rng.poisson(time * flux(population, light)) + time * rng.normal(0.0, background, size=light.shape)
    return rng.poisson(counts.clip(min=0.0))


def model_2(population: Population, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """DeepLenseSim's Model II in electrons/s: twice the light, without noise."""
    return 2 * flux(population, light)


def euclid(population: Population, light: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Electrons/s above the sky in four exposures of Euclid VIS, with Poisson and read-out noise."""
    background = euclid_background(population, light)
    return (rng.poisson(EUCLID_TIME * flux(population, light)) + rng.normal(0.0, background, light.shape)) / EUCLID_TIME


def euclid_background(population: Population, light: np.ndarray) -> float:
    """The noise of sky and read-out in a pixel, rms in electrons over all exposures."""
    side = pixel(population, light)
    readout = EUCLID_EXPOSURES * (EUCLID_READ_NOISE * side / EUCLID_PIXEL) ** 2
    return math.sqrt(readout + EUCLID_TIME * EUCLID_SKY * side**2)


def variance(population: Population, light: np.ndarray) -> np.ndarray:
    """The variance of the stored images about their mean, in units of light squared, (B, H, W); of a NOISY camera.

    For `model_1` the exposure is the median one, and the background's cut at zero is ignored.
    """
    p = population
    if p.camera == "snr":
        peak = light.max(axis=(1, 2), keepdims=True)
        return (light + p.sky * peak) * peak / (p.snr**2 * (1 + p.sky))
    per_light = p.source_brightness * pixel(p, light) ** 2  # flux for a unit of light
    if p.camera == "model_1":
        background = MODEL_I_BACKGROUND * pixel(p, light) / MODEL_I_PIXEL
        return 2 * light / (MODEL_I_TIME * per_light) + (background / per_light) ** 2
    return (EUCLID_TIME * per_light * light + euclid_background(p, light) ** 2) / (EUCLID_TIME * per_light) ** 2


def pixel(population: Population, light: np.ndarray) -> float:
    """The side of a pixel in arcsec."""
    return population.field / light.shape[-1]


def flux(population: Population, light: np.ndarray) -> np.ndarray:
    """The flux in each pixel."""
    return population.source_brightness * pixel(population, light) ** 2 * light


CAMERAS = {"snr": at_snr, "model_1": model_1, "model_2": model_2, "euclid": euclid}
NOISY = ("snr", "model_1", "euclid")
