"""The simulator against lenstronomy, and its populations against the facts they state."""

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy import constants, units
from astropy.cosmology import FlatLambdaCDM
from caustics.func import k_lenstronomy
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from scipy import stats

from trainers.data import Simulated, load
from trainers.data.simulated import lensing
from trainers.data.simulated.camera import expose
from trainers.data.simulated.chunks import CHUNK, simulate_chunk, split_of
from trainers.data.simulated.lensing import deflection, noiseless
from trainers.data.simulated.population import CLASSES, PRESETS, einstein_radius
from trainers.data.simulated.systems import Systems, draw

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="module")
def one_torch_thread() -> Iterator[None]:
    """Small tensors: on a busy machine threads would wait for one another most of the time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ellipticity(q: float, angle: float) -> dict[str, float]:
    modulus = (1 - q) / (1 + q)
    return {"e1": modulus * math.cos(2 * angle), "e2": modulus * math.sin(2 * angle)}


def in_lenstronomy(systems: Systems, i: int) -> tuple[LensModel, list, LightModel, list]:
    s = systems
    points = s.point_radius.shape[1]
    lens = LensModel(["SIE", "SHEAR", *["POINT_MASS"] * points])
    lens_parameters = [
        {"theta_E": s.halo_radius[i], **ellipticity(s.halo_q[i], s.halo_angle[i]), "center_x": 0, "center_y": 0},
        {"gamma1": s.shear_1[i], "gamma2": s.shear_2[i]},
        *(
            {"theta_E": s.point_radius[i, k], "center_x": s.point_x[i, k], "center_y": s.point_y[i, k]}
            for k in range(points)
        ),
    ]
    source_parameters = {
        "amp": 1.0,
        "R_sersic": s.source_radius[i],
        "n_sersic": s.source_index[i],
        **ellipticity(s.source_q[i], s.source_angle[i]),
        "center_x": s.source_x[i],
        "center_y": s.source_y[i],
    }
    return lens, lens_parameters, LightModel(["SERSIC_ELLIPSE"]), [source_parameters]


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("label", CLASSES)
def test_deflections_agree_with_lenstronomy(name: str, label: str) -> None:
    systems = draw(PRESETS[name], label, 3, np.random.default_rng(0))
    axis = (torch.arange(20, dtype=torch.float64) - 9.5) * 0.26
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    ours = deflection(systems, x.expand(3, -1, -1), y.expand(3, -1, -1), core=0.0)
    for i in range(3):
        lens, parameters, _, _ = in_lenstronomy(systems, i)
        theirs = lens.alpha(x.numpy().ravel(), y.numpy().ravel(), parameters)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a[i].numpy().ravel(), b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("label", CLASSES)
def test_an_image_agrees_with_lenstronomy_to_a_thousandth_of_its_peak(
    label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lensing, "k_sersic", k_lenstronomy)  # theirs is a rougher fit, off by half a per cent in light
    population = replace(PRESETS["varied"], turned=False, mirrored=False)
    systems = draw(population, label, 2, np.random.default_rng(1))
    pixels, pixel = 64, population.field / 64
    corner = -(pixels - 1) / 2 * pixel
    grid = ImageData(
        np.zeros((pixels, pixels)), ra_at_xy_0=corner, dec_at_xy_0=corner, transform_pix2angle=np.eye(2) * pixel
    )
    psf = PSF("GAUSSIAN", fwhm=population.psf, pixel_size=pixel, truncation=5)
    numerics = {"supersampling_factor": population.supersampling, "supersampling_convolution": True}
    ours = noiseless(population, systems, pixels, torch.float64).numpy()
    for i in range(2):
        lens, lens_parameters, source, source_parameters = in_lenstronomy(systems, i)
        model = ImageModel(grid, psf, lens_model_class=lens, source_model_class=source, kwargs_numerics=numerics)
        theirs = model.image(lens_parameters, source_parameters) / pixel**2  # theirs is a flux, ours a mean brightness
        inner = np.s_[4:-4, 4:-4]  # theirs repeats the edge where ours traces rays beyond it
        np.testing.assert_allclose(ours[i][inner], theirs[inner], rtol=0, atol=1e-3 * theirs.max())


@pytest.mark.parametrize("label", CLASSES)
def test_rays_are_dense_enough_for_the_noise(label: str) -> None:
    population = PRESETS["fair"]
    systems = draw(population, label, 5, np.random.default_rng(2))
    used = noiseless(population, systems, 64)
    exact = noiseless(replace(population, supersampling=6), systems, 64)
    error = (used - exact).abs() / exact.amax((1, 2), keepdim=True)
    assert error.pow(2).mean().sqrt() < 0.1 / population.snr  # a tenth of the noise in the brightest pixel


def test_single_precision_images_are_the_double_precision_ones() -> None:
    systems = draw(PRESETS["fair"], "axion", 4, np.random.default_rng(3))
    single, double = (noiseless(PRESETS["fair"], systems, 64, dtype) for dtype in (torch.float32, torch.float64))
    assert (single - double).abs().max() < 1e-3 * double.max()


def test_einstein_radii_follow_from_angular_diameter_distances() -> None:
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    lens, source = (cosmology.angular_diameter_distance(z) for z in (0.5, 1.0))
    between = cosmology.comoving_distance(1.0) / 2 - cosmology.comoving_distance(0.5) / 2  # (1 + z) is 2; flat
    mass = np.array([1e12, 3e10, 1e8]) * units.Msun
    theirs = np.sqrt(4 * constants.G * mass / constants.c**2 * between / (lens * source)).decompose() * units.rad
    np.testing.assert_allclose(einstein_radius(mass.value, 0.5, 1.0), theirs.to_value("arcsec"), rtol=1e-4)


def mass_within(systems: Systems, radius: np.ndarray) -> np.ndarray:
    """In units of the critical density, from Gauss's law: half the flux of the deflection through a circle."""
    angle = torch.arange(20000, dtype=torch.float64) * (2 * math.pi / 20000)
    x = torch.from_numpy(radius)[:, None, None] * torch.cos(angle)
    y = torch.from_numpy(radius)[:, None, None] * torch.sin(angle)
    ax, ay = deflection(systems, x, y)
    return (0.5 * (ax * x + ay * y).mean((1, 2)) * 2 * math.pi).numpy()


