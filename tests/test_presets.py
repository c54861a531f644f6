"""The public simulations as presets: against their own files, and against the facts their code states."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.cosmology import WMAP9, FlatLambdaCDM
from scipy import stats

from trainers.data import Folder, Simulated, load
from trainers.data.folder.image_file import read_stored
from trainers.data.simulate import main
from trainers.data.simulated.camera import expose
from trainers.data.simulated.lensing import noiseless
from trainers.data.simulated.population import CLASSES, PRESETS, Population, einstein_radius, with_snr
from trainers.data.simulated.systems import draw

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared/data"


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    torch.set_num_threads(1)


def simulated(population: Population, label: str, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return expose(population, noiseless(population, draw(population, label, count, rng), population.pixels), rng)


def on_disk(model: str, label: str) -> np.ndarray:
    files = sorted((SHARED / model / label).glob("*.npy"))
    if not files:
        pytest.skip(f"no {model} files in {SHARED}")
    return np.stack([read_stored(file)[0] for file in files])


def statistics(images: np.ndarray, field: float) -> dict[str, np.ndarray]:
    """One number for each image: brightest pixel, light, ring radius, and sky where there is one."""
    axis = (np.arange(images.shape[-1]) + 0.5) / images.shape[-1] * field - field / 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    sky = images[:, radius > 3.0]
    light = np.where(radius < 2.2, images - sky.mean(axis=1)[:, None, None], 0.0)
    found = {
        "peak": images.max((1, 2)),
        "light": light.sum((1, 2)),
        "ring": (light * radius).sum((1, 2)) / light.sum((1, 2)),
        "sky": sky.mean(1),
        "sky_noise": sky.std(1),
        "zeros": (sky == 0).mean(1),
    }
    return {name: values for name, values in found.items() if values.std() > 0}


def least_likely(population: Population, label: str, real: np.ndarray, count: int = 40) -> float:
    """Smallest p-value of a two-sample Kolmogorov-Smirnov test over all statistics."""
    ours, theirs = (statistics(x, population.field) for x in (simulated(population, label, count), real))
    return min(stats.ks_2samp(ours[name], theirs[name]).pvalue for name in theirs if name in ours)


@pytest.mark.parametrize(("preset", "model"), [("deeplense-1", "model_I"), ("deeplense-2", "model_II")])
@pytest.mark.parametrize("label", CLASSES)
def test_images_are_distributed_as_the_public_files(preset: str, model: str, label: str) -> None:
    real, population = on_disk(model, label), PRESETS[preset]
    assert real.shape[1:] == (population.pixels, population.pixels)
    assert real.dtype.kind == simulated(population, label, 1).dtype.kind
    assert least_likely(population, label, real) > 1e-3


@pytest.mark.parametrize(
    ("preset", "model", "wrong"),
    [
        ("deeplense-1", "model_I", {"luminosity_distances": False}),
        ("deeplense-1", "model_I", {"camera": "model_2"}),
        ("deeplense-2", "model_II", {"deflection_scale": 1.0}),
        ("deeplense-2", "model_II", {"source_brightness": 130.0}),
    ],
)
def test_the_public_files_would_tell_wrong_physics(preset: str, model: str, wrong: dict) -> None:
    real = on_disk(model, "no_sub")
    assert least_likely(replace(PRESETS[preset], **wrong), "no_sub", real) < 1e-5


def test_fewer_pixels_see_the_same_light_averaged() -> None:
    population = PRESETS["deeplense-1"]
    systems = draw(population, "axion", 2, np.random.default_rng(10))
    few, many = (noiseless(population, systems, pixels, torch.float64) for pixels in (50, 150))
    torch.testing.assert_close(few, torch.nn.functional.avg_pool2d(many, 3))


def test_public_einstein_radii_come_from_luminosity_distances() -> None:
    assert einstein_radius(1e12, 0.5, 1.0, True) == pytest.approx(1.2815, abs=1e-4)
    assert einstein_radius(3e10, 0.5, 1.0, True) == pytest.approx(0.2220, abs=1e-4)
    assert einstein_radius(1e8, 0.5, 1.0, True) == pytest.approx(0.0128, abs=1e-4)
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    lens, source = (cosmology.luminosity_distance(z).value for z in (0.5, 1.0))
    wrong = (source - lens) / (lens * source)
    lens, source = (cosmology.comoving_distance(z).value for z in (0.5, 1.0))
    right = (source - lens) * 1.5 / (lens * source)  # flat: angular-diameter distances are these over 1 + z
    ours = einstein_radius(1e12, 0.5, 1.0, True) / einstein_radius(1e12, 0.5, 1.0)
    assert ours == pytest.approx(np.sqrt(wrong / right), rel=1e-4)


def test_model_two_scales_deflections_between_source_redshifts() -> None:
    near, middle, far = (WMAP9.comoving_distance(z).value for z in (0.5, 1.0, 2.5))
    expected = (1 - near / middle) / (1 - near / far)
    assert PRESETS["deeplense-2"].deflection_scale == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("preset", ["deeplense-1", "deeplense-2"])
def test_public_substructure_comes_on_top_of_the_halo(preset: str) -> None:
    rng = np.random.default_rng(1)
    systems = {label: draw(PRESETS[preset], label, 300, rng) for label in CLASSES}
    for label in CLASSES:
        np.testing.assert_allclose(systems[label].halo_radius, systems["no_sub"].halo_radius[0])
    extra = {c: (s.point_radius**2).sum(1) / systems[c].halo_radius ** 2 for c, s in systems.items()}
    scale = PRESETS[preset].deflection_scale  # a halo's radius goes with it, a point's with its root
    assert extra["axion"] * scale == pytest.approx(0.03)
    assert (extra["cdm"] * scale).mean() == pytest.approx(0.038, rel=0.1)


@pytest.mark.parametrize("preset", ["deeplense-1", "deeplense-2", "deeplense-2-noisy"])
def test_public_images_have_a_preferred_axis(preset: str) -> None:
    systems = draw(PRESETS[preset], "no_sub", 50, np.random.default_rng(2))
    assert not systems.turn.any()
    assert np.ptp(systems.shear_1) == np.ptp(systems.halo_angle) == 0


def test_counts_carry_poisson_noise_twice() -> None:
    population = PRESETS["deeplense-1"]
    light = torch.full((4000, 8, 8), 400.0)  # bright enough that the background does not matter
    counts = expose(population, light, np.random.default_rng(3)).astype(float)
    pixels = counts.reshape(len(counts), -1)
    assert counts.shape == light.shape
    assert (pixels.var(axis=1) / pixels.mean(axis=1)).mean() == pytest.approx(2.0, rel=0.02)


def test_the_noisy_model_two_is_half_the_public_image_with_euclids_noise() -> None:
    noisy, public = PRESETS["deeplense-2-noisy"], PRESETS["deeplense-2"]
    light = noiseless(public, draw(public, "cdm", 1, np.random.default_rng(4)), 64).expand(500, -1, -1)
    images = expose(noisy, light, np.random.default_rng(5))
    clean = expose(public, light[:1], np.random.default_rng(6))[0] / 2
    np.testing.assert_allclose(images.mean(axis=0), clean, atol=6 * images.std(axis=0).max() / np.sqrt(500))
    time, sky = 4 * 566.0, 10 ** (0.4 * (25.72 - 22.3)) * 0.101**2
    expected = np.sqrt(time * (clean + sky) + 4 * 4.2**2) / time
    np.testing.assert_allclose(images.std(axis=0), expected, rtol=0.2)
    assert images.std(axis=0).mean() == pytest.approx(expected.mean(), rel=0.01)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_can_be_seen_at_any_signal_to_noise_ratio(preset: str) -> None:
    population = with_snr(PRESETS[preset], 15.0)
    light = noiseless(population, draw(population, "cdm", 1, np.random.default_rng(7)), 32)
    images = expose(population, light.expand(1000, -1, -1), np.random.default_rng(8))
    brightest = images.reshape(1000, -1)[:, int(light.argmax())]
    assert brightest.mean() / brightest.std() == pytest.approx(15.0, rel=0.1)


def test_the_papers_population_is_the_one_it_states() -> None:
    population, rng = PRESETS["paper-2020"], np.random.default_rng(9)
    systems = {label: draw(population, label, 500, rng) for label in CLASSES}
    cdm, vortex, smooth = systems["cdm"], systems["axion"], systems["no_sub"]

    def uniform(values: np.ndarray, low: float, high: float) -> bool:
        return stats.kstest(values, stats.uniform(low, high - low).cdf).pvalue > 1e-3

    assert uniform(np.hypot(smooth.shear_1, smooth.shear_2), 0.0, 0.3)
    assert uniform(np.arctan2(smooth.shear_2, smooth.shear_1), -np.pi, np.pi)
    assert uniform(np.hypot(smooth.source_x, smooth.source_y), 0.0, 0.5)
    assert uniform(smooth.source_q, 0.4, 1.0)
    numbers = (cdm.point_radius > 0).sum(axis=1)
    assert numbers.mean() == pytest.approx(25, abs=1)
    assert numbers.var() == pytest.approx(25, rel=0.25)
    masses = (cdm.point_radius[cdm.point_radius > 0] / einstein_radius(1.0, 0.5, 1.0)) ** 2
    assert stats.kstest(masses, lambda m: (1e6**-0.9 - m**-0.9) / (1e6**-0.9 - 1e10**-0.9)).pvalue > 1e-3
    ends = np.hypot(vortex.point_x[:, -1] - vortex.point_x[:, 0], vortex.point_y[:, -1] - vortex.point_y[:, 0])
    assert uniform(ends, 0.5, 2.0)
    assert stats.kstest(vortex.point_x.mean(axis=1), stats.norm(0, 0.5).cdf).pvalue > 1e-3
    masses = (vortex.point_radius**2).sum(axis=1) / einstein_radius(1.0, 0.5, 1.0) ** 2
    assert uniform(masses, 3e10, 5.5e10)
    assert (vortex.halo_radius < smooth.halo_radius).all()  # the halo gives the vortex its mass
    assert np.isnan(vortex.axion_mass).all()


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_written_files_are_read_as_the_layout_they_imitate(tmp_path: Path, preset: str, capsys) -> None:
    out = tmp_path / "out"
    main(["--preset", preset, "--images", "63", "--image-size", "24", "--seed", "3", "--out", str(out)])
    data = load(Folder(str(out)), cache=tmp_path / "cache")
    source = load(Simulated(preset, 63, 24, seed=3), progress=False, cache=tmp_path / "cache")
    assert data.classes == source.classes
    splits = ("train", "val", "test")
    pixels = [torch.cat([getattr(d, split).images for split in splits]).flatten(1) for d in (data, source)]
    assert pixels[0].dtype == pixels[1].dtype
    order = [sorted(range(63), key=lambda i, p=p: p[i].tolist()) for p in pixels]
    assert torch.equal(pixels[0][order[0]], pixels[1][order[1]])
    labels = [torch.cat([getattr(d, split).labels for split in splits]) for d in (data, source)]
    assert torch.equal(labels[0][order[0]], labels[1][order[1]])
    known = "axion_mass" in data.train.targets
    assert known == (preset != "paper-2020")
    if known:
        masses = [torch.cat([getattr(d, split).targets["axion_mass"] for split in splits]) for d in (data, source)]
        torch.testing.assert_close(masses[0][order[0]], masses[1][order[1]], rtol=1e-12, atol=0, equal_nan=True)
    assert f"3 classes, 21/21/21 images, 24x24, {'int64' if preset == 'deeplense-1' else 'float64'}" in (
        capsys.readouterr().err
    )


def test_it_is_said_that_the_papers_subhalos_cannot_be_seen(tmp_path: Path, capsys) -> None:
    for _ in range(2):  # simulated, and from the cache
        load(Simulated("paper-2020", 21, 16), cache=tmp_path)
        assert "paper-2020: its subhalos are too light to be seen" in capsys.readouterr().err
    load(Simulated("fair", 21, 16), cache=tmp_path)
    assert "subhalos" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--images", "--image-size"])
def test_none_at_all_is_refused_and_not_replaced(tmp_path: Path, capsys, option) -> None:
    with pytest.raises(SystemExit) as refused:
        main([option, "0", "--out", str(tmp_path / "new")])
    assert refused.value.code == 2
    assert "is 0" in capsys.readouterr().err


def test_numpy_reads_the_written_files_and_a_full_folder_is_left_alone(tmp_path: Path, capsys) -> None:
    command = [sys.executable, "-W", "error", "-m", "trainers.data.simulate", "--preset", "deeplense-1"]
    command += ["--images", "21", "--out", str(tmp_path / "new")]
    subprocess.run(command, cwd=ROOT, check=True, stderr=subprocess.PIPE)
    files = sorted((tmp_path / "new").rglob("*.npy"))
    assert len(files) == 21
    image, mass = np.load(next(f for f in files if f.parent.name == "axion"), allow_pickle=True)
    assert (image.shape, image.dtype) == ((150, 150), np.dtype("i8"))
    assert 1e-24 <= mass <= 1e-22
    with pytest.raises(SystemExit) as refused:
        main(command[command.index("--preset") :])
    assert refused.value.code == 2
    assert "is not an empty folder; name a new one" in capsys.readouterr().err
    assert sorted((tmp_path / "new").rglob("*.npy")) == files
