"""What the simulator draws from: the physical parameters of a population of lenses, and the presets.

The system is that of DeepLenseSim's Model I (z 0.5 and 1.0, a singular isothermal ellipsoid of 1e12 solar masses with
external shear, a Sersic source), and so are the two kinds of substructure. In that set the classes can be distinguished
without seeing any substructure. `fair` mends this: every system is turned to a random angle on the sky and mirrored or
not, the mass within the ring is the same in every class, and the noise (Poisson and background, once, at a stated
signal-to-noise ratio) stays in. The source's size differs from image to image: a halo that gives up mass to its
substructure magnifies less, and with a single source the thickness of the arcs would show it. A vortex is long enough
to cross the ring or nearly so; within the ring it would act like a point mass at the centre. The mass in substructure
varies within each class. Pixel, point-spread function, masses and signal-to-noise ratio are chosen so that a plain CNN
learns it in ten epochs without reaching the end of the scale (benchmarks/default_population.py), while statistics of
the whole image learn little (benchmarks/trivial_statistics.py). `varied` also draws the halo, the shear and the
source's shape anew for every image: this is far harder, close to chance for a small network.

`deeplense-1` and `deeplense-2` are the public sets exactly as their code makes them: images upright, substructure on
top of the halo's mass, and Einstein radii from *luminosity* distances (1.28" for 1e12 solar masses; the textbook's
angular-diameter distances, which all other presets use, give 1.66"). Model II takes these radii to be those of a source
at redshift 2.5, and scales every deflection to one at 1.0 (0.81"). It stores twice the light, without noise;
`deeplense-2-noisy` stores the light once, with the noise that Model II omits. `paper-2020` is the population of
arXiv 2008.12731; what that paper does not state is taken from Model I.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from trainers.errors import TrainingError

CLASSES = ("axion", "cdm", "no_sub")

Range = tuple[float, float]
"""Lower and upper end of a uniform distribution; equal ends fix the value."""


@dataclass(frozen=True)
class Population:
    """Parameters of a population: angles in radians, lengths in arcsec, masses in solar masses unless stated otherwise.

    Ellipticities are moduli e = (1 - q)/(1 + q) of the axis ratio q. Angles are measured from the system's own axis;
    with `turned`, each system then lies on the sky at a random angle, so that no direction is preferred.
    """

    # the lens plane
    z_lens: float = 0.5
    z_source: float = 1.0
    luminosity_distances: bool = False  # in Einstein radii, as in the public code
    deflection_scale: float = 1.0  # of all deflections, including the shear's
    halo_mass: float = 1e12  # within the Einstein radius, including substructure if mass is conserved
    ring_scatter: float = 0.0  # a scatter s scales the Einstein radius by U(1 - s, 1 + s)
    halo_ellipticity: Range = (0.1, 0.1)
    halo_angle: Range = (0.0, 0.0)
    shear: Range = (0.05, 0.05)
    shear_angle: Range = (0.0, 0.0)
    turned: bool = True
    mirrored: bool = True  # half of the systems, at random
    # the source: an elliptical Sersic profile; its radius is the half-light radius sqrt(ab)
    source_offset: Range = (-0.35, 0.35)  # of x and of y
    source_distance: Range | None = None  # from the centre, in any direction; None: `source_offset` holds
    source_radius: Range = (0.2, 0.3)
    source_index: Range = (1.0, 1.0)
    source_ellipticity: Range = (math.hypot(0.1, 0.1), math.hypot(0.1, 0.1))
    source_angle: Range = (0.375 * math.pi, 0.375 * math.pi)  # e1 = -0.1, e2 = 0.1
    source_axis_ratio: Range | None = None  # None: `source_ellipticity` holds
    source_brightness: float = 1.0  # at the half-light radius, flux per square arcsec; camera "snr" ignores it
    # cdm: point masses with dN/dm ~ m^slope
    subhalos: tuple[int, int] = (10, 70)  # the fewest and the most, uniform
    subhalos_poisson: bool = False  # their number comes from Poisson of that
    subhalo_mass: Range = (1e6, 1e10)
    subhalo_slope: float = -0.9
    subhalo_radius: Range = (0.25, 2.0)  # distance from the centre, uniform
    # axion: a vortex, a straight line of point masses through the centre whose half-length is set by the axion's mass
    vortex_mass: Range = (2e10, 1e11)
    vortex_points: int = 100
    axion_mass: Range = (-24.0, -23.6)  # log10 eV
    vortex_scale: float = 0.03  # half-length for an axion of 1e-22 eV; inversely proportional to the axion's mass
    vortex_length: Range | None = None  # end to end, for unknown axion masses; None: the axion's mass sets it
    vortex_offset: float = 0.0  # standard deviation of x and of y of its centre
    conserve_mass: bool = True  # the halo gives up the substructure's mass within the ring; else that comes on top
    # the telescope
    camera: str = "snr"  # one of CAMERAS in camera.py
    pixels: int = 64  # along a side, in the set that this describes; any other number can be simulated
    field: float = 5.12  # side of the square image for any number of pixels; 0.08" a pixel for 64
    supersampling: int = 2  # rays per pixel side, at least
    psf: float = 0.1  # full width at half maximum of the Gaussian point-spread function
    snr: float = 40.0  # of each image's brightest pixel, with camera "snr"
    sky: float = 0.25  # variance of the background noise over the brightest pixel's photon variance, with camera "snr"

    def __post_init__(self) -> None:
        if not self.snr > 0:
            raise TrainingError(f"snr is {self.snr}; expected a signal-to-noise ratio above 0 for the brightest pixel")
        if not self.psf > 0:
            raise TrainingError(f"psf is {self.psf}; expected a full width at half maximum above 0 arcsec")


MODEL_1 = Population(
    luminosity_distances=True,
    turned=False,
    mirrored=False,
    conserve_mass=False,
    subhalos=(25, 25),
    vortex_mass=(3e10, 3e10),
    axion_mass=(-24.0, -22.0),
    source_radius=(0.25, 0.25),
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
        source_radius=(0.25, 0.25),
        source_axis_ratio=(0.4, 1.0),
        source_angle=(0.0, math.pi),
        subhalos=(25, 25),
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


NOTES = {
    "paper-2020": "paper-2020: its subhalos are too light to be seen (3e8 solar masses in all): cdm looks like no_sub",
}
"""What a user should know who chooses a preset."""


def preset(name: str) -> Population:
    """The population called `name`. TrainingError that lists the known ones if there is none."""
    if name not in PRESETS:
        raise TrainingError(f"unknown preset {name!r}; known: {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


def with_snr(population: Population, snr: float) -> Population:
    """The same systems seen by a camera that exposes each until its brightest pixel has this signal-to-noise ratio."""
    return replace(population, camera="snr", snr=snr)


def einstein_radius(
    mass: np.ndarray | float, z_lens: float, z_source: float, luminosity_distances: bool = False
) -> np.ndarray:
    """Einstein radius in arcsec of `mass` solar masses: sqrt(4GM/c^2 D_ls/(D_l D_s)) in angular-diameter distances.

    The cosmology is flat Lambda-CDM with H0 = 70 km/s/Mpc and matter density 0.3. `luminosity_distances` uses
    luminosity distances instead, with D_ls = D_s - D_l: wrong, but DeepLense's sets were made that way.
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