def test_substructure_adds_no_mass_within_the_ring() -> None:
    population = PRESETS["fair"]
    ring = np.full(60, einstein_radius(population.halo_mass, 0.5, 1.0))
    masses = {c: mass_within(draw(population, c, 60, np.random.default_rng(4)), ring) for c in CLASSES}
    for label in CLASSES:
        assert masses[label].mean() == pytest.approx(masses["no_sub"].mean(), rel=1e-3)
    heavier = draw(replace(population, conserve_mass=False), "axion", 60, np.random.default_rng(4))
    assert mass_within(heavier, ring).mean() > 1.01 * masses["no_sub"].mean()


def test_the_ring_has_the_same_radius_in_every_class() -> None:
    axis = np.arange(32) - 15.5
    distance = np.hypot(*np.meshgrid(axis, axis)) * PRESETS["fair"].field / 32
    radii = {}
    for label in CLASSES:
        images = noiseless(PRESETS["fair"], draw(PRESETS["fair"], label, 200, np.random.default_rng(5)), 32).numpy()
        radii[label] = (images * distance).sum((1, 2)) / images.sum((1, 2))
    expected = float(einstein_radius(1e12, 0.5, 1.0))
    for label in CLASSES:
        error = radii[label].std() / math.sqrt(200)
        assert abs(radii[label].mean() - radii["no_sub"].mean()) < 5 * error
        assert radii[label].mean() == pytest.approx(expected, rel=0.05)


def quadrupole(images: np.ndarray) -> np.ndarray:
    """(B, 2): light-weighted mean of cos 2a and sin 2a over the position angle a."""
    axis = np.arange(images.shape[-1]) - (images.shape[-1] - 1) / 2
    x, y = np.meshgrid(axis, axis)
    angle = 2 * np.arctan2(y, x)
    weight = images / images.sum((1, 2), keepdims=True)
    return np.stack([(weight * np.cos(angle)).sum((1, 2)), (weight * np.sin(angle)).sum((1, 2))], axis=1)


@pytest.mark.parametrize(
    ("name", "turned"),
    [
        ("fair", True),
        ("varied", True),
        ("paper-2020", True),
        ("fair", False),
        ("deeplense-1", False),
    ],
)
def test_images_have_no_preferred_axis_unless_left_unturned(name: str, turned: bool) -> None:
    population = replace(PRESETS[name], turned=turned, mirrored=turned, pixels=48)
    moments = quadrupole(noiseless(population, draw(population, "no_sub", 400, np.random.default_rng(6)), 48).numpy())
    significance = np.abs(moments.mean(axis=0)) / (moments.std(axis=0) / math.sqrt(len(moments)))
    assert (significance.max() < 4) == turned


