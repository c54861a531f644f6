"""What the simulator draws from: the physical parameters of a population of lenses, and the presets.

The system is the one of DeepLenseSim's Model I (z 0.5 and 1.0, a 1e12 solar-mass singular isothermal ellipsoid with
external shear, a Sersic source) and so are the two kinds of substructure. `fair` mends what tells the classes apart in
that set without any substructure being seen: every system is turned to a random angle on the sky, the mass within the
ring is the same in every class, and the noise (Poisson and background, once, at a stated signal-to-noise ratio) is left
in. Pixel, point-spread function and signal-to-noise ratio are then chosen such that a plain CNN learns it in ten epochs
without reaching the end of the scale (benchmarks/default_population.py). `varied` draws the halo, the shear and the
source anew for every image as well: far harder, close to chance for a small network.

`deeplense-1` and `deeplense-2` are the public sets as their code makes them, whatever one thinks of it: images upright,
substructure on top of the halo's mass, and Einstein radii with *luminosity* distances (1.28" for 1e12 solar masses;
the textbook's angular-diameter distances, which all other presets use, give 1.66"). In Model II every deflection is
moreover scaled from a source at redshift 2.5, by which it takes the radii, to one at 1.0 (0.81"), and the stored image
is twice the light, without noise; `deeplense-2-noisy` is its light once, with the noise that was left out.
`paper-2020` is the population of arXiv 2008.12731, with what that does not state taken from Model I.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

CLASSES = ("axion", "cdm", "no_sub")

Range = tuple[float, float]
"""Lower and upper end of a uniform distribution; both equal: fixed."""


@dataclass(frozen=True)
class Population:
    """Parameters of a population. Angles in radians, lengths in arcsec, masses in solar masses unless said otherwise.

    Ellipticities are moduli e = (1 - q)/(1 + q) of the axis ratio q. All angles are measured from the system's own
    axis; with `turned` each system is then laid on the sky at a random angle, so that no direction is preferred.
    """

    # the lens plane
    z_lens: float = 0.5
    z_source: float = 1.0
    luminosity_distances: bool = False  # in Einstein radii, as the public code has it
    deflection_scale: float = 1.0  # of all deflections, those of the shear too
    halo_mass: float = 1e12  # within the Einstein radius, substructure included if mass is conserved
    ring_scatter: float = 0.0  # the Einstein radius is scaled by U(1 - s, 1 + s)
    halo_ellipticity: Range = (0.1, 0.1)
    halo_angle: Range = (0.0, 0.0)
    shear: Range = (0.05, 0.05)
    shear_angle: Range = (0.0, 0.0)
    turned: bool = True
    # the source: an elliptical Sersic profile; its radius is the half-light radius sqrt(ab)
    source_offset: Range = (-0.35, 0.35)  # of x and of y
    source_distance: Range | None = None  # from the centre, in any direction; None: by `source_offset`
    source_radius: Range = (0.25, 0.25)
    source_index: Range = (1.0, 1.0)
    source_ellipticity: Range = (math.hypot(0.1, 0.1), math.hypot(0.1, 0.1))
    source_angle: Range = (0.375 * math.pi, 0.375 * math.pi)  # e1 = -0.1, e2 = 0.1
    source_axis_ratio: Range | None = None  # None: by `source_ellipticity`
    source_brightness: float = 1.0  # at the half-light radius, flux per square arcsec; without effect on camera "snr"
    # cdm: point masses with dN/dm ~ m^slope
    subhalos: int = 25
    subhalos_poisson: bool = False  # their number is drawn from Poisson(subhalos)
    subhalo_mass: Range = (1e6, 1e10)
    subhalo_slope: float = -0.9
    subhalo_radius: Range = (0.25, 2.0)  # distance from the centre, uniform
    # axion: a vortex, a straight line of point masses through the centre whose half-length is set by the axion's mass
    vortex_mass: Range = (3e10, 3e10)
    vortex_points: int = 100
    axion_mass: Range = (-24.0, -22.0)  # log10 eV
    vortex_scale: float = 0.03  # half-length for an axion of 1e-22 eV; inversely proportional to the axion's mass
    vortex_length: Range | None = None  # from end to end; None: set by the axion's mass, which otherwise is unknown
    vortex_offset: float = 0.0  # standard deviation of x and of y of its centre
    conserve_mass: bool = True  # the halo gives up what substructure lies within the ring, instead of it coming on top
    # the telescope
    camera: str = "snr"  # one of trainers.data.camera
    pixels: int = 64  # a side of the set this describes; any other number may be asked for
    field: float = 5.12  # side of the square image, whatever the number of pixels; 0.08" a pixel for 64
    supersampling: int = 2  # rays per pixel side, at least
    psf: float = 0.1  # full width at half maximum of the Gaussian point-spread function
    snr: float = 40.0  # of each image's brightest pixel, with camera "snr"
    sky: float = 0.25  # variance of the background noise over the brightest pixel's photon variance, with camera "snr"

    def __post_init__(self) -> None:
        if not self.snr > 0:
            raise ValueError(f"snr is {self.snr}; expected a signal-to-noise ratio above 0 for the brightest pixel")
        if not self.psf > 0:
            raise ValueError(f"psf is {self.psf}; expected a full width at half maximum above 0 arcsec")


MODEL_1 = Population(
    luminosity_distances=True,
    turned=False,
    conserve_mass=False,
    source_brightness=20.0,
    camera="model_1",
    pixels=150,
    field=150 * 0.05,
    supersampling=1,
    psf=0.087,
)
MODEL_2 = replace(
    MODEL_1,
    deflection_scale=0.63416,  # D_ls/D_s at redshift 1.0 over that at 2.5, in pyHalo's WMAP9 cosmology
    source_brightness=259.9,  # magnitude 20 in all, with a zero point of 25.72 (an electron per second)
    camera="model_2",
    pixels=64,
    field=64 * 0.101,
    psf=0.16,
)
PRESETS: dict[str, Population] = {
    "fair": Population(),
    "varied": Population(
        ring_scatter=0.15,
        halo_ellipticity=(0.0, 0.2),
        halo_angle=(0.0, math.pi),
        shear=(0.0, 0.1),
        shear_angle=(0.0, math.pi),
        source_radius=(0.15, 0.35),
        source_index=(0.7, 2.0),
        source_ellipticity=(0.0, 0.3),
        source_angle=(0.0, math.pi),
    ),
    "deeplense-1": MODEL_1,
    "deeplense-2": MODEL_2,
    "deeplense-2-noisy": replace(MODEL_2, camera="euclid"),
    "paper-2020": Population(
        shear=(0.0, 0.3),
        shear_angle=(0.0, math.pi),  # a shear is the same after half a turn
        source_distance=(0.0, 0.5),
        source_axis_ratio=(0.4, 1.0),
        source_angle=(0.0, math.pi),
        subhalos_poisson=True,
        subhalo_slope=-1.9,
        vortex_mass=(3e10, 5.5e10),
        vortex_length=(0.5, 2.0),
        vortex_offset=0.5,
        pixels=150,
        field=150 * 0.05,
        supersampling=1,
        psf=0.087,
        snr=20.0,
    ),
}


def preset(name: str) -> Population:
    """The population called `name`; ValueError listing the known ones otherwise."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def with_snr(population: Population, snr: float) -> Population:
    """The same systems seen by a camera that exposes each until its brightest pixel has this signal-to-noise ratio."""
    return replace(population, camera="snr", snr=snr)