@pytest.mark.parametrize("name", ["fair", "varied"])
def test_a_mirrored_system_is_the_mirror_image_on_the_sky(name: str) -> None:
    """Against the system whose every angle and place is reflected by hand, and against the flipped image."""
    population = PRESETS[name]
    systems = replace(draw(population, "cdm", 4, np.random.default_rng(11)), mirrored=np.ones(4, dtype=bool))
    straight = replace(systems, mirrored=np.zeros(4, dtype=bool))
    s = straight
    reflected = replace(
        s, halo_angle=-s.halo_angle, shear_2=-s.shear_2, source_y=-s.source_y, source_angle=-s.source_angle,
        point_y=-s.point_y,
    )  # fmt: skip
    images = noiseless(population, systems, 32, torch.float64)
    torch.testing.assert_close(images, noiseless(population, reflected, 32, torch.float64), rtol=1e-9, atol=1e-12)
    flipped = noiseless(population, replace(straight, turn=-systems.turn), 32, torch.float64).flip(1)
    torch.testing.assert_close(images, flipped, rtol=1e-9, atol=1e-12)
    assert (images - noiseless(population, straight, 32, torch.float64)).abs().max() > 0.1


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_half_of_the_systems_are_mirrored_unless_the_set_is_a_public_one(name: str) -> None:
    mirrored = draw(PRESETS[name], "no_sub", 400, np.random.default_rng(12)).mirrored
    assert mirrored.mean() == (0 if name.startswith("deeplense") else pytest.approx(0.5, abs=0.1))


def test_subhalo_masses_and_places_follow_the_stated_laws() -> None:
    population = PRESETS["fair"]
    systems = draw(population, "cdm", 400, np.random.default_rng(7))
    unit = einstein_radius(1.0, 0.5, 1.0)
    there = systems.point_radius > 0
    numbers = there.sum(axis=1)
    assert (numbers.min(), numbers.max()) == (10, 70)
    assert numbers.mean() == pytest.approx(40, abs=4 * 17.6 / math.sqrt(400))
    masses = (systems.point_radius[there] / unit) ** 2
    low, high = (m**0.1 for m in population.subhalo_mass)
    assert stats.kstest(masses, lambda m: (m**0.1 - low) / (high - low)).pvalue > 1e-3
    distance = np.hypot(systems.point_x, systems.point_y)[there]
    assert stats.kstest(distance, stats.uniform(0.25, 1.75).cdf).pvalue > 1e-3
    assert masses.mean() == pytest.approx(1.5e9, rel=0.05)


def test_a_vortex_is_a_straight_line_whose_length_tells_the_axion_mass() -> None:
    population = PRESETS["fair"]
    systems = draw(population, "axion", 300, np.random.default_rng(8))
    half_length = np.hypot(systems.point_x, systems.point_y).max(axis=1)
    np.testing.assert_allclose(systems.axion_mass, 0.06 / (2 * half_length) * 1e-22)
    assert half_length.min() > 10 * population.psf  # long enough to be seen
    ends = systems.point_x[:, :1] * systems.point_y - systems.point_y[:, :1] * systems.point_x
    np.testing.assert_allclose(ends, 0, atol=1e-12)
    low, high = population.axion_mass
    assert stats.kstest(np.log10(systems.axion_mass), stats.uniform(low, high - low).cdf).pvalue > 1e-3
    masses = (systems.point_radius**2).sum(axis=1) / einstein_radius(1.0, 0.5, 1.0) ** 2
    assert stats.kstest(masses, stats.uniform(2e10, 8e10).cdf).pvalue > 1e-3
    assert np.isnan(draw(population, "cdm", 3, np.random.default_rng(8)).axion_mass).all()


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("label", CLASSES)
def test_the_mass_fraction_is_that_within_the_ring(name: str, label: str) -> None:
    """By Gauss's law, with the substructure and without it; a point on the circle itself is neither in nor out."""
    population = replace(PRESETS[name], halo_ellipticity=(1e-6, 1e-6), ring_scatter=0.0, shear=(0.0, 0.0))
    systems = draw(population, label, 20, np.random.default_rng(13))
    distances = (population.z_lens, population.z_source, population.luminosity_distances)
    ring = np.full(20, population.deflection_scale * einstein_radius(population.halo_mass, *distances))
    none = np.zeros((20, 0))
    halo = replace(systems, point_x=none, point_y=none, point_radius=none)
    expected = 1 - mass_within(halo, ring) / mass_within(systems, ring)
    np.testing.assert_allclose(systems.mass_fraction, expected, atol=1e-3)


@pytest.mark.parametrize("name", sorted(PRESETS))
@pytest.mark.parametrize("label", CLASSES)
def test_the_mean_convergence_within_the_einstein_radius_is_one(name: str, label: str) -> None:
    """By Gauss's law, of halo and substructure; a point between the halo's own radius and this one is neither."""
    population = replace(PRESETS[name], halo_ellipticity=(1e-6, 1e-6), shear=(0.0, 0.0))
    systems = draw(population, label, 20, np.random.default_rng(13))
    convergence = mass_within(systems, systems.einstein_radius) / (math.pi * systems.einstein_radius**2)
    off = np.abs(convergence - 1)
    assert np.median(off) < 1e-3
    assert off.max() < 0.01
    if label == "no_sub":
        np.testing.assert_allclose(systems.einstein_radius, systems.halo_radius)


def test_the_class_does_not_tell_the_mass_fraction() -> None:
    rng = np.random.default_rng(14)
    fractions = {label: draw(PRESETS["fair"], label, 1000, rng).mass_fraction for label in CLASSES}
    assert fractions["axion"].mean() == pytest.approx(fractions["cdm"].mean(), rel=0.2)
    for label in ("axion", "cdm"):
        assert fractions[label].std() > 0.4 * fractions[label].mean()
    every = np.concatenate(list(fractions.values()))
    assert 1 - np.mean([f.var() for f in fractions.values()]) / every.var() < 0.65  # R2 of the class means


def test_the_brightest_pixel_has_the_stated_signal_to_noise() -> None:
    population = replace(PRESETS["fair"], snr=20.0)
    image = noiseless(population, draw(population, "cdm", 1, np.random.default_rng(9)), 64)
    exposures = expose(population, image.expand(4000, -1, -1), np.random.default_rng(10))
    peak = exposures.reshape(4000, -1)[:, int(image.argmax())]
    assert peak.mean() / peak.std() == pytest.approx(20.0, rel=0.05)
    faintest = exposures.reshape(4000, -1)[:, int(image.argmin())]
    assert faintest.std() == pytest.approx(math.sqrt(population.sky) * 20 * math.sqrt(1.25), rel=0.05)


def test_a_larger_set_begins_with_the_smaller_and_keeps_every_split(tmp_path: Path) -> None:
    small, large = (load(Simulated(images=n, image_size=16), progress=False, cache=tmp_path) for n in (100, 190))
    for split in ("train", "val", "test"):
        a, b = getattr(small, split), getattr(large, split)
        assert torch.equal(a.images, b.images[: len(a)])
        assert torch.equal(a.labels, b.labels[: len(a)])
        for name, values in a.targets.items():
            torch.testing.assert_close(values, b.targets[name][: len(a)], rtol=0, atol=0, equal_nan=True)
    assert [len(s) for s in (large.train, large.val, large.test)] == np.bincount(split_of(190)).tolist()
    assert small.classes == ("axion", "cdm", "no_sub")
    assert large.train.labels.bincount().max() - large.train.labels.bincount().min() <= 1


def test_bits_do_not_depend_on_threads(tmp_path: Path) -> None:
    code = (
        "import sys, torch; from pathlib import Path; from trainers.data import Simulated, load; "
        "torch.set_num_threads(int(sys.argv[2])); load(Simulated(images=130, image_size=32, seed=5), progress=False, "
        "cache=Path(sys.argv[1]))"
    )
    images = []
    one_core = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else None
    for threads in (1, 2):
        pin = (lambda: os.sched_setaffinity(0, one_core)) if threads == 1 and one_core else None
        command = [sys.executable, "-c", code, str(tmp_path / str(threads)), str(threads)]
        subprocess.run(command, check=True, cwd=ROOT, preexec_fn=pin)
        source = Simulated(images=130, image_size=32, seed=5)
        images.append(load(source, progress=False, cache=tmp_path / str(threads)).train.images)
    assert torch.equal(*images)
    other = load(Simulated(images=130, image_size=32, seed=6), progress=False, cache=tmp_path).train.images
    assert not torch.equal(images[0], other)


def test_simulating_leaves_torchs_threads_and_random_state_alone(tmp_path: Path) -> None:
    torch.set_num_threads(threads := 2)
    state = torch.random.get_rng_state()
    load(Simulated(images=21, image_size=16), progress=False, cache=tmp_path)
    assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_labels_targets_and_noise_belong_together() -> None:
    images, labels, targets = simulate_chunk(PRESETS["fair"], 64, 0, 0)
    assert images.shape == (CHUNK, 64, 64)
    assert images.dtype == np.float32
    assert (np.isnan(targets["axion_mass"]) == (labels != CLASSES.index("axion"))).all()
    assert ((targets["mass_fraction"] == 0) == (labels == CLASSES.index("no_sub"))).all()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"preset": "unfair"},
            "unknown preset 'unfair'; known: deeplense-1, deeplense-2, deeplense-2-noisy, fair, paper-2020, varied",
        ),
        ({"images": 20}, "images is 20; expected at least 21"),
        ({"image_size": 4}, "image_size is 4"),
        ({"seed": -1}, "seed is -1"),
        ({"snr": 0.0}, "snr is 0.0"),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_line(fields: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says) as error:
        Simulated(**fields)
    assert "\n" not in str(error.value)