def einstein_radius(
    mass: np.ndarray | float, z_lens: float, z_source: float, luminosity_distances: bool = False
) -> np.ndarray:
    """Einstein radius in arcsec of `mass` solar masses: sqrt(4GM/c^2 D_ls/(D_l D_s)), angular-diameter distances.

    Flat Lambda-CDM with H0 = 70 km/s/Mpc and matter density 0.3. With `luminosity_distances` those are put in their
    place, and D_ls = D_s - D_l: wrong, but what DeepLense's sets were made with.
    """

    def comoving(z: float) -> float:  # in Hubble radii
        nodes = np.linspace(0.0, z, 2049)
        return float(np.trapezoid(1 / np.sqrt(0.3 * (1 + nodes) ** 3 + 0.7), nodes))

    lens, source = comoving(z_lens), comoving(z_source)
    ratio = (source - lens) * (1 + z_lens) / (lens * source)  # D_ls/(D_l D_s) in units of H0/c; (1 + z_source) cancels
    if luminosity_distances:
        d_lens, d_source = lens * (1 + z_lens), source * (1 + z_source)
        ratio = (d_source - d_lens) / (d_lens * d_source)
    schwarzschild = 2 * 1.32712440018e20 / 299792458.0**2  # 2 G Msun / c^2 in m
    hubble_radius = 299792.458 / 70.0 * 3.0856775814913673e22  # m
    return np.sqrt(2 * schwarzschild * np.asarray(mass, dtype=float) * ratio / hubble_radius) * (180 / math.pi * 3600)
